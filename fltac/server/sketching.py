"""Sketches: random projections of adapters, for more of them than all pairs can be compared of.

Every similarity has its own, right in the mean, so that n adapters cost n and not n^2. Of many adapters the leading
principal components are kept: what adapters of a task share is among them, and most of chance is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fltac.config import Sketch
from fltac.seeds import generator
from fltac.server.similarity import RESOLUTION, b, changes, coordinates, side_by_side, times
from fltac.wire.messages import AdapterSpec

BLOCK = 2**23  # numbers of adapters that are looked at at once
FOUND_FROM = 2048  # adapters, drawn with the sketch's seed, that the principal components are found from
PARTS = {"blend": ("product", "subspace")}  # the others are their own


def sketches(
    now: Sequence[np.ndarray], since: Sequence[np.ndarray], spec: AdapterSpec, config: Sketch, bases: Sequence[str]
) -> list[np.ndarray]:
    """For each basis points (n, `components`); of no more adapters than that, all that their sketches show: (n, n).

    flat, b: signs are drawn for the numbers, which are then summed in `size` groups by lot; a squared distance has a
    relative standard error of sqrt(2 / size) at most. Source: Charikar, Chen and Farach-Colton 2002.
    product: each of L layers is m = ceil(size / L) numbers (u^T B)(A v) / (|B A| sqrt(m L)) with u, v normal; the
    error is sqrt(8 / m) at most, where two differ in one layer alone, since E[(u^T M v)^4] <= 9 |M|^4, and
    sqrt(8 / size) where all layers differ alike. subspace: the same of D = U U^T - r/d_out I, see `similarity`. Source:
    Johnson and Lindenstrauss 1984.
    Components are found by a randomised SVD of FOUND_FROM sketches at most. Source: Halko, Martinsson and Tropp 2011.
    """
    draw = generator(config.seed, "sketch")
    project = _Projection(spec, config, bases, draw)
    n, step = len(now), max(1, BLOCK // max(spec.size, 1))

    def seen(chosen: np.ndarray) -> list[np.ndarray]:
        blocks = [chosen[at : at + step] for at in range(0, len(chosen), step)]
        parts = [project(*(side_by_side([rows[i] for i in some]) for rows in (now, since))) for some in blocks]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    if n <= config.components:
        return [coordinates(points) for points in seen(np.arange(n))]
    order = draw.permutation(n)
    first, rest = np.sort(order[:FOUND_FROM]), np.sort(order[FOUND_FROM:])
    known = seen(first)
    axes = [_axes(points, config.components, draw) for points in known]
    found = [np.empty((n, one.shape[1])) for one in axes]
    for some in (first, *(rest[at : at + step] for at in range(0, len(rest), step))):
        for points, whole, one in zip(known if some is first else seen(some), found, axes, strict=True):
            points_of_block = points @ one
            whole[some] = points_of_block
    return found


def _axes(points: np.ndarray, components: int, draw: np.random.Generator) -> np.ndarray:
    """The leading right singular vectors of points (n, d), around the origin: v0. (d, components)"""
    from sklearn.utils.extmath import randomized_svd  # here, so that the start of a run need not wait for it

    state = int(draw.integers(2**31))
    count = min(components, *points.shape)
    return np.asarray(randomized_svd(points, count, n_oversamples=16, n_iter=2, random_state=state)[2].T)


class _Projection:
    """Blocks of adapters as sketches, (k, p) -> (k, size) for each basis: drawn once."""

    def __init__(self, spec: AdapterSpec, config: Sketch, bases: Sequence[str], draw: np.random.Generator) -> None:
        self.spec, self.bases, self.size = spec, bases, config.size
        self.needed = {part for basis in bases for part in PARTS.get(basis, (basis,))}
        if self.needed & {"flat", "b"}:
            lot = draw.permutation(-(-spec.size // self.size) * self.size)
            signs = draw.integers(0, 2, spec.size).astype(np.float32) * 2 - 1
            self.lot = np.minimum(lot, spec.size - 1)
            self.signs = np.where(lot < spec.size, signs[self.lot], 0)  # the last ones name nothing
        if self.needed & {"product", "subspace"}:
            number = -(-config.size // len(spec.layers))
            shapes = [(number, layer.d_out, layer.d_in) for layer in spec.layers]
            self.drawn = [
                tuple(draw.standard_normal((d, m), dtype=np.float32) for d in (d_out, d_out, d_in))
                for m, d_out, d_in in shapes
            ]

    def __call__(self, now: np.ndarray, since: np.ndarray) -> list[np.ndarray]:
        parts = {"flat": lambda: self._summed(now - since), "b": lambda: self._summed(self._only_b(now, since))}
        done = {name: parts[name]() for name in self.needed & parts.keys()} | self._projected(now, since)
        each = [[done[part] for part in PARTS.get(basis, (basis,))] for basis in self.bases]
        return [np.hstack(some) / np.float32(np.sqrt(len(some))) for some in each]

    def _summed(self, change: np.ndarray) -> np.ndarray:
        numbers = np.take(change, self.lot, axis=1)  # three times as fast as change[:, self.lot]
        numbers *= self.signs
        return np.asarray(numbers.reshape(len(change), self.size, -1).sum(axis=2))

    def _only_b(self, now: np.ndarray, since: np.ndarray) -> np.ndarray:
        alone = np.zeros(now.shape, dtype=np.float32)
        alone[:, : self.spec.size_b] = b(now, since, self.spec)
        return alone

    def _projected(self, now: np.ndarray, since: np.ndarray) -> dict[str, np.ndarray]:
        columns: dict[str, list[np.ndarray]] = {name: [] for name in self.needed & {"product", "subspace"}}
        if not columns:
            return {}
        layers = zip(changes(now, since, self.spec, np.float32), self.drawn, strict=True)
        for (a, b_), (u, other, v) in layers:
            bt = np.ascontiguousarray(b_.transpose(0, 2, 1))  # (k, R, d_out)
            seen_u = times(bt, u)
            gram_a, gram_b = _gram(a), _gram(bt)
            if "product" in columns:
                numbers = np.einsum("krm,krm->km", seen_u, times(a, v))
                columns["product"].append(_scaled(numbers, (gram_a * gram_b).sum(axis=(1, 2))))
            if "subspace" in columns:
                basis, ranks = _left(gram_a, gram_b, self.spec.rank)
                share = ranks[:, None] / bt.shape[2]
                turned = (basis @ seen_u, basis @ times(bt, other))
                numbers = np.einsum("krm,krm->km", *turned) - share * (u * other).sum(axis=0)
                columns["subspace"].append(_scaled(numbers, ranks * (1 - share[:, 0])))
        scale = np.sqrt(sum(u.shape[1] for u, _, _ in self.drawn))
        return {name: np.hstack(each).astype(np.float32) / np.float32(scale) for name, each in columns.items()}


def _gram(rows: np.ndarray) -> np.ndarray:
    """Inner products (k, R, R) of each one's rows (k, R, d), in float64: small singular values are told by it."""
    exact = rows.astype(np.float64)
    return np.asarray(exact @ exact.transpose(0, 2, 1))


def _left(gram_a: np.ndarray, gram_b: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """M (k, r, R) so that the leading left singular vectors of B A are B M^T, and how many there are (k,)."""
    values, vectors = np.linalg.eigh(gram_b)
    there = values > RESOLUTION**2 * values[:, -1:]
    root = np.sqrt(np.where(there, values, 0))
    half = (vectors * root[:, None, :]) @ vectors.transpose(0, 2, 1)
    inverse = (vectors * np.where(there, 1 / np.where(there, root, 1), 0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    squares, turns = np.linalg.eigh(half @ gram_a @ half)
    kept = (squares > RESOLUTION**2 * squares[:, -1:])[:, ::-1][:, :rank]
    left = (inverse @ turns)[:, :, ::-1][:, :, :rank] * kept[:, None, :]
    return left.transpose(0, 2, 1).astype(np.float32), kept.sum(axis=1)


def _scaled(numbers: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Rows over the length of what they stand for; zeros where that is zero."""
    norm = np.sqrt(np.maximum(square, 0))
    return np.asarray(numbers / np.where(norm > 0, norm, np.inf)[:, None])
