"""Updates as points whose Euclidean distance is their dissimilarity, so that any clusterer goes with any similarity.

A point is the change from `since` to `now`: from v0 (the adapter), or from what was sent (the step). The cosine of two
points says how far they changed alike; no change at all is like nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fltac.config import B, Blend, Flat, Product, Sketch, Subspace
from fltac.seeds import generator
from fltac.wire.messages import AdapterSpec

RESOLUTION = 1e-6  # of all there is: what is smaller is rounding
Factors = Sequence[tuple[np.ndarray, np.ndarray]]  # a layer: A (n, R, d_in), B (n, d_out, R)


def flat(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Flat) -> np.ndarray:
    """The flattened A and B, as they moved: (n, p) -> (n, p). Depends on the gauge (B R, R^-1 A) and on a shared v0.

    Source: arXiv 2404.15384, section 3.
    """
    return np.asarray(now - since)


def b(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: B) -> np.ndarray:
    """Inner products are mean_l cos(B_i, B_j) over layers l: (n, p) -> (n, sum of d_out r). Depends on gauge and v0.

    Source of leaving A out: arXiv 2509.15087, section 3.
    """
    layers = [matrix.reshape(len(now), -1) for _, matrix in spec.factors(now - since)]
    return np.asarray(np.hstack([unit(rows) for rows in layers]) / np.sqrt(len(layers)))


def product(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Product) -> np.ndarray:
    """Points with |x_i - x_j|^2 = 2 - 2 k_ij, k = mean_l cos(D_i, D_j) of D = B A over layers l: (n, p) -> (n, n).

    Gauge-free, since B A is. An adapter that changes nothing in a layer is there orthogonal to all.
    """
    return embed(_product_kernel(changes(now, since, spec)))


def _product_kernel(factors: Factors) -> np.ndarray:
    return _mean_kernel([cosines(gram) for gram in layer_grams(factors)])


def subspace(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Subspace) -> np.ndarray:
    """As `product`, with D = U U^T - r/d_out I, where U (d_out, r) are the leading left singular vectors of B A.

    So k grows with |U_i^T U_j|_F^2, the squared cosines of the principal angles of col(B A); signs and sizes of the
    change say nothing, and zero is what two random subspaces share: (n, p) -> (n, n).
    """
    return embed(_subspace_kernel(changes(now, since, spec), spec.rank))


def blend(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Blend) -> np.ndarray:
    """As `product`, with k the mean of the kernels of `product` and `subspace`: (n, p) -> (n, n).

    The one tells tasks apart that change the same outputs the other way, the other those whose small shards do not
    agree on a sign (docs/clustering.md).
    """
    factors = changes(now, since, spec)
    return embed((_product_kernel(factors) + _subspace_kernel(factors, spec.rank)) / 2)


def kinship(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Any) -> np.ndarray:
    """Points (n, d) that tell whether two clusters are parts of one task (`fltac.server.settling`): as `subspace`.

    Parts of a task that the clusterer tore apart move the same outputs, if not the same way; no other similarity tells
    them from two tasks as surely (experiments/LOG.md). A sketch, for more adapters than a kernel can hold, is its own.
    """
    if isinstance(config, Sketch):
        return sketch(now, since, spec, config)
    return subspace(now, since, spec, Subspace(type="subspace", of=config.of))


def _subspace_kernel(factors: Factors, rank: int) -> np.ndarray:
    kernels = []
    for a, b in factors:
        q, r = np.linalg.qr(b)  # (n, d_out, R), (n, R, R)
        inner, sizes, _ = np.linalg.svd(
            r @ np.linalg.qr(a.transpose(0, 2, 1))[1].transpose(0, 2, 1), full_matrices=False
        )
        there = sizes > RESOLUTION * sizes.max(axis=1, keepdims=True, initial=0)  # a change of lower rank spans less
        u = ((q @ inner) * there[:, None, :])[:, :, :rank]
        rows = u.transpose(0, 2, 1).reshape(-1, u.shape[1])  # (n r, d_out)
        squares = (rows @ rows.T).reshape(len(a), u.shape[2], len(a), u.shape[2]) ** 2
        ranks = there[:, :rank].sum(axis=1)
        kernels.append(cosines(squares.sum(axis=(1, 3)) - np.outer(ranks, ranks) / u.shape[1]))
    return _mean_kernel(kernels)


def sketch(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, config: Sketch) -> np.ndarray:
    """Random projections of `flat`, or of `product`, squared distances right in the mean: (n, p) -> (n, size or L m).

    flat: x G / sqrt(size) with G normal; a squared distance has a relative standard error of sqrt(2 / size).
    product: each of L layers is m numbers (u^T B)(A v) / (|B A| sqrt(m L)) with u, v normal, m = ceil(size / L); the
    error is sqrt(8 / m) at most, where two differ in one layer alone, since E[(u^T M v)^4] <= 9 |M|^4, and
    sqrt(8 / size) where all layers differ alike. Source: Johnson and Lindenstrauss 1984.
    """
    draw = generator(config.seed, "sketch")
    if config.basis == "flat":
        change = now - since
        points = np.zeros((len(now), config.size))
        for start in range(0, change.shape[1], 4096):  # in blocks, so that G is never there as a whole
            block = change[:, start : start + 4096]
            points += block @ draw.normal(size=(block.shape[1], config.size))
        return np.asarray(points / np.sqrt(config.size))
    number = -(-config.size // len(spec.layers))
    columns = []
    for a, b in changes(now, since, spec):
        u, v = draw.normal(size=(number, b.shape[1])), draw.normal(size=(number, a.shape[2]))
        seen = np.einsum("nkr,nrk->nk", u @ b, a @ v.T)  # (n, number)
        square = np.einsum("nij,nji->n", b.transpose(0, 2, 1) @ b, a @ a.transpose(0, 2, 1))
        norm = np.sqrt(np.maximum(square, 0))
        columns.append(seen / np.where(norm > 0, norm, np.inf)[:, None])
    return np.asarray(np.hstack(columns) / np.sqrt(number * len(spec.layers)))


def changes(now: np.ndarray, since: np.ndarray, spec: AdapterSpec) -> Factors:
    """Factors of B A now - B A since, float64: as now where all of `since` is B = 0, else [A, A'] and [B, -B']."""
    here, there = spec.factors(now.astype(np.float64)), spec.factors(since.astype(np.float64))
    if not any(b.any() for _, b in there):
        return here
    factors = []
    for (a, b), (old_a, old_b) in zip(here, there, strict=True):
        moved = (a != old_a).any(axis=(1, 2)) | (b != old_b).any(axis=(1, 2))  # else rounding would be a direction
        both = np.concatenate([b, -old_b], axis=2) * moved[:, None, None]
        factors.append((np.concatenate([a, old_a], axis=1), both))
    return factors


def layer_grams(factors: Factors) -> list[np.ndarray]:
    """For each layer the (n, n) inner products <B_i A_i, B_j A_j> = sum((B_i^T B_j) * (A_i A_j^T)).

    Costs R x R products a pair and never forms a d x d matrix.
    """
    grams = []
    for a, b in factors:
        n, r = a.shape[:2]
        rows_a = a.reshape(n * r, -1)
        rows_b = b.transpose(0, 2, 1).reshape(n * r, -1)
        pairs = (rows_a @ rows_a.T) * (rows_b @ rows_b.T)
        grams.append(pairs.reshape(n, r, n, r).sum(axis=(1, 3)))
    return grams


def around_mean(points: np.ndarray) -> np.ndarray:
    """The points as seen from their mean, at equal lengths: (n, d) -> (n, d), or zeros where nothing is left.

    What all adapters have in common, such as the first steps from v0, says nothing of their tasks.
    """
    return unit(points - points.mean(axis=0), RESOLUTION * float(np.linalg.norm(points)))


def unit(rows: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Rows at length one; zeros where the length is at most `least`."""
    norm = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(norm > least, norm, np.inf))


