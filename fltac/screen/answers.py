"""What a person sees of models that are used: answers, routes, judgements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from fltac.screen import console, say

if TYPE_CHECKING:
    from fltac.answering import Answer


def predictions(cluster: int, answers: Sequence[Answer], machine: bool) -> None:
    """A line a row: the class and its probability, or the text; for machines a JSON object each."""
    if machine:
        for row, answer in enumerate(answers):
            print(json.dumps({"row": row, "cluster": cluster, **answer._asdict()}))
        return
    for answer in answers:
        likely = "" if answer.probabilities is None else f"  {answer.probabilities[answer.text]:.3f}"
        say(f"{answer.text}{likely}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names on the left, figures on the right."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        shown.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
