"""The map of accuracy against bytes: configurations over seeds, fronts, what an accuracy costs. Reads sweeps only."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fltac.errors import InputError, Problem
from fltac.points import differing, value
from fltac.records.rounds import searched
from fltac.records.sweeps import SweepDirectory
from fltac.report.reading import Run, read_runs

SEED, ARM = "seed", "method"
CONFIDENCE = 0.95
ENOUGH_SEEDS = 3  # the interval of two is wider than all that it could tell apart


def trajectories(paths: Sequence[str | Path]) -> pd.DataFrame:
    """A row a point and round of the sweeps in these folders: parameters, accuracies, bytes since the start.

    Parameters are the method, all that any of the sweeps sweeps, and all in which their experiments differ.
    Columns: `sweep`, `point`, the parameters, `round`, `bytes`, `accuracy` (mean of the tasks on test), `validation`
    (null where there is none), `accuracy.TASK`, and `last`: a point that did not run to its end has no last round.
    Raises InputError for a folder that holds no sweep, and where no point is finished.
    """
    for path in map(Path, paths):
        if not SweepDirectory.there(path):
            what = "holds no sweep (it has no sweep.json); name the folder that fltac sweep wrote"
            raise InputError(Problem("DIR", what, str(path)), "command line")
    directories = [SweepDirectory(path) for path in paths]
    studies = [directory.study() for directory in directories]
    swept = [key for study in studies for key in study.sweep.space]
    keys = dict.fromkeys([ARM, *swept, *differing([study.base for study in studies])])
    rows: list[dict[str, Any]] = []
    for directory, study in zip(directories, studies, strict=True):
        for number, params in directory.noted().items():
            experiment, lines = study.experiment(params), directory.run(number).lines()
            place = {"sweep": str(directory.path), "point": number, SEED: experiment.seed}
            tree = experiment.model_dump(mode="json")
            place |= {key: _hashable(value(tree, key)) for key in keys if key != SEED}
            for line in lines:
                found = searched(lines[: line["round"]])
                rows.append(
                    place
                    | {
                        "round": line["round"],
                        "last": line["round"] == experiment.rounds,
                        "bytes": found["bytes_total"],
                    }
                    | {"accuracy": line["accuracy_mean"], "validation": found.get("accuracy_validation_mean")}
                    | {f"accuracy.{task}": one for task, one in line["accuracy"].items()}
                )
    if not any(row["last"] for row in rows):
        raise InputError(Problem("DIR", "holds no finished point yet", str(paths[0])), "command line")
    return pd.DataFrame(rows)


def _hashable(one: Any) -> Any:
    return json.dumps(one) if isinstance(one, list | dict) else one


def parameters(table: pd.DataFrame) -> list[str]:
    """The columns by which configurations differ: all parameters but the seed."""
    own = {
        "sweep",
        "point",
        "round",
        "last",
        "bytes",
        "accuracy",
        "validation",
        SEED,
        "seeds",
        "front",
        "own_front",
        "begun",
    }
    return [name for name in table.columns if name not in own and name.split(".")[0] not in ("accuracy", "validation")]


def tasks(table: pd.DataFrame) -> list[str]:
    """The columns `accuracy.TASK`."""
    names = [name for name in table.columns if name.startswith("accuracy.")]
    return [name for name in names if not name.endswith((".low", ".high"))]


def configurations(table: pd.DataFrame, at: str = "last") -> pd.DataFrame:
    """A row a configuration (and round, with at = "round"): means over its seeds with Student's 95 % interval.

    A round counts where all seeds of the configuration that were begun came to it; a seed that ran twice is one.

    Columns: the parameters, `seeds` (how many), `bytes`, and for accuracy, validation and each task the mean and
    `NAME.low`, `NAME.high`, null with one seed alone, and never below 0 nor above 1.
    """
    rows = table[table["last"]] if at == "last" else table
    keys = [*parameters(table), *(["round"] if at == "round" else [])]
    measured = ["accuracy", "validation", *tasks(table)]
    found = []
    begun = table.groupby(parameters(table), dropna=False)[SEED].transform("nunique")
    for values, all_rows in rows.assign(begun=begun).groupby(keys, dropna=False, sort=False):
        each = all_rows[[SEED, *measured, "bytes"]].astype(float).groupby(SEED).mean()
        if at == "round" and len(each) < all_rows["begun"].iloc[0]:
            continue  # the mean of those that got there would be another configuration's
        place = {"sweep": all_rows["sweep"].iloc[0], "point": all_rows["point"].iloc[0]}
        row = dict(zip(keys, values, strict=True)) | place | {"seeds": len(each), "bytes": each["bytes"].mean()}
        for name in measured:
            mean, low, high = accuracy_interval(each[name].to_numpy(dtype=float))
            row |= {name: mean, f"{name}.low": low, f"{name}.high": high}
        found.append(row)
    return pd.DataFrame(found)


def chosen(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The rows whose `keys`, such as the learning rate, are the best for all else that they have: of the highest mean
    validation accuracy after the last round, the same effort for each method and rank. Of one choice only those of its
    values are weighed that most seeds have finished: a lucky seed alone beats no mean of three.

    Raises InputError for a key that is not swept, and where points have no validation data.
    """
    swept = parameters(table)
    for key in keys:
        if key not in swept:
            what = f"is not swept; choose among {', '.join(swept)}"
            raise InputError(Problem("--choose", what, key), "command line")
    if not keys:
        return table
    require_validation(table)
    rest = [key for key in swept if key not in keys]
    each = table[table["last"]].groupby([*rest, *keys], dropna=False, sort=False)
    scores = each.agg(validation=("validation", "mean"), finished=(SEED, "nunique")).reset_index()
    ordered = scores.sort_values(["finished", "validation"], ascending=False, kind="stable")
    best = ordered.drop_duplicates(rest) if rest else ordered.head(1)
    return table.merge(best[[*rest, *keys]], on=[*rest, *keys])


