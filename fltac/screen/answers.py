"""What a person sees of models that are used: answers, routes, judgements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fltac.screen import aligned, say

if TYPE_CHECKING:
    from fltac.answering import Answer
    from fltac.routing import Routing


def predictions(cluster: int, answers: Sequence[Answer], machine: bool) -> None:
    """A line a row: the class and its probability, or the text; for machines a JSON object each."""
    if machine:
        for row, answer in enumerate(answers):
            print(json.dumps({"row": row, "cluster": cluster, **answer._asdict()}))
        return
    for answer in answers:
        likely = "" if answer.probabilities is None else f"  {answer.probabilities[answer.text]:.3f}"
        say(f"{answer.text}{likely}")


def routes(found: Routing, machine: bool) -> None:
    """The cluster that suits best, and a row a cluster and head; for machines a JSON object each."""
    if machine:
        for one in found.routes:
            print(json.dumps({"rule": found.rule, **one._asdict()}))
        return
    rows = [(str(one.cluster), ", ".join(one.tasks), one.head, f"{one.score:.3f}") for one in found.routes]
    aligned([("cluster", "holds", "head", found.rule), *rows])
    say(f"cluster {found.routes[0].cluster} suits best")


def judged(means: Mapping[str, Mapping[str, Any]]) -> None:
    """A row a task: the mean score, of how many answers, and how many scores could not be read."""
    rows = [
        (task, "-" if one["score"] is None else f"{one['score']:.2f}", str(one["answers"]), str(one["unread"]))
        for task, one in means.items()
    ]
    aligned([("task", "score", "answers", "unread"), *rows])
