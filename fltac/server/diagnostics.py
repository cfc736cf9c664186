"""What a round's clusters look like without a label: the rows that the server reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fltac.server.clustering import Found
from fltac.server.settling import most
from fltac.server.similarity import plane
from fltac.server.state import Key
from fltac.server.tracking import Stay
from fltac.wire.messages import Update

SILHOUETTE_POINTS = 2000  # beyond, distances of all pairs would take seconds and gigabytes


@dataclass(frozen=True)
class Sight:
    """A round's adapters as the server sees them: points, what the clusterer found, and which cluster is which."""

    keys: list[Key]
    points: np.ndarray  # (n, d)
    found: Found
    ids: dict[Key, int]  # each slot's cluster, once settled and tracked
    events: dict[int, str]
    next_id: int
    stays: dict[Key, Stay]


def churn(ids: Mapping[Key, int], last: Mapping[Key, int]) -> float:
    """The share of the slots known before that are in another cluster now."""
    return sum(ids[key] != last[key] for key in last) / max(len(last), 1)


def update_rows(
    updates: Sequence[Update],
    sight: Sight,
    last: Mapping[Key, int],
    sketches: np.ndarray | None,
    merged: Mapping[Key, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """A row an update: its cluster, the one it came from where that is another, its place in the plane, its sketch,
    and what the merge says of it."""
    place, xy, firmness = {key: i for i, key in enumerate(sight.keys)}, plane(sight.points), sight.found.membership
    rows = []
    for index, update in enumerate(updates):
        at, now, before = place[update.key], sight.ids[update.key], last.get(update.key)
        rows.append(
            {
                "client": update.client,
                "slot": update.slot,
                "cluster": now,
                "moved_from": None if before == now else before,
                "membership": None if firmness is None else float(firmness[at]),
                "restarted": update.afresh,
                "is_noise": bool(sight.found.labels[at] < 0),
                **merged[update.key],
                "norm": float(np.linalg.norm(update.adapter)),
                "x": float(xy[at, 0]),
                "y": float(xy[at, 1]),
                "sketch": None if sketches is None else sketches[index].tolist(),
            }
        )
    return rows


def cluster_rows(sight: Sight, errors: Mapping[int, float], last: Mapping[Key, int]) -> list[dict[str, Any]]:
    """A row a cluster, those that ended too (size 0); distances are Euclidean between the similarity's points."""
    from scipy.spatial.distance import cdist  # here, so that the start of a run need not wait for it

    cluster_of = np.array([sight.ids[key] for key in sight.keys])
    living = [int(cluster) for cluster in np.unique(cluster_of)]
    centroids = np.array([sight.points[cluster_of == cluster].mean(axis=0) for cluster in living])
    apart = cdist(centroids, centroids)
    np.fill_diagonal(apart, np.inf)
    place = {cluster: at for at, cluster in enumerate(living)}
    was, now = _members(last), _members(sight.ids)
    firm = _silhouettes(sight.points, cluster_of)
    rows = []
    for cluster, event in sorted(sight.events.items()):
        row: dict[str, Any] = {"cluster": cluster, "size": 0, "event": event}
        row |= {"arrived": len(now[cluster] - was[cluster]), "left": len(was[cluster] - now[cluster])}
        if cluster in place:
            at, mask = place[cluster], cluster_of == cluster
            rival = int(apart[at].argmin()) if len(living) > 1 else None
            found = most(sight.found.labels[mask])  # settling may have added to it, or taken it apart
            row |= {
                "size": int(mask.sum()),
                "persistence": None if found is None else sight.found.persistence.get(found),
                "aggregation_error": errors.get(cluster),
                "spread": float(np.linalg.norm(sight.points[mask] - centroids[at], axis=1).mean()),
                "silhouette": None if firm is None else float(firm[mask].mean()),
                "rival": None if rival is None else living[rival],
                "rival_distance": None if rival is None else float(apart[at, rival]),
            }
        rows.append(row)
    return rows


def _members(ids: Mapping[Key, int]) -> dict[int, set[Key]]:
    members = defaultdict[int, set[Key]](set)
    for key, cluster in ids.items():
        members[cluster].add(key)
    return members


def _silhouettes(points: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """(n,) (b - a) / max(a, b) of mean distances to its own (a) and to the nearest other cluster (b).

    None where it means nothing: one cluster, or none but clusters of one. Source: Rousseeuw 1987.
    """
    if not 1 < len(np.unique(labels)) < len(labels) <= SILHOUETTE_POINTS:
        return None
    from sklearn.metrics import silhouette_samples

    return np.asarray(silhouette_samples(points, labels))
