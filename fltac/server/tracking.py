"""Clusters with a history: which cluster of this round is which of the last."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Key = tuple[int, int]  # (client, slot)


def identify(
    labels: Mapping[Key, int], last: Mapping[Key, int], next_id: int
) -> tuple[dict[Key, int], dict[int, str], int]:
    """Stable cluster ids: `(slot -> id, id -> event, next unused id)`.

    This round's clusters are matched one to one to last round's so that most slots keep their id (Hungarian on the
    overlap). Events: `kept`; `merged` (took in most of a cluster that ended); `split` (new, most members from a
    cluster that lives on); `born` (any other new one); `died` and `merged away` (ended; size 0).
    """
    from scipy.optimize import linear_sum_assignment  # here, so that the start of a run need not wait for it

    new = list(
        dict.fromkeys(labels[key] for key in sorted(labels))
    )  # by first member: how they are numbered says nothing
    old = sorted(set(last.values()))
    overlap = np.zeros((len(new), len(old)), dtype=np.int64)
    for key, label in labels.items():
        if key in last:
            overlap[new.index(label), old.index(last[key])] += 1
    matched = {row: col for row, col in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[row, col]}
    ids, events = {}, {}
    for row, label in enumerate(new):
        if row in matched:
            ids[label], event = old[matched[row]], "kept"
        else:
            ids[label], next_id = next_id, next_id + 1
            event = (
                "split" if 2 * overlap[row].max(initial=0) > sum(one == label for one in labels.values()) else "born"
            )
        events[ids[label]] = event
    for col in sorted(set(range(len(old))) - set(matched.values())):
        heir = overlap[:, col].argmax() if len(new) else 0
        absorbed = 2 * overlap[:, col].max(initial=0) > sum(one == old[col] for one in last.values())
        events[old[col]] = "merged away" if absorbed else "died"
        if absorbed and events[ids[new[heir]]] == "kept":
            events[ids[new[heir]]] = "merged"
    return {key: ids[label] for key, label in labels.items()}, events, next_id
