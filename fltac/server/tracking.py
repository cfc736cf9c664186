"""Clusters with a history: which cluster of this round is which of the last."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Key = tuple[int, int]  # (client, slot)


class Stay(NamedTuple):
    """How settled a slot is: rounds in a row in its cluster; where else it was seen since, and for how many rounds."""

    rounds: int
    elsewhere: int = -1
    seen: int = 0


def identify(
    labels: Mapping[Key, int], last: Mapping[Key, int], next_id: int
) -> tuple[dict[Key, int], dict[int, str], int]:
    """Stable cluster ids: `(slot -> id, id -> event, next unused id)`.

    This round's clusters are matched one to one to last round's so that most slots keep their id (Hungarian on the
    overlap). Events: `kept`; `merged` (took in most of a cluster that ended); `split` (new, most members from a
    cluster that lives on); `born` (any other new one); `died` and `merged away` (ended; size 0).
    """
    from scipy.optimize import linear_sum_assignment  # here, so that the start of a run need not wait for it

    names = dict.fromkeys(labels[key] for key in sorted(labels))  # by first member: how they are numbered says nothing
    new, old = list(names), sorted(set(last.values()))
    row_of, col_of = ({one: at for at, one in enumerate(each)} for each in (new, old))
    overlap = np.zeros((len(new), len(old)), dtype=np.int64)
    for key, label in labels.items():
        if key in last:
            overlap[row_of[label], col_of[last[key]]] += 1
    size, size_before = Counter(labels.values()), Counter(last.values())
    matched = {row: col for row, col in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[row, col]}
    ids, events = {}, {}
    for row, label in enumerate(new):
        if row in matched:
            ids[label], event = old[matched[row]], "kept"
        else:
            ids[label], next_id = next_id, next_id + 1
            event = "split" if 2 * overlap[row].max(initial=0) > size[label] else "born"
        events[ids[label]] = event
    for col in sorted(set(range(len(old))) - set(matched.values())):
        heir = overlap[:, col].argmax() if len(new) else 0
        absorbed = 2 * overlap[:, col].max(initial=0) > size_before[old[col]]
        events[old[col]] = "merged away" if absorbed else "died"
        if absorbed and events[ids[new[heir]]] == "kept":
            events[ids[new[heir]]] = "merged"
    return {key: ids[label] for key, label in labels.items()}, events, next_id


def known_by_number(ids: Mapping[Key, int], last: Mapping[Key, int]) -> dict[int, str]:
    """Events of clusters whose number says which they are: `kept`, `born` (had no slot before), `died` (has none)."""
    now, before = set(ids.values()), set(last.values())
    return {one: "died" if one not in now else "kept" if one in before else "born" for one in sorted(now | before)}


def hold(
    ids: Mapping[Key, int], last: Mapping[Key, int], stays: Mapping[Key, Stay], patience: int
) -> tuple[dict[Key, int], dict[Key, Stay]]:
    """The ids after hysteresis, and how settled each slot is now: one odd round does not reshuffle.

    A slot that was `patience` rounds in a row in its cluster goes to another only when it was seen there `patience`
    rounds in a row, if both clusters lived before and do now; births, splits and merges are no such moves. Nor is it
    held where its client has another slot in its old cluster by now.
    """
    living = set(ids.values()) & set(last.values())
    held, stayed, slots = dict(ids), {}, defaultdict[int, list[Key]](list)
    for key in ids:
        slots[key[0]].append(key)
    for key, now in ids.items():
        before, stay = last.get(key), stays.get(key, Stay(0))
        if before == now or before is None:
            stayed[key] = Stay(stay.rounds + 1)
            continue
        seen = stay.seen + 1 if stay.elsewhere == now else 1
        taken = any(other != key and held[other] == before for other in slots[key[0]])
        if {now, before} <= living and stay.rounds >= patience and seen < patience and not taken:
            held[key] = before
            stayed[key] = Stay(stay.rounds + 1, now, seen)
        else:
            stayed[key] = Stay(1)
    return held, stayed
