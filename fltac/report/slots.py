"""Where each slot was, round by round, and the colours of clusters and tasks: what the figures of a run share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

import pandas as pd
from scipy.optimize import linear_sum_assignment

from fltac.report.reading import Run
from fltac.report.style import GREY, SYMBOLS, colour

SHARED = "all tasks"  # one adapter serves all tasks of its client
NAMED = 3  # slots that are named one by one in a figure

Slot = tuple[int, int]  # (client, slot)


class Flow(NamedTuple):
    """Slots that were in one cluster in a round and in one, the same or another, in the next."""

    round: int  # the later one
    source: int
    target: int
    slots: list[Slot]


def named_updates(run: Run) -> pd.DataFrame:
    """The updates that were merged, none without a name for its task."""
    return run.merged.assign(task=run.merged["task"].fillna(SHARED))


def membership(run: Run) -> pd.DataFrame:
    """A row a slot `(client, slot)`, a column a round: its cluster; where it did not send, the one it was last seen in;
    null before it was heard of."""
    table = run.merged.pivot(index=["client", "slot"], columns="round", values="cluster")
    return table.reindex(columns=run.rounds["round"].tolist()).ffill(axis=1)


def flows(places: pd.DataFrame) -> list[Flow]:
    """From each round to the next, by source and target; `places` as of `membership`."""
    found = []
    for before, after in pairwise(places.columns):
        both = places[[before, after]].dropna().astype(int)
        for ends, part in both.groupby([before, after]):
            source, target = map(int, ends)  # type: ignore[arg-type]
            found.append(Flow(int(str(after)), source, target, part.index.tolist()))
    return found


def who(slots: Iterable[Slot], named: int = NAMED) -> str:
    """`client 2, slot 1`, several of them, or how many where they are too many to name."""
    each = list(slots)
    if len(each) > named:
        return f"{len(each)} slots"
    return "; ".join(f"client {client}, slot {slot}" for client, slot in each)


def present_tasks(run: Run) -> list[str]:
    """The tasks that updates were of, in the order of the experiment file."""
    there = set(named_updates(run)["task"])
    return [task for task in [*run.tasks, SHARED] if task in there]


def task_symbols(run: Run) -> dict[str, str]:
    """Task -> its marker."""
    return {task: SYMBOLS[number % len(SYMBOLS)] for number, task in enumerate([*run.tasks, SHARED])}


def task_colours(run: Run) -> dict[str, str]:
    """Task -> its colour, the same in all figures."""
    return {**{task: colour(number) for number, task in enumerate(run.tasks)}, SHARED: GREY}


def cluster_colours(run: Run) -> dict[int, str]:
    """Cluster -> the colour of the task that it stands for (one to one, most updates in all: Hungarian), so that
    colours differ only where clusters and tasks do; one of its own where no task is left for it."""
    table = named_updates(run)
    counts = pd.crosstab(table["cluster"], table["task"]).drop(columns=SHARED, errors="ignore")
    rows, columns = linear_sum_assignment(-counts.to_numpy())
    colours = task_colours(run)
    found = {
        int(counts.index[row]): colours[counts.columns[column]]
        for row, column in zip(rows, columns, strict=True)
        if counts.iat[row, column]
    }
    others = [int(cluster) for cluster in sorted(table["cluster"].unique()) if cluster not in found]
    return found | {cluster: colour(len(run.tasks) + number) for number, cluster in enumerate(others)}


def of_task(run: Run) -> dict[int, str]:
    """Cluster -> the task that most of its updates of the last round it was heard in are of."""
    table = named_updates(run)
    last = table[table["round"] == table.groupby("cluster")["round"].transform("max")]
    most: dict[Hashable, str] = last.groupby("cluster")["task"].agg(lambda tasks: tasks.mode().iloc[0]).to_dict()
    return {int(str(cluster)): task for cluster, task in most.items()}
