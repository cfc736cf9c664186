"""Who holds what: seeded shards of every task over the clients, and the slots that hide their tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fltac.config import Change, Clients, Dirichlet, LabelDirichlet, Table
from fltac.data.shards import Key, Shard, Shards, drifts, timed
from fltac.data.tasks import TaskData
from fltac.errors import InputError, Problem
from fltac.seeds import generator


def partition(tasks: Sequence[TaskData], clients: Clients, seed: int, changes: Sequence[Change] = ()) -> Shards:
    """Shards by `(client, slot)`, sorted; slot numbers are a seeded permutation and say nothing of the task.

    dirichlet: shares p ~ Dir(alpha 1_m) of each task; label_dirichlet: the same for each class; table: as given.
    A client whose share is below min_share, or whose examples are fewer than min_examples, gets none of the task
    and the others share it in proportion. Source: arXiv 2404.15384, section 4 (quantity skew); arXiv 1909.06335
    (label skew). What a drift brings is set aside before, and comes in its round. Raises InputError for a task that
    nobody holds, and for a drift that nobody can make.
    """
    held: dict[int, list[Shard]] = {client: [] for client in range(clients.count)}
    problems = []
    aside: dict[int, np.ndarray] = {}  # change -> what its drift brings
    for task in tasks:
        draw = generator(seed, "partition", task.name)
        rest = order = draw.permutation(len(task.train))
        for index, drift in drifts(changes):
            if drift.becomes == task.name:
                count = round((drift.share or 1 / clients.count) * len(order))
                aside[index], rest = np.sort(rest[:count]), rest[count:]
                if not len(rest):
                    what = f"leaves nothing of task {task.name!r} to those who hold it; lower it"
                    problems.append(Problem(f"changes.{index}.share", what, drift.share))
        if not len(rest):
            continue
        owners = _owners(task, clients, rest, draw)
        if (owners < 0).all():
            rule = clients.partition
            what = (
                f"leaves task {task.name!r} ({len(task.train)} examples) to nobody: no client's share reaches both"
                " min_share and min_examples; lower them"
            )
            got = {"min_share": rule.min_share, "min_examples": rule.min_examples}
            problems.append(Problem("clients.partition", what, got))
        for client in range(clients.count):
            indices = np.flatnonzero(owners == client)
            if len(indices):
                held[client].append(Shard(task.name, indices))
    if problems:
        raise InputError(problems)
    slots: dict[Key, Shard] = {}
    for client, shards in held.items():
        order = generator(seed, "slots", client).permutation(len(shards))
        slots.update({(client, slot): shards[index] for slot, index in enumerate(order)})
    return timed(slots, changes, aside, clients.partition.min_examples, seed)


def _owners(task: TaskData, clients: Clients, order: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(n,) the client that holds each training example, -1 where nobody does."""
    rule = clients.partition
    groups = [order]
    if isinstance(rule, LabelDirichlet):
        groups = [order[task.train.labels[order] == label] for label in range(len(task.classes))]
    shares = [_shares(rule, task.name, clients.count, draw) for _ in groups]  # a group: (m,)
    sizes = np.array([len(group) for group in groups])
    expected = np.round(sizes @ np.array(shares), 9)  # (m,) examples a client would hold; 49 * (1 / 49) is one
    holds = (expected >= rule.min_examples) & (expected >= np.round(rule.min_share * sizes.sum(), 9))
    while True:
        counts = [_cut(len(group), share * holds) for group, share in zip(groups, shares, strict=True)]
        few = holds & (np.sum(counts, axis=0) < rule.min_examples)  # of several classes, rounding may take an example
        if not few.any():
            break
        holds &= ~few
    owners = np.full(len(task.train), -1)
    for group, count in zip(groups, counts, strict=True):
        owners[group[: count.sum()]] = np.repeat(np.arange(clients.count), count)
    return owners


def _shares(rule: Dirichlet | LabelDirichlet | Table, task: str, count: int, draw: np.random.Generator) -> np.ndarray:
    if isinstance(rule, Table):
        row = np.array(rule.shares[task])
        return np.asarray(row / row.sum())
    return draw.dirichlet(np.full(count, rule.alpha))


def _cut(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to the weights that sum to `total` (largest remainders); zeros if all weigh 0."""
    if weights.sum() == 0:
        return np.zeros(len(weights), np.int64)
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return np.asarray(counts)
