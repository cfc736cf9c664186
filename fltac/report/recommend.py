"""The smallest adapter that still does the job: chosen on validation data, told on test data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fltac.errors import InputError, Problem
from fltac.points import label
from fltac.records.files import write
from fltac.records.sweeps import SweepDirectory
from fltac.report.fronts import (
    CONFIDENCE,
    ENOUGH_SEEDS,
    SEED,
    configurations,
    parameters,
    points_of,
    require_validation,
    runs_of,
    tasks,
)
from fltac.report.tiers import by_tier, network_of

Row = dict[Hashable, Any]  # of `configurations`


@dataclass(frozen=True)
class Choice:
    """A configuration, the best one it is held against, and what is known of their difference."""

    params: list[str]  # the columns that are parameters
    judged: list[str]  # those that are accuracies on test, the mean first
    chosen: Row
    best: Row
    loss: float  # points of validation accuracy below the best, mean over the seeds that both have
    most: float  # upper end of its one-sided interval; nan with one seed
    warnings: list[str]


def recommend(table: pd.DataFrame, tolerance: float) -> Choice:
    """The configuration of fewest bytes that is surely within `tolerance` points of the best on validation data.

    Surely: the upper end of the one-sided interval of the paired difference over seeds is at most the tolerance, at
    95 % for all cheaper configurations together (each at 1 - .05 / their number, Bonferroni): the cheapest of many that
    pass would else often be one that passed by chance. Configurations with fewer seeds than two are no candidates where
    others have two; where none has, the difference itself is gone by, and the choice says so.
    Raises InputError where points have no validation data.
    """
    last, keys = table[table["last"]], parameters(table)
    require_validation(last)
    every = configurations(table).to_dict("records")
    enough = min(2, max(row["seeds"] for row in every))
    rows = [row for row in every if row["seeds"] >= enough]
    best = max(rows, key=lambda row: (row["validation"], -row["bytes"]))
    cheaper = [row for row in rows if row["bytes"] < best["bytes"]]
    top, found, maybe = _by_seed(last, best), [(best, 0.0, 0.0)], []
    for row in cheaper:
        losses = 100 * (top - _by_seed(last, row)).dropna().to_numpy()
        most = _upper(losses, 1 - (1 - CONFIDENCE) / len(cheaper))
        if len(losses) >= enough and (losses.mean() if np.isnan(most) else most) <= tolerance:
            found.append((row, float(losses.mean()), most))
        elif len(losses) >= enough and losses.mean() <= tolerance:
            maybe.append((row, float(losses.mean()), most))
    chosen, loss, most = min(found, key=lambda one: (one[0]["bytes"], -one[0]["validation"]))
    warnings, fewest = [], min(chosen["seeds"], best["seeds"])
    if fewest < ENOUGH_SEEDS:
        warnings.append(f"{fewest} seeds are too few to be sure of {tolerance:g} points; run {ENOUGH_SEEDS} at least")
    if len(rows) < len(every):
        warnings.append(f"{len(every) - len(rows)} configurations with one seed were left out")
    if chosen is best and cheaper:
        warnings.append("nothing smaller is surely within the tolerance: more seeds, or a wider one")
    if smaller := [one for one in maybe if one[0]["bytes"] < chosen["bytes"]]:
        row, less, at_most = min(smaller, key=lambda one: one[0]["bytes"])
        named = label({key: row[key] for key in keys})
        warnings.append(
            f"give more seeds to {named}: in the mean {less:.2f} points less, but {min(at_most, 100):.2f} is possible"
        )
    return Choice(keys, ["accuracy", *sorted(tasks(table))], chosen, best, loss, most, warnings)


def by_tier_of(table: pd.DataFrame, choice: Choice, overrides: Sequence[str] = ()) -> list[Row]:
    """The chosen configuration, and the best if it is another, for each tier of `[network]`: a row as `tiers.by_tier`
    makes them, means over seeds, with `which` of the two.

    Nothing where there are no tiers. Raises InputError for an override that is none of [network].
    """
    found: list[Row] = []
    which = {"recommended": choice.chosen, **({} if choice.chosen is choice.best else {"best": choice.best})}
    for name, configuration in which.items():
        runs = runs_of(table[table["last"]], configuration)
        networks = [network_of(run, overrides) for run in runs]
        if not any(network.tiers for network in networks):
            return []
        parts = pd.concat([by_tier(run, network) for run, network in zip(runs, networks, strict=True)])
        found += [
            {"which": name, **row} for row in parts.groupby("tier", sort=False).mean().reset_index().to_dict("records")
        ]
    return found


def _by_seed(last: pd.DataFrame, row: Row) -> pd.Series:
    """Seed -> validation accuracy of one configuration."""
    return points_of(last, row).groupby(SEED)["validation"].mean()


def _upper(differences: np.ndarray, confidence: float) -> float:
    """The upper end of the one-sided interval of their mean (Student's); nan for fewer than two."""
    n = len(differences)
    if n < 2:
        return float("nan")
    return float(differences.mean() + student.ppf(confidence, n - 1) * differences.std(ddof=1) / np.sqrt(n))


def write_recommended(choice: Choice, file: Path) -> None:
    """The chosen point as an experiment file, with the seed of its sweep's base."""
    directory = SweepDirectory(str(choice.chosen["sweep"]))
    params = directory.noted()[int(choice.chosen["point"])]
    experiment = directory.study().experiment({key: one for key, one in params.items() if key != SEED})
    try:
        write(file, experiment.dump().encode())
    except OSError as error:
        what = f"cannot be written: {error.strerror}; name a file in a folder that exists"
        raise InputError(Problem("-o", what, str(file)), "command line") from None
