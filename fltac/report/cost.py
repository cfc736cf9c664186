"""What runs cost and what they saved: traffic as bytes, time and money, against what the server had to do for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from fltac.config import Network
from fltac.errors import InputError, Problem
from fltac.points import label
from fltac.records.sweeps import SweepDirectory
from fltac.report.bars import bars_of_runs, comparable
from fltac.report.fronts import (
    ARM,
    bytes_to_reach,
    chosen,
    configurations,
    parameters,
    runs_of,
    tasks,
    trajectories,
)
from fltac.report.reading import MEAN, Run, accuracy, read_runs
from fltac.report.tiers import by_tier, network_of, wire_seconds


@dataclass(frozen=True)
class Cost:
    """Of a run, or the mean of several, from its start to a round: bytes, seconds, dollars.

    `full` is full fine-tuning in as many rounds (to an accuracy: as the quickest took) of as many clients, the whole
    base both ways: reckoned, not run; nan where the records do not tell the size of the base.
    """

    run: str
    rounds: int
    accuracy: float
    bytes_up: float
    bytes_down: float
    bytes_base: float  # the frozen base, once a client that took part
    bytes_full: float
    bytes_kept: float  # by the server: its last state
    seconds_wire: float  # each round waits for its slowest client
    seconds_full: float
    seconds_server: float  # measured: clustering and merging
    usd_traffic: float
    usd_full: float
    usd_server: float
    usd_storage: float  # a month of what is kept

    @property
    def bytes_saved(self) -> float:
        """The base, which either way is downloaded, is part of both."""
        return self.bytes_full - self.bytes_up - self.bytes_down - self.bytes_base

    @property
    def seconds_saved(self) -> float:
        """On the wire, without the one download of the base."""
        return self.seconds_full - self.seconds_wire

    @property
    def usd_saved(self) -> float:
        """On traffic."""
        return self.usd_full - self.usd_traffic

    @property
    def returns(self) -> float:
        """Return on investment: dollars saved on traffic for each paid for the server and a month of storage."""
        spent = self.usd_server + self.usd_storage
        return self.usd_saved / spent if spent else math.nan


@dataclass(frozen=True)
class Ledger:
    """Costs, and by what lines and prices they are reckoned."""

    network: Network
    whole: list[Cost]  # of all rounds
    target: float  # the highest mean accuracy that all reached
    equal: list[Cost]  # until they were there


def costs(folders: Sequence[Path], overrides: Sequence[str], choose: Sequence[str] = ()) -> tuple[Ledger, pd.DataFrame]:
    """Of the runs in these folders, and a row a run and tier; where there are sweeps, of each of their methods and of
    the runs beside them, and no tiers. Of the keys in `choose` only the best values count, see `fronts.chosen`.

    Raises InputError where a folder is no sweep nor a run directory with a finished round, where a run has other tasks
    than the sweeps, or sent nothing, and for an override that is none of [network].
    """
    sweeps = [folder for folder in folders if SweepDirectory.there(folder)]
    beside = [folder for folder in folders if folder not in sweeps]
    runs = read_runs(beside) if beside or not sweeps else []
    if sweeps:
        table = chosen(trajectories(sweeps), choose)
        fit = comparable(bars_of_runs(runs, tasks(table)))
        what = "has other tasks than the sweep, or sent nothing; ask for its cost alone"
        if alone := [Problem("DIR", what, str(run.folder)) for run in runs if run not in fit]:
            raise InputError(alone, "command line")
        return of_sweeps(table, lines_of(table, overrides), fit), pd.DataFrame()
    network = network_of(runs[0], overrides)
    return of_runs(runs, network), pd.concat([by_tier(run, network).assign(run=run.label) for run in runs])


def of_runs(runs: Sequence[Run], network: Network) -> Ledger:
    """Of each run all its rounds, and what each needed to the same accuracy."""
    target = min(float(_trained(run).max()) for run in runs)
    quickest = min(rounds_to(run, target) for run in runs)
    return Ledger(network, [cost(run, network) for run in runs], target, at_accuracy(runs, network, target, quickest))


def of_sweeps(table: pd.DataFrame, network: Network, beside: Sequence[Run] = ()) -> Ledger:
    """What each arm needed to the highest accuracy that all arms reached: of its cheapest configuration that did, the
    mean over seeds. `table` as of `fronts.trajectories`; runs `beside` it are arms, too."""
    best = configurations(table, at="round").groupby(ARM)["accuracy"].max().tolist()
    target = float(min(*best, *(_trained(run).max() for run in beside), math.inf))
    rows = bytes_to_reach(table, [target]).to_dict("records")
    quickest = min([*(int(row["round"]) for row in rows), *(rounds_to(run, target) for run in beside)])
    keys, found = parameters(table), []
    for row in rows:
        each = [cost(run, network, int(row["round"]), quickest) for run in runs_of(table, row)]
        found.append(mean(each, f"{row[ARM]}: {label({key: row[key] for key in keys if key != ARM})}".rstrip(": ")))
    return Ledger(network, [], target, [*found, *at_accuracy(beside, network, target, quickest)])


def lines_of(table: pd.DataFrame, overrides: Sequence[str]) -> Network:
    """`[network]` of the first point of sweeps, with `key=value` of its own on top."""
    return network_of(runs_of(table, table.to_dict("records")[0])[0], overrides)


def cost(run: Run, network: Network, rounds: int | None = None, full_rounds: int | None = None) -> Cost:
    """What a run cost up to a round (all of them where none is named) on these lines, and full fine-tuning in as many
    rounds, or in `full_rounds` of these."""
    last = run.summary.rounds if rounds is None else rounds
    other = last if full_rounds is None else full_rounds
    lines, updates = (one[one["round"] <= last] for one in (run.rounds, run.updates))
    up, down = (int(updates[name].sum()) for name in ("bytes_up", "bytes_down"))
    known = run.rounds.get("bytes_base")  # a name newer than some runs
    base = int(known[: len(lines)].sum()) if known is not None else 0
    clients = run.updates["client"].nunique()
    drawn = len(run.updates[run.updates["round"] <= other][["round", "client"]].drop_duplicates())
    size = run.summary.bytes_base / clients if run.summary.bytes_base and clients else math.nan  # of the base
    full = 2 * drawn * size
    server = float((lines["seconds_cluster"] + lines["seconds_merge"]).sum())
    kept = sum(file.stat().st_size for file in (run.folder / "checkpoint").rglob("*") if file.is_file())
    return Cost(
        run=run.label,
        rounds=last,
        accuracy=float(accuracy(run)[MEAN].to_dict()[last]),
        bytes_up=up,
        bytes_down=down,
        bytes_base=base,
        bytes_full=full,
        bytes_kept=kept,
        seconds_wire=_waited(wire_seconds(run, network), last),
        seconds_full=_waited(wire_seconds(run, network, size), other) if clients else math.nan,
        seconds_server=server,
        usd_traffic=(up + down + base) / 1e9 * network.usd_per_gb,
        usd_full=full / 1e9 * network.usd_per_gb,
        usd_server=server / 3600 * network.usd_per_server_hour,
        usd_storage=kept / 1e9 * network.usd_per_gb_month,
    )


def rounds_to(run: Run, target: float) -> int:
    """The first round in which the mean of its tasks is there."""
    reached = _trained(run)
    return int(reached[reached >= target].index[0])


def at_accuracy(runs: Iterable[Run], network: Network, target: float, quickest: int) -> list[Cost]:
    """Of each run up to the round in which it is there, against full fine-tuning in as many rounds as the `quickest`
    took: held against as many as its own, who needs more rounds would save more."""
    return [cost(run, network, rounds_to(run, target), quickest) for run in runs]


def mean(each: Sequence[Cost], name: str) -> Cost:
    """The mean of costs of equal rounds, under one name."""
    numbers = [field.name for field in fields(Cost) if field.name not in ("run", "rounds")]
    means = {number: float(np.mean([getattr(one, number) for one in each])) for number in numbers}
    return Cost(run=name, rounds=each[0].rounds, **means)


def dollars(amount: float) -> str:
    """`$ 12.30`, two digits that are not zero below a dollar: `$ 0.0042`, `$ 6.7e-07`."""
    if math.isnan(amount):
        return "-"
    size = abs(amount)
    digits = 2 if size >= 1 or size == 0 else 1 - math.floor(math.log10(size))
    return f"{'-' if amount < 0 else ''}$ " + (f"{size:.1e}" if digits > 4 else f"{size:.{digits}f}")


def _trained(run: Run) -> pd.Series:
    """Mean accuracy by round, without the untuned model's."""
    table = accuracy(run)[MEAN]
    return table[table.index > 0]


def _waited(rows: pd.DataFrame, last: int) -> float:
    """Seconds of all rounds up to one."""
    return float(rows[rows["round"] <= last].groupby("round")["seconds"].max().sum(skipna=False))
