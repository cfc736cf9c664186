"""Clusters with a history: what becomes of noise, and which cluster of this round is which of the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Key = tuple[int, int]  # (client, slot)


def settle_noise(
    points: np.ndarray, labels: np.ndarray, last: Sequence[int | None], policy: str, bound: float
) -> np.ndarray:
    """Labels (n,) without -1: no update is ever dropped.

    nearest: joins the cluster whose centroid is nearest, if that is at most `bound` of the way to the second nearest,
    else stays alone, a cluster of one. (A bound in radii would feed itself: members of a merged cluster look alike,
    and one that was left out never again looks like them.) last: goes where most of its cluster of last round went,
    and is alone if it had none. own: stays alone. Where all is noise there is nothing to be near, so `last` decides.
    """
    settled = labels.copy()
    noise = np.flatnonzero(labels < 0)
    clusters = np.unique(labels[labels >= 0])
    if policy == "nearest" and len(clusters):
        centroids = np.array([points[labels == cluster].mean(axis=0) for cluster in clusters])
        for point in noise:
            distances = np.linalg.norm(centroids - points[point], axis=1)
            nearest, second = np.sort(distances)[[0, 1]] if len(clusters) > 1 else (0.0, np.inf)
            if nearest <= bound * second:
                settled[point] = clusters[distances.argmin()]
    elif policy == "last" or not len(clusters):
        for old in sorted({one for one, label in zip(last, labels, strict=True) if one is not None and label < 0}):
            members = np.array([one == old for one in last])
            home = _most(labels[members])
            settled[members & (labels < 0)] = settled.max() + 1 if home is None else home
    alone = settled < 0
    settled[alone] = settled.max(initial=-1) + 1 + np.arange(alone.sum())
    return settled


def _most(labels: np.ndarray) -> int | None:
    """The most frequent label that is not noise, of equals the first one's; None where there is none."""
    kept = labels[labels >= 0].tolist()
    return max(dict.fromkeys(kept), key=kept.count, default=None)


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
