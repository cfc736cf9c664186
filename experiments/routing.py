"""How often does `fltac route` name the right cluster? The table of README.md, for finished runs of classifiers.

    python -m experiments.routing RUN... [--draws 100] [--joins 5]

Newcomers are drawn from the tasks' test sets, which nobody trained on. Right is the cluster whose members hold most of
the task (`Trained.home`). `--joins` is how many of the draws also train an adapter.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fltac.answering import Trained
from fltac.data.tasks import TaskData, load_tasks
from fltac.routing import Newcomer, information, joined, likelihood, tried
from fltac.seeds import generator

SIZES = (8, 32, 128)
POOL = 256  # examples of a test set, from which newcomers are drawn


class Guess(NamedTuple):
    """Which cluster a rule names for a newcomer with so many examples of a task."""

    rule: str
    examples: int
    task: str
    cluster: int


def guesses(trained: Trained, draws: int, joins: int) -> Iterator[Guess]:
    """Each rule's guess for each draw of each task."""
    wider = [task.model_copy(update={"max_test": POOL}) for task in trained.experiment.tasks]
    experiment = trained.experiment.model_copy(update={"tasks": tuple(wider)})
    for task in load_tasks(experiment, trained.kind.read):
        said = list(tried(trained, Newcomer(trained.encode(task.test, task.name), 2, False)))
        for draw in range(draws):
            order = generator(draw, "routing", task.name).permutation(len(task.test))
            for size in SIZES:
                rows = order[:size]
                numbers, classes = task.test.labels[rows], len(task.classes)
                least = max(2, int(numbers.max()) + 1)  # what somebody with these examples knows of the classes
                each = [(one.cluster, one.probabilities[rows]) for one in said]
                wide = [(cluster, p) for cluster, p in each if p.shape[1] >= least]
                told = [(cluster, p) for cluster, p in each if p.shape[1] == classes]
                found = {
                    "labels": [(likelihood(p, numbers), cluster) for cluster, p in wide],
                    "labels, all classes named": [(likelihood(p, numbers), cluster) for cluster, p in told],
                    "no labels": [(information(p), cluster) for cluster, p in each],
                    "no labels, number of classes": [(information(p), cluster) for cluster, p in told],
                }
                if draw < joins:
                    found["--join"] = _joined(trained, task, rows)
                for rule, scores in found.items():
                    yield Guess(rule, size, task.name, max(scores)[1])


def _joined(trained: Trained, task: TaskData, rows: np.ndarray) -> list[tuple[float, int]]:
    newcomer = Newcomer(trained.encode(task.test.take(rows), task.name), len(task.classes), True)
    return [(score, cluster) for cluster, _, score in joined(trained, newcomer)]


def table(trained: Trained, draws: int, joins: int) -> list[str]:
    """A line a rule: the share that is right by number of examples; of the largest number also by task."""
    tasks = [task.name for task in trained.experiment.tasks]
    homes = {task: trained.home(task) for task in tasks}
    right: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    asked: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for guess in guesses(trained, draws, joins):
        key = guess.rule, guess.examples
        right[key][guess.task] += guess.cluster == homes[guess.task]
        asked[key][guess.task] += 1
    lines = [f"| rule | {' | '.join(f'{size} examples' for size in SIZES)} | {SIZES[1]}, by task |"]
    lines.append(f"|{'---|' * (2 + len(SIZES))}")
    for rule in dict.fromkeys(rule for rule, _ in right):
        shares = [f"{right[rule, size].total() / asked[rule, size].total():.2f}" for size in SIZES]
        by_task = [f"{task} {right[rule, SIZES[1]][task] / asked[rule, SIZES[1]][task]:.2f}" for task in tasks]
        lines.append(f"| {rule} | {' | '.join(shares)} | {', '.join(by_task)} |")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="+", metavar="RUN")
    options.add_argument("--draws", type=int, default=100)
    options.add_argument("--joins", type=int, default=5)
    given = options.parse_args()
    for folder in given.runs:
        print(f"{folder}", *table(Trained(folder), given.draws, given.joins), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
