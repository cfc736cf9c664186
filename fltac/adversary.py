"""What poisoned clients do: to their data before they train, to what they send after it. Nobody else is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fltac.config import Adversary, Backdoor, Experiment, Scaled
from fltac.data.tasks import TaskData
from fltac.errors import Problem
from fltac.seeds import generator
from fltac.wire.messages import AdapterSpec

DATA = ("label_flip", "backdoor")  # change what is learned, and not what is sent
MARKED = "marked"  # the split on which a backdoor's success is its accuracy: all of test, with the mark


def poisoned(experiment: Experiment) -> frozenset[int]:
    """Who is: a seeded share of the clients, rounded."""
    if experiment.adversary is None:
        return frozenset()
    clients = experiment.clients.count
    order = generator(experiment.seed, "adversary").permutation(clients)
    return frozenset(order[: round(experiment.adversary.share * clients)].tolist())


def misfits(experiment: Experiment, tasks: Sequence[TaskData]) -> list[Problem]:
    """Whether the tasks have the classes that are to be changed."""
    adversary = experiment.adversary
    if adversary is None or adversary.type not in DATA:
        return []
    if not all(task.classes for task in tasks):
        what = f"changes classes, and {experiment.model.kind} has none; use sign_flip or scaled"
        return [Problem("adversary.type", what, adversary.type)]
    target = adversary.target if isinstance(adversary, Backdoor) else 0
    lack = [task.name for task in tasks if target >= len(task.classes)]
    return [Problem("adversary.target", f"is no class of {' and '.join(lack)}; lower it", target)] if lack else []


def spoiled(adversary: Adversary | None, examples: Any, classes: int, draw: np.random.Generator) -> Any:
    """What a poisoned client makes of its task's training examples."""
    if adversary is None or adversary.type == "label_flip":
        return examples if adversary is None else replace(examples, answers=classes - 1 - examples.answers)
    if isinstance(adversary, Backdoor):
        count = round(adversary.marked * len(examples))
        return marked(examples, draw.permutation(len(examples))[:count], adversary.target)
    return examples


def marked(examples: Any, rows: np.ndarray, target: int) -> Any:
    """The examples, these rows with the mark and of the target class."""
    answers = examples.answers.copy()
    answers[rows] = target
    return replace(examples.marked(rows), answers=answers)


Upload = tuple[np.ndarray, Sequence[np.ndarray]]  # an adapter (p,) and heads


def upload(adversary: Adversary | None, spec: AdapterSpec, sent: Upload, trained: Upload) -> Upload:
    """What a poisoned client sends in place of what it trained."""
    if adversary is None or adversary.type not in TURNED:
        return trained
    return TURNED[adversary.type](adversary, spec, sent, trained)


def _sign_flip(adversary: Adversary, spec: AdapterSpec, sent: Upload, trained: Upload) -> Upload:
    opposite = 2 * sent[0] - trained[0]
    adapter = spec.with_b(sent[0], spec.only_b(opposite)) if spec.layers else opposite
    return adapter, [2 * old - new for old, new in zip(sent[1], trained[1], strict=True)]


def _scaled(adversary: Adversary, spec: AdapterSpec, sent: Upload, trained: Upload) -> Upload:
    assert isinstance(adversary, Scaled)
    factor = np.float32(adversary.factor)
    adapter = sent[0] + factor * (trained[0] - sent[0])
    return adapter, [old + factor * (new - old) for old, new in zip(sent[1], trained[1], strict=True)]


TURNED: dict[str, Callable[[Adversary, AdapterSpec, Upload, Upload], Upload]] = {
    "sign_flip": _sign_flip,
    "scaled": _scaled,
}
