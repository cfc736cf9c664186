"""The clients' lines: who is in which tier, how long a round takes them, and the accuracy that they get.

Time on the wire is reckoned, not measured: runs are simulated, and their bytes are real.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fltac.config import Network
from fltac.layers import load
from fltac.records.store import RunDirectory
from fltac.report.reading import Run
from fltac.wire.lines import OTHERS, tiers


def network_of(run: Run, overrides: Sequence[str] = ()) -> Network:
    """The run's `[network]`, with `key=value` of its own on top. Raises InputError for an override that is none."""
    if overrides:
        asked = [f"network.{override}" for override in overrides]
        return load(RunDirectory(run.folder).experiment_file, asked).network
    return Network.model_validate(run.experiment.get("network", {}))  # a run of another version is still read


def wire_seconds(run: Run, network: Network, instead: float | None = None) -> pd.DataFrame:
    """A row a round and drawn client: `tier`, `bytes_up`, `bytes_down`, `seconds`; with `instead` as many bytes each
    way as it says.

    A client's round takes 2 latency + 8 bytes_down / down + 8 bytes_up / up, one download and one upload.
    """
    rows = run.updates.groupby(["round", "client"], as_index=False)[["bytes_up", "bytes_down"]].sum()
    if instead is not None:
        rows = rows.assign(bytes_up=instead, bytes_down=instead)
    tier = _tiers(run, network)
    lines = {one.name: (one.up_mbps, one.down_mbps, one.latency_ms) for one in network.tiers}
    lines[OTHERS] = network.up_mbps, network.down_mbps, network.latency_ms
    rows["tier"] = [tier[client] for client in rows["client"]]
    up, down, latency = (rows["tier"].map({name: line[part] for name, line in lines.items()}) for part in range(3))
    sends = rows["bytes_up"] + rows["bytes_down"] != 0  # where all data are in one place nothing does
    seconds = 2 * latency / 1e3 + 8e-6 * rows["bytes_down"] / down + 8e-6 * rows["bytes_up"] / up
    return rows.assign(seconds=seconds.where(sends, 0.0))


def by_tier(run: Run, network: Network) -> pd.DataFrame:
    """A row a tier: clients that took part, the mean and longest time of a round, its mean bytes each way, and the
    accuracy on test of what its slots would be sent, see `received`, weighted by their training examples."""
    rows = wire_seconds(run, network).groupby("tier")
    table = rows.agg(
        clients=("client", "nunique"),
        seconds=("seconds", "mean"),
        longest=("seconds", "max"),
        bytes_up=("bytes_up", "mean"),
        bytes_down=("bytes_down", "mean"),
    )
    slots, tier = received(run), _tiers(run, network)
    slots["tier"] = [tier[client] for client in slots["client"]]
    slots["weighted"] = slots["accuracy"] * slots["num_examples"]
    sums = slots.groupby("tier")[["weighted", "num_examples"]].sum()
    table["accuracy"] = sums["weighted"] / sums["num_examples"]
    order = [tier.name for tier in network.tiers] + [OTHERS]
    return table.reindex([name for name in order if name in table.index]).reset_index()


def received(run: Run) -> pd.DataFrame:
    """A row a slot that was heard of: `client`, `slot`, `num_examples`, and the accuracy on test, after the last round,
    of the adapter that it would be sent: that of its cluster on its task.

    The mean of all holders of the task where the cluster it was last seen in is there no more; the mean of all tasks
    where one adapter serves all tasks of its client: the records do not say how much it holds of which.
    """
    last = run.merged.drop_duplicates(["client", "slot"], keep="last")  # as written, round by round
    rows = run.evaluations.query("split == 'test' and metric == 'accuracy'")
    rows = rows[rows["round"] == run.summary.rounds]
    whole = rows[rows["cluster"].isna()].set_index("task")["value"].to_dict()
    known = rows.dropna(subset="cluster").set_index(["task", "cluster"])["value"].to_dict()
    found = []
    for row in last[["client", "slot", "task", "cluster", "num_examples"]].to_dict("records"):
        names = [row["task"]] if isinstance(row["task"], str) else list(whole)
        judged = [known.get((name, row["cluster"]), whole[name]) for name in names if name in whole]
        if judged:  # its task is still there
            place = {name: row[name] for name in ("client", "slot", "num_examples")}
            found.append({**place, "accuracy": sum(judged) / len(judged)})
    return pd.DataFrame(found, columns=["client", "slot", "num_examples", "accuracy"])


def _tiers(run: Run, network: Network) -> list[str]:
    return tiers(run.experiment["clients"]["count"], run.experiment["seed"], network)
