"""Points to labels: one function a clusterer, -1 for noise. None but `oracle` looks at the true tasks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fltac.config import Agglomerative, Hdbscan, Ifca, Kmeans, Spectral
from fltac.server.similarity import around_mean, unit
from fltac.server.spanning import spanning_tree


@dataclass(frozen=True)
class Found:
    """A label for each point, 0..k-1 or -1 for noise, and what else the clusterer knows."""

    labels: np.ndarray  # (n,)
    persistence: dict[int, float] = field(default_factory=dict)  # of each cluster
    membership: np.ndarray | None = None  # (n,) how firmly each point belongs to its cluster, 0 to 1
    final: bool = False  # labels are the clusters' own numbers: nothing is settled or matched to last round's


@dataclass(frozen=True)
class Hints:
    """What a clusterer may use beside the points: a generator, last round's clusters, the clients' own choices of this
    round, and, for the openly informed bars, the true tasks."""

    draw: np.random.Generator
    truths: Sequence[str] = ()  # of each point; empty unless the method is told
    number_of_tasks: int = 0
    last: Sequence[int | None] = ()  # of each point; None: it is new
    choices: Sequence[int] = ()  # of each point; -1: it made none


def hdbscan(points: np.ndarray, config: Hdbscan, hints: Hints) -> Found:
    """Density clusters of any number (Campello, Moulavi and Sander 2013, excess of mass), the rest noise.

    Fewer than 2 min_cluster_size points cannot show two clusters and are all noise: their slots keep what they had.
    With min_samples = 1 a point's core distance is that to its nearest neighbour, and no distance to another is under
    it: mutual reachability is plain distance, so that the library can be handed our own tree.
    """
    if len(points) < 2 * config.min_cluster_size:
        return Found(np.full(len(points), -1))
    from hdbscan import HDBSCAN  # a second of import, and only this clusterer's

    seen = (around_mean(points) if config.centre else points).astype(np.float64)
    tree = spanning_tree(seen) if config.min_samples == 1 else None
    model = HDBSCAN(
        config.min_cluster_size,
        config.min_samples,
        cluster_selection_epsilon=config.epsilon,
        allow_single_cluster=config.allow_single_cluster,
        metric="euclidean" if tree is None else "precomputed",
        core_dist_n_jobs=1,
        approx_min_span_tree=False,
    )
    model.fit(seen if tree is None else tree)
    return Found(model.labels_, dict(enumerate(map(float, model.cluster_persistence_))), model.probabilities_)


def kmeans(points: np.ndarray, config: Kmeans, hints: Hints) -> Found:
    """Lloyd's k-means with k given, the best of `restarts` starts; never more clusters than distinct points."""
    from sklearn.cluster import KMeans

    wanted = hints.number_of_tasks if config.k == "tasks" else config.k
    k = min(wanted, len(np.unique(points, axis=0)))
    state = int(hints.draw.integers(2**31))
    return Found(KMeans(k, n_init=config.restarts, random_state=state).fit_predict(points))


def agglomerative(points: np.ndarray, config: Agglomerative, hints: Hints) -> Found:
    """Average linkage on Euclidean distance or 1 - cosine, k given or of the highest mean silhouette (Rousseeuw 1987).

    One cluster where no cut has a silhouette of `min_silhouette`. With `once`, points that had a cluster last round
    keep it, and the others join the one with the least mean distance. Source of the use: arXiv 2509.15087, section 3.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform
    from sklearn.metrics import silhouette_score

    n = len(points)
    seen = around_mean(points) if config.centre else points
    distances = pdist(unit(seen), "sqeuclidean") / 2 if config.metric == "cosine" else pdist(seen)
    if config.once and any(one is not None for one in hints.last):
        return Found(_joined(squareform(distances), hints.last), final=True)
    if n == 1 or (n == 2 and config.k == "silhouette"):
        return Found(np.zeros(n, dtype=np.int64))
    tree = linkage(distances, "average")
    if config.k != "silhouette":
        return Found(fcluster(tree, min(config.k, n), "maxclust") - 1)
    cuts = [fcluster(tree, k, "maxclust") - 1 for k in range(2, n)]
    square = squareform(distances)
    scored = [(silhouette_score(square, cut, metric="precomputed"), cut) for cut in cuts if cut.any()]
    best, cut = max(scored, key=lambda one: one[0], default=(-1.0, np.zeros(n, dtype=np.int64)))
    return Found(cut if best >= config.min_silhouette else np.zeros(n, dtype=np.int64))


def _joined(distances: np.ndarray, last: Sequence[int | None]) -> np.ndarray:
    """Last round's clusters (n,), new points in the one whose members are nearest in the mean; distances (n, n)."""
    known = np.array([one is not None for one in last])
    labels = np.array([-1 if one is None else one for one in last])
    clusters = np.unique(labels[known])
    apart = np.array([distances[:, labels == one].mean(axis=1) for one in clusters])  # (k, n)
    return np.where(known, labels, clusters[apart.argmin(axis=0)])


def spectral(points: np.ndarray, config: Spectral, hints: Hints) -> Found:
    """Normalised cuts (Ng, Jordan and Weiss 2001) of the cosines above zero, k given or before the largest eigengap."""
    from sklearn.cluster import KMeans

    directions = unit(points)
    affinity = np.clip(directions @ directions.T, 0, None) * ~np.eye(len(points), dtype=bool)
    degree = affinity.sum(axis=1)
    labels = np.full(len(points), -1)  # who is like nobody is noise
    some = np.flatnonzero(degree > 0)
    if len(some):
        scale = np.sqrt(degree[some])
        values, vectors = np.linalg.eigh(affinity[np.ix_(some, some)] / np.outer(scale, scale))
        k = config.k
        if k == "eigengap":
            falling = values[::-1][: config.max_clusters + 1]
            k = int((falling[:-1] - falling[1:]).argmax()) + 1
        k = min(k, len(some))
        state = int(hints.draw.integers(2**31))
        seen = unit(vectors[:, ::-1][:, :k])
        labels[some] = KMeans(k, n_init=config.restarts, random_state=state).fit_predict(seen)
    return Found(labels)


def ifca(points: np.ndarray, config: Ifca, hints: Hints) -> Found:
    """What each client chose for its slot; an absent slot stays with its last choice. Source: arXiv 2006.04088."""
    chosen = [last if choice < 0 else choice for choice, last in zip(hints.choices, hints.last, strict=True)]
    return Found(np.array(chosen, dtype=np.int64), final=True)


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
    """Imports what a step with the clusterer `kind` computes with; seconds that nobody else need wait for."""
    for library in ("scipy.optimize", "sklearn.metrics", *LIBRARIES.get(kind, ())):
        importlib.import_module(library)


LIBRARIES = {
    "hdbscan": ("hdbscan",),
    "kmeans": ("sklearn.cluster",),
    "agglomerative": ("scipy.cluster.hierarchy",),
    "spectral": ("sklearn.cluster",),
}
CLUSTERERS: dict[str, Callable[[np.ndarray, Any, Hints], Found]] = {
    "hdbscan": hdbscan,
    "kmeans": kmeans,
    "agglomerative": agglomerative,
    "spectral": spectral,
    "ifca": ifca,
    "single": single,
    "each": each,
    "oracle": oracle,
}
