"""What the configurations of a map are to be held against: bars across it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from fltac.records.sweeps import SweepDirectory
from fltac.report.reading import Run

MEAN = "accuracy"  # the column of the map that is the mean of its tasks; `accuracy.TASK` are the others


class Bar(NamedTuple):
    """A line across the map at its accuracies, by column of the map, and what it sent to get there."""

    name: str
    accuracy: Mapping[str, float]
    bytes: int = 0  # up and down, all rounds; none: a line alone
    run: Run | None = None  # none: of the tasks themselves


def bars_of_points(table: pd.DataFrame) -> Iterator[Bar]:
    """The majority class and the untuned model, each the mean of the sweep's points that are over."""
    each = table[["sweep", "point"]].drop_duplicates().itertuples(index=False)
    summaries = [SweepDirectory(sweep).run(int(point)).summary() for sweep, point in each]
    for name, key in (("majority class", "majority"), ("untuned model", "untuned")):
        found = pd.DataFrame([one[key] for one in summaries if one])  # a row a point, a column a task
        if not found.empty:
            means = {f"{MEAN}.{task}": float(value) for task, value in found.mean().items()}
            yield Bar(name, {MEAN: float(found.mean(axis=1).mean()), **means})


def comparable(bars: Iterable[Bar]) -> list[Run]:
    """The runs among the bars whose cost stands beside that of the map: of its tasks, and with something sent."""
    return [bar.run for bar in bars if bar.run and bar.bytes and MEAN in bar.accuracy]


def bars_of_runs(runs: Sequence[Run], columns: Sequence[str]) -> Iterator[Bar]:
    """A bar a run, on the tasks that the map has, and on the mean where its tasks are those of the map."""
    for run in runs:
        found = {f"{MEAN}.{task}": value for task, value in run.summary.accuracy.items()}
        here = {name: value for name, value in found.items() if name in columns}
        if found.keys() == set(columns):
            here[MEAN] = run.summary.accuracy_mean
        sent = run.summary.bytes_up + run.summary.bytes_down
        yield Bar(f"{run.label} ({run.experiment['method']})", here, sent, run)
