"""How often `fltac route` names the right cluster: a finished run, draws of unseen examples of each of its tasks.

    .venv/bin/python -m experiments.routing RUN... [--draws 5] [--join]

Examples are of the tasks' test files, which nobody trained on. Right is the cluster whose members hold most of the task
(`Trained.home`). Prints, by rule and number of examples, how many of tasks x draws are right.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from fltac.answering import Trained
from fltac.config import FilesTask
from fltac.data.columns import Rows, Split, labels
from fltac.data.tasks import read_file
from fltac.routing import Newcomer, _information, _joined, _loss, _tried
from fltac.seeds import generator

SIZES = (8, 32, 128)


def measure(folder: str, draws: int, join: bool) -> None:
    trained = Trained(folder)
    right: Counter[tuple[str, int]] = Counter()
    wrong: Counter[tuple[str, int, str]] = Counter()
    for task in trained.experiment.tasks:
        assert isinstance(task.source, FilesTask)
        table = read_file(Path(trained.experiment.data.root) / task.source.test, task.name)
        home, names = trained.home(task.name), trained.classes(task.name)
        for draw in range(draws):
            order = generator(draw, "routing", task.name).permutation(table.num_rows)
            for size in SIZES:
                rows = Rows(table.take(order[:size]), task.name, task.name)
                asked, numbers = trained.kind.ask(task, rows), labels(rows, task.label, names)
                seen = max(2, int(numbers.max()) + 1)  # what somebody with these examples knows of the classes
                examples = trained.encode(Split(asked, numbers), task.name)
                knows = Newcomer(examples, len(names), True)
                found = {
                    "loss, classes seen": (1, _tried(trained, Newcomer(examples, seen, False), _loss)),
                    "loss, classes told": (1, _tried(trained, knows, _loss)),
                    "information, any head": (-1, _tried(trained, Newcomer(examples, 2, False), _information)),
                    "information, classes told": (-1, _tried(trained, knows, _information)),
                }
                if join:
                    found["join"] = (-1, _joined(trained, knows))
                for rule, (sign, scores) in found.items():
                    best = min(scores, key=lambda one: sign * one[2])[0]
                    right[rule, size] += best == home
                    wrong[rule, size, task.name] += best != home
        print(f"{task.name} done", flush=True)
    total = draws * len(trained.experiment.tasks)
    print(f"{folder}: right of {total} with {', '.join(map(str, SIZES))} examples")
    for rule in dict.fromkeys(rule for rule, _ in right):
        missed = {f"{task} {size}": n for (one, size, task), n in wrong.items() if one == rule and n}
        print(f"{rule:28}", *(f"{right[rule, size] / total:.2f}" for size in SIZES), f"wrong: {missed}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--join", action="store_true")
    options = parser.parse_args()
    for folder in options.runs:
        measure(folder, options.draws, options.join)


if __name__ == "__main__":
    main()
