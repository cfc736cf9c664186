"""What a run cost and what it saved: traffic as time and money, against what the server had to do for it.

Time on the wire is reckoned, not measured: runs are simulated, and their bytes are real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fltac.config import Network
from fltac.layers import load
from fltac.records.store import RunDirectory
from fltac.report.reading import MEAN, Run, accuracy, cumulative_bytes, read_runs
from fltac.seeds import generator

OTHERS = "others"  # clients in no tier


@dataclass(frozen=True)
class Cost:
    """Of a run so far; bytes of all its rounds, seconds and dollars."""

    run: str
    rounds: int
    accuracy: float
    bytes_up: int
    bytes_down: int
    bytes_base: int  # the frozen base, once a client that took part
    seconds_wire: float  # of all rounds: each waits for its slowest client
    seconds_server: float  # measured: clustering and merging
    bytes_full: int  # full fine-tuning in as many rounds: the whole base both ways; reckoned, not run
    bytes_kept: int  # by the server: its last state
    usd_traffic: float
    usd_server: float
    usd_storage: float  # a month of what is kept


def costs(folders: Sequence[Path], overrides: Sequence[str]) -> tuple[list[Cost], pd.DataFrame, pd.DataFrame | None]:
    """Of each run, by the network of the first one's experiment with `key=value` of its own on top.

    Each cost, a row a run and tier, and where there are several runs what each needed to the same accuracy.
    Raises InputError where a folder is no run directory with a finished round, or an override is none of [network].
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())  # as read_runs: each once
    runs = read_runs(folders)
    asked = [f"network.{override}" for override in overrides]
    network = load(RunDirectory(folders[0]).experiment_file, asked).network
    parts = [by_tier(run, network).assign(run=run.label) for run in runs]
    equal = at_equal_accuracy(runs, network) if len(runs) > 1 else None
    return [cost(run, network, path) for run, path in zip(runs, folders, strict=True)], pd.concat(parts), equal


def cost(run: Run, network: Network, folder: Path) -> Cost:
    """What the run in the folder cost on these lines."""
    up, down = (int(run.updates[name].sum()) for name in ("bytes_up", "bytes_down"))
    base = run.summary.bytes_base
    drawn = int(run.rounds["clients"].sum())
    server = float((run.rounds["seconds_cluster"] + run.rounds["seconds_merge"]).sum())
    kept = sum(file.stat().st_size for file in (folder / "checkpoint").rglob("*") if file.is_file())
    return Cost(
        run=run.label,
        rounds=len(run.rounds),
        accuracy=float(accuracy(run)[MEAN].iloc[-1]),
        bytes_up=up,
        bytes_down=down,
        bytes_base=base,
        seconds_wire=float(wire_seconds(run, network).groupby("round")["seconds"].max().sum()),
        seconds_server=server,
        bytes_full=2 * drawn * base // max(run.updates["client"].nunique(), 1),
        bytes_kept=kept,
        usd_traffic=(up + down + base) / 1e9 * network.usd_per_gb,
        usd_server=server / 3600 * network.usd_per_server_hour,
        usd_storage=kept / 1e9 * network.usd_per_gb_month,
    )


def wire_seconds(run: Run, network: Network) -> pd.DataFrame:
    """A row a round and drawn client: `tier`, `bytes_up`, `bytes_down`, `seconds`.

    A client's round takes 2 latency + 8 bytes_down / down + 8 bytes_up / up, one download and one upload.
    """
    rows = run.updates.groupby(["round", "client"], as_index=False)[["bytes_up", "bytes_down"]].sum()
    tier = tiers(run.experiment["clients"]["count"], run.experiment["seed"], network)
    lines = {one.name: (one.up_mbps, one.down_mbps, one.latency_ms) for one in network.tiers}
    lines[OTHERS] = network.up_mbps, network.down_mbps, network.latency_ms
    rows["tier"] = [tier[client] for client in rows["client"]]
    up, down, latency = (rows["tier"].map({name: line[part] for name, line in lines.items()}) for part in range(3))
    return rows.assign(seconds=2 * latency / 1e3 + 8e-6 * rows["bytes_down"] / down + 8e-6 * rows["bytes_up"] / up)


def tiers(clients: int, seed: int, network: Network) -> list[str]:
    """The tier of each client: shares of a seeded permutation, rounded to whole clients, the rest in none."""
    order = generator(seed, "tiers").permutation(clients)
    names, ends = [OTHERS] * clients, 0.0
    for tier in network.tiers:
        begin, ends = ends, ends + tier.share
        for client in order[math.floor(begin * clients + 0.5) : math.floor(ends * clients + 0.5)]:
            names[client] = tier.name
    return names


def by_tier(run: Run, network: Network) -> pd.DataFrame:
    """A row a tier: clients that took part, and of a round the mean and the longest time, the mean bytes each way."""
    rows = wire_seconds(run, network).groupby("tier")
    table = rows.agg(
        clients=("client", "nunique"),
        seconds=("seconds", "mean"),
        longest=("seconds", "max"),
        bytes_up=("bytes_up", "mean"),
        bytes_down=("bytes_down", "mean"),
    )
    order = [tier.name for tier in network.tiers] + [OTHERS]
    return table.reindex([name for name in order if name in table.index]).reset_index()


def at_equal_accuracy(runs: Sequence[Run], network: Network) -> pd.DataFrame:
    """What each run needed to the highest accuracy that all of them reached: round, bytes, seconds on the wire."""
    target = min(float(accuracy(run)[MEAN].max()) for run in runs)
    found = []
    for run in runs:
        reached = accuracy(run)[MEAN]
        round = int(reached[reached >= target].index[0])
        waits = wire_seconds(run, network).groupby("round")["seconds"].max()
        total = int(cumulative_bytes(run)["total"].to_dict()[round])
        found.append(
            {"run": run.label, "target": target, "round": round, "bytes": total, "seconds": float(waits[:round].sum())}
        )
    return pd.DataFrame(found)