def require_validation(table: pd.DataFrame) -> None:
    """Raises InputError where a point has none."""
    if table["validation"].isna().any():
        what = "has points without validation data; set validation of every task, and sweep again"
        raise InputError(Problem("SWEEP", what), "command line")


def points_of(table: pd.DataFrame, configuration: Mapping[Hashable, Any]) -> pd.DataFrame:
    """The rows of the points of one configuration."""
    return table[np.logical_and.reduce([table[key].isin([configuration[key]]) for key in parameters(table)])]


def runs_of(table: pd.DataFrame, configuration: Mapping[Hashable, Any]) -> list[Run]:
    """The runs of one configuration, a point each."""
    rows = points_of(table, configuration)[["sweep", "point"]].drop_duplicates()
    return read_runs([SweepDirectory(sweep).run(int(point)).path for sweep, point in rows.itertuples(index=False)])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half the width of Student's 95 % interval, which is nan for one value alone."""
    n = len(values)
    half = student.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return float(values.mean()), float(half)


def accuracy_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and ends of that interval, which no accuracy passes: 0 at least and 1 at most."""
    mean, half = interval(values)
    low, high = np.clip([mean - half, mean + half], 0, 1)
    return mean, float(low), float(high)


def on_front(size: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """(n,) whether no other is as good for fewer bytes, or better for as many: the Pareto front."""
    order = np.lexsort((-accuracy, size))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], accuracy[order][:-1]]))
    front = np.zeros(len(size), dtype=bool)
    front[order] = accuracy[order] > best
    return front


def bytes_to_reach(table: pd.DataFrame, targets: Sequence[float]) -> pd.DataFrame:
    """What each arm needs to an accuracy: of its configurations and rounds whose mean over seeds is there, the fewest
    bytes. A row an arm and target, with the parameters and the round that do it; null where none does."""
    steps = configurations(table, at="round")
    found = []
    for arm, each in steps.groupby(ARM, sort=False):
        for target in targets:
            enough = each[each["accuracy"] >= target].sort_values("bytes", kind="stable")
            best = next(iter(enough.to_dict("records")), {})
            known = {name: best.get(name) for name in (*parameters(table), "round", "bytes", "accuracy", "seeds")}
            found.append(known | {ARM: arm, "target": target})
    return pd.DataFrame(found, dtype=object)
