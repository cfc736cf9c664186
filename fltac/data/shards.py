"""What a client holds of a task, and when: changes of the world as spans of rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fltac.config import Change, ClientDrifts, ClientJoins, TaskBegins, TaskEnds
from fltac.errors import InputError, Problem
from fltac.seeds import generator
from fltac.timeline import ALWAYS, Spans, overlap, spans, there

Key = tuple[int, int]  # (client, slot)


@dataclass(frozen=True)
class Shard:
    """What one client holds of one task: indices into the task's train split."""

    task: str
    indices: np.ndarray  # (n,) int64
    spans: Spans = ALWAYS  # the rounds in which it holds them
    turns: int = 1  # how many clients' steps are taken on them


Shards = Mapping[Key, Sequence[Shard]]  # what each slot holds, one after the other


def pooled(shards: Shards, fraction: float) -> Shards:
    """One client that holds, slot after slot, all that the others held of each task.

    Its turns are the clients that trained the task in a round, on average: as many steps are taken in all.
    """
    tasks: dict[str, list[Shard]] = {}
    for key in sorted(shards):
        for shard in shards[key]:
            tasks.setdefault(shard.task, []).append(shard)
    return {
        (0, slot): [
            Shard(
                task,
                np.sort(np.concatenate([one.indices for one in held])),
                turns=max(1, math.floor(fraction * len(held) + 0.5)),
            )
        ]
        for slot, (task, held) in enumerate(sorted(tasks.items()))
    }


def timed(
    held: Mapping[Key, Shard], changes: Sequence[Change], aside: Mapping[int, np.ndarray], least: int, seed: int
) -> Shards:
    """The shards with the rounds in which they are there; what is never there is left out.

    `aside` has, by the number of the change, what a drift brings: at least `least` examples. Raises InputError for a
    drift that nobody can make.
    """
    tasks, clients = _present(changes)
    slots = {
        key: [replace(shard, spans=overlap(tasks.get(shard.task, ALWAYS), clients.get(key[0], ALWAYS)))]
        for key, shard in held.items()
    }
    problems = []
    for index, drift in drifts(changes):
        if len(aside[index]) < least:
            what = f"is {len(aside[index])} examples of {drift.becomes!r}, under min_examples ({least}); raise it"
            problems.append(Problem(f"changes.{index}.share", what, drift.share))
            continue
        able = [key for key in slots if _able(slots, key, drift)]
        if not able:
            can = sorted(key[0] for key in slots if _able(slots, key, drift.model_copy(update={"client": None})))
            what = (
                f"must be a client that holds {drift.task!r} in rounds {drift.round - 1} and {drift.round} and"
                f" {drift.becomes!r} in none; these do: {', '.join(map(str, can)) or 'none, so name other tasks'}"
            )
            problems.append(Problem(f"changes.{index}.client", what, drift.client))
            continue
        key = able[generator(seed, "drift", drift.task, drift.becomes, drift.round).integers(len(able))]
        before, old = ((1, drift.round - 1),), slots[key][-1]
        after = overlap(((drift.round, math.inf),), tasks.get(drift.becomes, ALWAYS), clients.get(key[0], ALWAYS))
        if not after or after[0][0] > drift.round:
            what = f"is not there in round {drift.round}; begin it by then, or name another task"
            problems.append(Problem(f"changes.{index}.becomes", what, drift.becomes))
            continue
        slots[key][-1] = replace(old, spans=overlap(old.spans, before))
        slots[key].append(Shard(drift.becomes, aside[index], after))
    if problems:
        raise InputError(problems)
    kept = {key: [shard for shard in shards if shard.spans] for key, shards in slots.items()}
    return {key: shards for key, shards in kept.items() if shards}


def drifts(changes: Sequence[Change]) -> list[tuple[int, ClientDrifts]]:
    """The drifts with their numbers in the file, in an order that does not depend on it."""
    found = [(index, change) for index, change in enumerate(changes) if isinstance(change, ClientDrifts)]
    return sorted(found, key=lambda one: (one[1].round, one[1].task, one[1].becomes, str(one[1].client)))


def _able(slots: Mapping[Key, Sequence[Shard]], key: Key, drift: ClientDrifts) -> bool:
    client, shard = key[0], slots[key][-1]
    if drift.client not in (None, client) or shard.task != drift.task:
        return False
    others = {one.task for (owner, _), shards in slots.items() if owner == client for one in shards}
    return drift.becomes not in others and there(shard, drift.round - 1) and there(shard, drift.round)


def _present(changes: Sequence[Change]) -> tuple[dict[str, Spans], dict[int, Spans]]:
    """When each task and each client is there that comes or goes."""
    tasks: dict[str, list[tuple[int, bool]]] = {}
    clients: dict[int, list[tuple[int, bool]]] = {}
    for change in sorted(changes, key=lambda one: one.round):
        if isinstance(change, TaskBegins | TaskEnds):
            tasks.setdefault(change.task, []).append((change.round, isinstance(change, TaskBegins)))
        elif not isinstance(change, ClientDrifts):
            clients.setdefault(change.client, []).append((change.round, isinstance(change, ClientJoins)))
    return {k: spans(v) for k, v in tasks.items()}, {k: spans(v) for k, v in clients.items()}
