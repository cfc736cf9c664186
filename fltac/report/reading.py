"""Run directories as pandas frames, finished or not; rows of a round that is not finished yet do not count."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pandas as pd

from fltac.errors import InputError, Problem
from fltac.points import flat
from fltac.records.rounds import TABLES
from fltac.records.store import RunDirectory
from fltac.records.summary import Summary, summarise

MEAN = "mean of tasks"  # no task can be called so


@dataclass(frozen=True)
class Run:
    """One run as the report sees it; `label` tells it from the others on the page."""

    folder: Path
    label: str
    # plain JSON and not `Experiment`: a run of another version of fltac, or from another machine, is still read
    experiment: Mapping[str, Any]
    provenance: Mapping[str, Any]
    summary: Summary  # so far
    clocks: Mapping[
        str, float
    ]  # all that begins with `seconds` in the summary, or in the lines where there is none yet
    finished: bool
    rounds: pd.DataFrame  # a row a round: the lines of rounds.jsonl
    updates: pd.DataFrame
    evaluations: pd.DataFrame  # round 0: untuned
    clusters: pd.DataFrame
    layers: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """In the order of the experiment file."""
        return [task["name"] for task in self.experiment["tasks"]]

    @property
    def merged(self) -> pd.DataFrame:
        """The updates that were not refused: only of them the server found something."""
        return self.updates[self.updates["cluster"].notna()].astype({"cluster": int, "is_noise": bool})

    @property
    def changes(self) -> list[tuple[int, str]]:
        """What changed in the world: round and words, in order."""
        told = [(one["round"], _words(one)) for one in self.experiment.get("changes", [])]
        return sorted(told, key=lambda one: one[0])

    @property
    def true_clusters(self) -> int:
        """How many clusters a perfect clustering has."""
        return len({task["truth"] or task["name"] for task in self.experiment["tasks"]})


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """The runs in these folders, a folder named twice read once.

    Raises InputError listing every folder that is no run directory or has no finished round.
    """
    folders = {path.resolve(): path for path in map(Path, paths)}
    problems = [problem for path in folders.values() if (problem := _problem(path))]
    if not folders:
        problems = [Problem("DIR", "is missing; name at least one run directory")]
    if problems:
        raise InputError(problems, "command line")
    return [_read(path, _label(real, list(folders))) for real, path in folders.items()]


def accuracy(run: Run) -> pd.DataFrame:
    """Accuracy on test: a row a round (0: untuned), a column a task and one for their mean."""
    rows = run.evaluations.query("cluster.isnull() and split == 'test' and metric == 'accuracy'")
    table = rows.pivot(index="round", columns="task", values="value").reindex(columns=run.tasks)
    return table.assign(**{MEAN: table.mean(axis=1)})


def cumulative_bytes(run: Run) -> pd.DataFrame:
    """Bytes on the wire since the start: a row a round (0: nothing yet), columns `up`, `down`, `total`."""
    table = run.rounds.set_index("round")[["bytes_up", "bytes_down"]].cumsum()
    table.loc[0] = 0
    table.columns = pd.Index(["up", "down"])
    return table.sort_index().assign(total=lambda sums: sums["up"] + sums["down"])


def results(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a task and run, and one for the mean of the tasks; `difference` is accuracy above the majority class, `low`
    and `high` the 95 % interval that the number of test examples leaves (none for the mean)."""
    rows: list[dict[Hashable, Any]] = []
    for run in runs:
        columns = {
            "majority": pd.Series(run.summary.majority, dtype=float),
            "untuned": pd.Series(run.summary.untuned, dtype=float),
            "accuracy": pd.Series(run.summary.accuracy, dtype=float),
        }
        table = pd.DataFrame(columns).reindex(run.tasks)
        table.loc[MEAN] = table[table["accuracy"].notna()].mean()  # of the tasks that are still there
        table["difference"] = table["accuracy"] - table["majority"]
        table[["low", "high"]] = _wilson(table["accuracy"], _test_examples(run).reindex(table.index))
        rows += [{"task": task, "run": run.label, **row} for task, row in table.to_dict("index").items()]
    return pd.DataFrame(rows)


