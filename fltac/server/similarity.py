"""Updates as points whose Euclidean distance is their dissimilarity, so that any clusterer goes with any similarity.

The origin is v0, an adapter that learned nothing: so the cosine of two points says how far they learned the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fltac.config import Flat, Product
from fltac.wire.messages import AdapterSpec

RESOLUTION = 1e-6  # of the largest coordinate: what is nearer to the mean than this is rounding


def flat(adapters: np.ndarray, start: np.ndarray, spec: AdapterSpec, config: Flat) -> np.ndarray:
    """The flattened A and B as they moved from v0: (n, p) -> (n, p). Depends on the gauge (B R, R^-1 A) and the start.

    Their distances are those of the flattened A and B. Source: arXiv 2404.15384, section 3.
    """
    return np.asarray(adapters - start)


def product(adapters: np.ndarray, start: np.ndarray, spec: AdapterSpec, config: Product) -> np.ndarray:
    """Points with |x_i - x_j|^2 = 2 - 2 k_ij, where k = mean_l cos(B_i A_i, B_j A_j) over layers l: (n, p) -> (n, n).

    Gauge-free, since B A is. An adapter that changes nothing in a layer is there orthogonal to all.
    """
    kernel = np.zeros((len(adapters), len(adapters)))
    for gram in layer_grams(adapters, spec):
        kernel += cosines(gram) / len(spec.layers)
    np.fill_diagonal(kernel, 1.0)
    return embed(kernel)


def around_mean(points: np.ndarray) -> np.ndarray:
    """The points as seen from their mean, at equal lengths: (n, d) -> (n, d), or zeros where nothing is left.

    What all adapters have in common, such as the first steps from v0, says nothing of their tasks.
    """
    off = points - points.mean(axis=0)
    norm = np.linalg.norm(off, axis=1, keepdims=True)
    return np.asarray(off / np.where(norm > RESOLUTION * np.abs(points).max(initial=1.0), norm, np.inf))


def cosines(gram: np.ndarray) -> np.ndarray:
    """Inner products (n, n) scaled to a diagonal of one; to zeros for a point that is zero."""
    square = np.diag(gram)
    norm = np.sqrt(np.where(square > 0, square, np.inf))
    return np.asarray(gram / norm[:, None] / norm[None, :])


def layer_grams(adapters: np.ndarray, spec: AdapterSpec) -> list[np.ndarray]:
    """For each layer the (n, n) inner products <B_i A_i, B_j A_j> = sum((B_i^T B_j) * (A_i A_j^T)).

    Costs r x r products a pair and never forms a d x d matrix.
    """
    grams = []
    n, r = len(adapters), spec.rank
    for a, b in spec.factors(adapters.astype(np.float64)):
        rows_a = a.reshape(n * r, -1)
        rows_b = b.transpose(0, 2, 1).reshape(n * r, -1)
        pairs = (rows_a @ rows_a.T) * (rows_b @ rows_b.T)
        grams.append(pairs.reshape(n, r, n, r).sum(axis=(1, 3)))
    return grams


def embed(kernel: np.ndarray) -> np.ndarray:
    """Points (n, n) whose inner products are the kernel (n, n), largest axis first: U sqrt(max(lambda, 0))."""
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None)))[:, ::-1])


def plane(points: np.ndarray) -> np.ndarray:
    """The two principal components of the points, (n, d) -> (n, 2), for pictures; signs are fixed, not meaningful."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    xy = embed(centred @ centred.T)[:, :2]
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    lead = xy[np.abs(xy).argmax(axis=0), [0, 1]]
    return np.asarray(xy * np.where(lead < 0, -1.0, 1.0))


SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray, AdapterSpec, Any], np.ndarray]] = {
    "flat": flat,
    "product": product,
}
