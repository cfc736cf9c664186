"""Points to labels: one function a clusterer, -1 for noise. None but `oracle` looks at the true tasks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fltac.config import Hdbscan, Kmeans
from fltac.server.similarity import around_mean


@dataclass(frozen=True)
class Found:
    """A label for each point, 0..k-1 or -1 for noise, and each cluster's persistence where the clusterer knows it."""

    labels: np.ndarray  # (n,)
    persistence: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Hints:
    """What a clusterer may use beside the points: a generator, and, for the openly informed bars, the true tasks."""

    draw: np.random.Generator
    truths: Sequence[str] = ()  # of each point; empty unless the method is told
    number_of_tasks: int = 0


def hdbscan(points: np.ndarray, config: Hdbscan, hints: Hints) -> Found:
    """Density clusters of any number (Campello, Moulavi and Sander 2013, excess of mass), the rest noise.

    Fewer than 2 min_cluster_size points cannot show two clusters and are all noise: their slots keep what they had.
    """
    if len(points) < 2 * config.min_cluster_size:
        return Found(np.full(len(points), -1))
    from hdbscan import HDBSCAN  # a second of import, and only this clusterer's

    model = HDBSCAN(config.min_cluster_size, config.min_samples, core_dist_n_jobs=1, approx_min_span_tree=False)
    model.fit((around_mean(points) if config.centre else points).astype(np.float64))
    return Found(model.labels_, dict(enumerate(map(float, model.cluster_persistence_))))


def kmeans(points: np.ndarray, config: Kmeans, hints: Hints) -> Found:
    """Lloyd's k-means with k given, the best of `restarts` starts; never more clusters than distinct points."""
    from sklearn.cluster import KMeans

    wanted = hints.number_of_tasks if config.k == "tasks" else config.k
    k = min(wanted, len(np.unique(points, axis=0)))
    state = int(hints.draw.integers(2**31))
    return Found(KMeans(k, n_init=config.restarts, random_state=state).fit_predict(points))


def single(points: np.ndarray, config: object, hints: Hints) -> Found:
    """One cluster of all: plain federated averaging."""
    return Found(np.zeros(len(points), dtype=np.int64))


def each(points: np.ndarray, config: object, hints: Hints) -> Found:
    """Every point its own cluster: nothing is shared."""
    return Found(np.arange(len(points)))


def oracle(points: np.ndarray, config: object, hints: Hints) -> Found:
    """The true tasks, told: the upper bar."""
    return Found(np.unique(np.array(hints.truths), return_inverse=True)[1])


def warm_up(kind: str) -> None:
    """Imports what the clusterer `kind` and the tracking compute with; seconds that nobody else need wait for."""
    for library in ("scipy.optimize", *LIBRARIES.get(kind, ())):
        importlib.import_module(library)


LIBRARIES = {"hdbscan": ("hdbscan",), "kmeans": ("sklearn.cluster",)}
CLUSTERERS: dict[str, Callable[[np.ndarray, Any, Hints], Found]] = {
    "hdbscan": hdbscan,
    "kmeans": kmeans,
    "single": single,
    "each": each,
    "oracle": oracle,
}
