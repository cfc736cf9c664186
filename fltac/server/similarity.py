"""Updates as points or kernels, of which `comparing` makes points whose Euclidean distance is their dissimilarity.

A point is the change from `since` to `now`: from v0 (the adapter), or from what was sent (the step). The cosine of two
points says how far they changed alike; no change at all is like nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from fltac.wire.messages import AdapterSpec

RESOLUTION = 1e-6  # of all there is: what is smaller is rounding
BLOCK = 2**23  # numbers that are computed at once
Factors = Sequence[tuple[np.ndarray, np.ndarray]]  # a layer: A (n, R, d_in), B (n, d_out, R)


def flat(now: np.ndarray, since: np.ndarray, spec: AdapterSpec) -> np.ndarray:
    """The flattened A and B, as they moved: (n, p) -> (n, p). Depends on the gauge (B R, R^-1 A) and on a shared v0.

    Source: arXiv 2404.15384, section 3.
    """
    return np.asarray(now - since)


def b(now: np.ndarray, since: np.ndarray, spec: AdapterSpec) -> np.ndarray:
    """Inner products are mean_l cos(B_i, B_j) over layers l: (n, p) -> (n, sum of d_out r). Depends on gauge and v0.

    Source of leaving A out: arXiv 2509.15087, section 3.
    """
    layers = [matrix.reshape(len(now), -1) for _, matrix in spec.factors(now - since)]
    return np.asarray(np.hstack([unit(rows) for rows in layers]) / np.sqrt(len(layers)))


def product_kernel(factors: Factors, rank: int) -> np.ndarray:
    """k_ij = mean_l cos(D_i, D_j) of D = B A over layers l, (n, n).

    Gauge-free, since B A is. An adapter that changes nothing in a layer is there orthogonal to all.
    """
    return _mean(cosines(gram) for gram in layer_grams(factors))


def subspace_kernel(factors: Factors, rank: int) -> np.ndarray:
    """As `product_kernel`, with D = U U^T - r/d_out I, where U (d_out, r) are the leading left singular vectors of B A.

    So k grows with |U_i^T U_j|_F^2, the squared cosines of the principal angles of col(B A); signs and sizes of the
    change say nothing, and zero is what two random subspaces share.
    """
    return _mean(cosines(_shared(a, b, rank)) for a, b in factors)


def _shared(a: np.ndarray, b: np.ndarray, rank: int) -> np.ndarray:
    """Of one layer the inner products (n, n) of D = U U^T - r/d_out I."""
    q, r = np.linalg.qr(b)  # (n, d_out, R), (n, R, R)
    inner, sizes, _ = np.linalg.svd(r @ np.linalg.qr(a.transpose(0, 2, 1))[1].transpose(0, 2, 1), full_matrices=False)
    there = sizes > RESOLUTION * sizes.max(axis=1, keepdims=True, initial=0)  # a change of lower rank spans less
    u = ((q @ inner) * there[:, None, :])[:, :, :rank]
    ranks = there[:, :rank].sum(axis=1)
    return np.asarray(_pairwise(u.transpose(0, 2, 1)) - np.outer(ranks, ranks) / u.shape[1])


def side_by_side(rows: Sequence[np.ndarray]) -> np.ndarray:
    """n of (p,) -> (n, p): a view where all are one and the same, as v0 is of those who set out from it."""
    if all(row is rows[0] for row in rows):
        return np.broadcast_to(rows[0], (len(rows), len(rows[0])))
    return np.stack(rows)


def changes(now: np.ndarray, since: np.ndarray, spec: AdapterSpec, dtype: type = np.float64) -> Factors:
    """Factors of B A now - B A since: as now where all of `since` is B = 0, else [A, A'] and [B, -B']."""
    here, there = spec.factors(now.astype(dtype, copy=False)), spec.factors(since)
    if not any(b.any() for _, b in there):
        return here
    there = spec.factors(since.astype(dtype, copy=False))
    factors = []
    for (a, b), (old_a, old_b) in zip(here, there, strict=True):
        moved = (a != old_a).any(axis=(1, 2)) | (b != old_b).any(axis=(1, 2))  # else rounding would be a direction
        both = np.concatenate([b, -old_b], axis=2) * moved[:, None, None]
        factors.append((np.concatenate([a, old_a], axis=1), both))
    return factors


def layer_grams(factors: Factors) -> Iterator[np.ndarray]:
    """For each layer the (n, n) inner products <B_i A_i, B_j A_j> = sum((B_i^T B_j) * (A_i A_j^T)).

    Costs R x R products a pair and never forms a d x d matrix.
    """
    for a, b in factors:
        yield _pairwise(a, b.transpose(0, 2, 1))


def _pairwise(*parts: np.ndarray) -> np.ndarray:
    """(n, n) sums over R x R blocks of the product of the parts' Gram matrices, or the square of the one part's.

    Parts are (n, R, d); never more than BLOCK numbers are there at once beside the sums.
    """
    n, r, _ = parts[0].shape
    each, step = [part.reshape(n * r, -1) for part in parts], max(1, BLOCK // (n * r * r))
    sums = np.empty((n, n))
    for at in range(0, n, step):
        grams = [rows[at * r : (at + step) * r] @ rows.T for rows in each]
        sums[at : at + step] = (grams[0] * grams[-1]).reshape(-1, r, n, r).sum(axis=(1, 3))
    return sums


def times(rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(n, R, d), (d, m) -> (n, R, m) as one product."""
    n, r, d = rows.shape
    return np.asarray((rows.reshape(n * r, d) @ drawn).reshape(n, r, -1))


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


def coordinates(points: np.ndarray) -> np.ndarray:
    """Points (n, d) of the same inner products in no more than n dimensions, where d is more."""
    n, d = points.shape
    if d <= n:
        return points
    gram, step = np.zeros((n, n)), max(1, BLOCK // n)
    for at in range(0, d, step):  # never all of it in float64
        some = points[:, at : at + step].astype(np.float64)
        gram += some @ some.T
    return embed(gram)


def _mean(kernels: Iterable[np.ndarray]) -> np.ndarray:
    """The mean over layers, with a diagonal of one; one layer's kernel is there at once."""
    total, count = np.zeros(()), 0
    for kernel in kernels:
        total, count = total + kernel, count + 1
    mean = total / count
    np.fill_diagonal(mean, 1.0)
    return np.asarray(mean)


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


POINTS: dict[str, Callable[[np.ndarray, np.ndarray, AdapterSpec], np.ndarray]] = {"flat": flat, "b": b}
# the others are a mean of kernels. Blend: the one tells tasks apart that change the same outputs the other way, the
# other those whose small shards do not agree on a sign (docs/clustering.md)
KERNELS: dict[str, tuple[Callable[[Factors, int], np.ndarray], ...]] = {
    "product": (product_kernel,),
    "subspace": (subspace_kernel,),
    "blend": (product_kernel, subspace_kernel),
}