def cosines(gram: np.ndarray) -> np.ndarray:
    """Inner products (n, n) scaled to a diagonal of one; to zeros for a point that is zero."""
    square = np.diag(gram)
    norm = np.sqrt(np.where(square > 0, square, np.inf))
    return np.asarray(gram / norm[:, None] / norm[None, :])


def embed(kernel: np.ndarray) -> np.ndarray:
    """Points (n, n) whose inner products are the kernel (n, n), largest axis first: U sqrt(max(lambda, 0))."""
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None)))[:, ::-1])


def _mean_kernel(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over layers, with a diagonal of one."""
    kernel = np.mean(kernels, axis=0)
    np.fill_diagonal(kernel, 1.0)
    return np.asarray(kernel)


def plane(points: np.ndarray) -> np.ndarray:
    """The two principal components of the points, (n, d) -> (n, 2), for pictures; signs are fixed, not meaningful."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    if points.shape[1] > len(points):  # the same coordinates from the n x n Gram matrix: d may be a whole model
        squares, u = np.linalg.eigh(centred @ centred.T)
        u, sizes = u[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0))
    else:
        u, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    xy = (u * sizes)[:, :2]
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    lead = xy[np.abs(xy).argmax(axis=0), [0, 1]]
    return np.asarray(xy * np.where(lead < 0, -1.0, 1.0))


SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray, AdapterSpec, Any], np.ndarray]] = {
    "flat": flat,
    "b": b,
    "product": product,
    "subspace": subspace,
    "blend": blend,
    "sketch": sketch,
}
