"""Updates as points whose Euclidean distance is their dissimilarity, so that any clusterer goes with any similarity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fltac.config import Flat, Product
from fltac.wire.messages import AdapterSpec


def flat(adapters: np.ndarray, spec: AdapterSpec, config: Flat) -> np.ndarray:
    """The flattened A and B themselves: (n, p) -> (n, p). Depends on the gauge (B R, R^-1 A), so on a shared start.

    Source: arXiv 2404.15384, section 3.
    """
    return adapters


def product(adapters: np.ndarray, spec: AdapterSpec, config: Product) -> np.ndarray:
    """Points with |x_i - x_j|^2 = 2 - 2 k_ij, where k = mean_l cos(B_i A_i, B_j A_j) over layers l: (n, p) -> (n, n).

    With `centre`, k is the cosine that remains when the mean point is taken off: J k J with J = I - 1/n, scaled to a
    diagonal of one. Gauge-free, since B A is. An adapter that changes nothing in a layer is there orthogonal to all.
    """
    kernel = np.zeros((len(adapters), len(adapters)))
    for gram in layer_grams(adapters, spec):
        kernel += _cosines(gram) / len(spec.layers)
    np.fill_diagonal(kernel, 1.0)
    if config.centre:
        off = kernel - kernel.mean(axis=0)
        kernel = _cosines(off - off.mean(axis=1, keepdims=True), least=1e-9)  # below is rounding
    return embed(kernel)


def _cosines(gram: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Inner products (n, n) scaled to a diagonal of one; to zeros for a point whose square is at most `least`."""
    square = np.diag(gram)
    norm = np.sqrt(np.where(square > least, square, np.inf))
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


SIMILARITIES: dict[str, Callable[[np.ndarray, AdapterSpec, Any], np.ndarray]] = {"flat": flat, "product": product}
