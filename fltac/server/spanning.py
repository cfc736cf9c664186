"""The minimum spanning tree of points, which is where HDBSCAN's time goes: in 64 dimensions a tree of boxes is no help,
and of 10,000 points one product of a matrix and a vector each takes a seventh of its time (benchmarks/README.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # scipy is imported while the clients train
    from scipy.sparse import csr_matrix


def spanning_tree(points: np.ndarray) -> csr_matrix | None:
    """The n - 1 edges of least total Euclidean length that join points (n, d), as a symmetric graph (n, n).

    None where two points are equal, since a sparse graph has no edge of length zero, or one is not finite.
    Prim's algorithm, O(n^2 d) time and O(n d) memory. Source: Prim 1957, Bell System Technical Journal 36(6).
    """
    from scipy.sparse import csr_matrix

    n, points = len(points), points.astype(np.float64)
    outside, names = points - points.mean(axis=0), np.arange(n)  # those not in the tree are the first of these
    square = np.square(outside).sum(axis=1)
    nearest, at = np.full(n, np.inf), 0  # squared distance to the tree, and who of it that is
    partner = np.zeros(n, dtype=np.int64)
    edges = np.empty((2, n - 1), dtype=np.int64)
    for left in range(n - 1, 0, -1):
        here, own, name = outside[at].copy(), square[at], names[at]
        for each in (outside, square, names, nearest, partner):  # it joins, and the last takes its place
            each[at] = each[left]
        far = square[:left] - 2 * (outside[:left] @ here) + own
        closer = far < nearest[:left]
        nearest[:left][closer], partner[:left][closer] = far[closer], name
        at = int(nearest[:left].argmin())
        edges[:, left - 1] = partner[at], names[at]
    one, other = edges[:, ::-1]  # as they were found
    lengths = np.linalg.norm(points[one] - points[other], axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        return None
    both = np.concatenate([one, other]), np.concatenate([other, one])
    return csr_matrix((np.tile(lengths, 2), both), shape=(n, n))
