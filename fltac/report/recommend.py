"""The smallest adapter that still does the job: chosen on validation data, told on test data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fltac.records.store import write
from fltac.records.sweeps import SweepDirectory
from fltac.report.fronts import CONFIDENCE, SEED, configurations, parameters, require_validation

ENOUGH_SEEDS = 3


Row = dict[Hashable, Any]  # of `configurations`


@dataclass(frozen=True)
class Choice:
    """A configuration, the best one it is held against, and what is known of their difference."""

    params: list[str]  # the columns that are parameters
    chosen: Row
    best: Row
    loss: float  # points of validation accuracy below the best, mean over seeds
    most: float  # upper end of its one-sided 95 % interval; nan with one seed
    warnings: list[str]


def recommend(table: pd.DataFrame, tolerance: float) -> Choice:
    """The configuration of fewest bytes that is surely within `tolerance` points of the best on validation data.

    Surely: the upper end of the one-sided 95 % interval of the paired difference over the seeds that both have is at
    most the tolerance. Where one seed is all there is, the difference itself is gone by, and the choice says so.
    Raises InputError where points have no validation data.
    """
    last, keys = table[table["last"]], parameters(table)
    require_validation(table)
    rows = configurations(table).to_dict("records")
    best = max(rows, key=lambda row: row["validation"])
    top = _by_seed(last, keys, best)
    losses = [100 * (top - _by_seed(last, keys, row)).dropna().to_numpy() for row in rows]
    ends = [_upper(each) for each in losses]
    sure = [
        place
        for place, (row, each, end) in enumerate(zip(rows, losses, ends, strict=True))
        if row is best or (len(each) and (each.mean() if np.isnan(end) else end) <= tolerance)
    ]
    place = min(sure, key=lambda one: (rows[one]["bytes"], -rows[one]["validation"]))
    warnings, fewest = [], min(map(len, losses))
    if fewest < ENOUGH_SEEDS:
        warnings.append(f"{fewest} seeds are too few to be sure of {tolerance:g} points; run {ENOUGH_SEEDS} at least")
    if rows[place] is best and any(row["bytes"] < best["bytes"] for row in rows):
        warnings.append("nothing smaller is surely within the tolerance: more seeds, or a wider one")
    return Choice(keys, rows[place], best, float(losses[place].mean()), ends[place], warnings)


def _by_seed(last: pd.DataFrame, keys: Sequence[str], row: Row) -> pd.Series:
    """Seed -> validation accuracy of one configuration."""
    same = np.logical_and.reduce([last[key].isin([row[key]]) for key in keys])
    return last[same].groupby(SEED)["validation"].mean()


def _upper(differences: np.ndarray) -> float:
    """The upper end of the one-sided interval of their mean; nan for one alone, zero for the best against itself."""
    n = len(differences)
    if n and not differences.any():
        return 0.0
    if n < 2:
        return float("nan")
    return float(differences.mean() + student.ppf(CONFIDENCE, n - 1) * differences.std(ddof=1) / np.sqrt(n))


def write_recommended(choice: Choice, directory: SweepDirectory, file: Path) -> None:
    """The chosen configuration as an experiment file, with the seed of the sweep's base."""
    study = directory.study()
    params = {key: choice.chosen[key] for key in choice.params if key in study.sweep.space}
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in params.items()}
    write(file, study.experiment(plain).dump().encode())