def _test_examples(run: Run) -> pd.Series:
    """Of each task that was judged in the last round."""
    rows = run.evaluations.query("cluster.isnull() and split == 'test' and metric == 'accuracy'")
    return rows[rows["round"] == run.summary.rounds].set_index("task")["num_examples"]


def _wilson(share: pd.Series, n: pd.Series) -> pd.DataFrame:
    """The score interval of a share of n, 95 %. Source: Wilson 1927."""
    z2 = NormalDist().inv_cdf(0.975) ** 2
    middle, half = share + z2 / (2 * n), (z2 * (share * (1 - share) + z2 / (4 * n)) / n) ** 0.5
    return pd.DataFrame({"low": (middle - half) / (1 + z2 / n), "high": (middle + half) / (1 + z2 / n)})


def other_metrics(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a task, metric (all but accuracy) and run, on test: `untuned`, and `value` after the last round."""
    rows: list[dict[Hashable, Any]] = [
        {
            "task": task,
            "metric": metric,
            "run": run.label,
            "untuned": run.summary.metrics_untuned.get(task, {}).get(metric),
            "value": value,
        }
        for run in runs
        for task in run.tasks
        for metric, value in run.summary.metrics.get(task, {}).items()
    ]
    return pd.DataFrame(rows, columns=["task", "metric", "run", "untuned", "value"])


def differences(runs: Sequence[Run]) -> pd.DataFrame:
    """The dotted keys in which the experiments differ: a row a key, a column a run, values as JSON."""
    table = pd.DataFrame(
        {run.label: {key: json.dumps(leaf) for key, leaf in flat(run.experiment).items()} for run in runs}
    ).fillna("")
    return table[table.nunique(axis=1) > 1]


def all_tasks(runs: Sequence[Run]) -> list[str]:
    """The tasks of all runs, each once, in the order of the experiment files."""
    return list(dict.fromkeys(task for run in runs for task in run.tasks))


def _label(folder: Path, all: Sequence[Path]) -> str:
    """The name of a run's folder, with as many of those above it as tell it from the others."""
    tails = [Path(*folder.parts[-n:]) for n in range(1, len(folder.parts) + 1)]
    alone = (tail for tail in tails if sum(one.parts[-len(tail.parts) :] == tail.parts for one in all) == 1)
    return next(alone, folder).as_posix()


def _clocks(rounds: pd.DataFrame, summary: Mapping[str, Any]) -> dict[str, float]:
    measured = {**{str(name): rounds[name].sum() for name in rounds if str(name).startswith("seconds")}, **summary}
    numbers = {name: value for name, value in measured.items() if name.startswith("seconds")}
    return {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}


def _words(change: Mapping[str, Any]) -> str:
    what, verb = change["type"].split("-")
    if verb == "drifts":
        who = "a client" if change["client"] is None else f"client {change['client']}"
        return f"{who}'s {change['task']} data become {change['becomes']} data"
    return f"{what} {change[what]} {verb}"


def _problem(path: Path) -> Problem | None:
    run = RunDirectory(path)
    if not run.experiment_file.is_file():
        what = "is no run directory (it has no experiment.json); name the folder that fltac run wrote"
        return Problem("DIR", what, str(path))
    if not run.lines():
        return Problem("DIR", "has no finished round yet; wait for its first one, or run fltac resume", str(path))
    return None


def _read(path: Path, label: str) -> Run:
    run = RunDirectory(path)
    rounds = pd.DataFrame(run.lines())
    last = int(rounds["round"].max())
    tables = {name: run.table(name).to_pandas() for name in TABLES if name != "generations"}
    return Run(
        folder=path,
        label=label,
        experiment=run.experiment(),
        provenance=run.provenance(),
        summary=summarise(run),
        clocks=_clocks(rounds, run.summary() or {}),
        finished=run.summary() is not None,
        rounds=rounds,
        **{name: table[table["round"] <= last] for name, table in tables.items()},
    )
