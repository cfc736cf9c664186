"""A round's adapters side by side, as its method compares them: exactly, or many of them by sketches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from fltac.config import Similarity, Sketch
from fltac.server.similarity import KERNELS, POINTS, changes, coordinates, embed, side_by_side
from fltac.server.sketching import sketches
from fltac.wire.messages import AdapterSpec

KIN = "subspace"


class Compared(NamedTuple):
    """Points whose Euclidean distance is the dissimilarity, so that any clusterer goes with any similarity."""

    points: np.ndarray  # (n, d) what is clustered
    kin: np.ndarray | None  # (n, e) what tells whether two clusters are parts of one task


def compared(
    now: Sequence[np.ndarray],
    since: Sequence[np.ndarray],
    spec: AdapterSpec,
    config: Similarity,
    settled: bool = True,
) -> Compared:
    """Adapters `now`, n of (p,), and what each changed `since`, as points; and, to be settled, their kinship.

    A kernel k becomes points with |x_i - x_j|^2 = k_ii + k_jj - 2 k_ij. More than `sketch_above` adapters are sketched:
    a kernel of all pairs would take n^2 time and memory.

    Kinship is by subspace, whatever the similarity: parts of a task that the clusterer tore apart move the same
    outputs, if not the same way, and nothing else tells them from two tasks as surely (experiments/LOG.md).
    """
    if not isinstance(config, Sketch) and config.sketch_above is not None and len(now) > config.sketch_above:
        config = Sketch(type="sketch", of=config.of, basis=config.type)
    if isinstance(config, Sketch):
        points, *kin = sketches(now, since, spec, config, [config.basis, KIN] if settled else [config.basis])
        return Compared(points, kin[0] if kin else None)
    rows, before = side_by_side(now), side_by_side(since)
    factors = changes(rows, before, spec) if settled or config.type in KERNELS else []
    kernel = cache(lambda compute: compute(factors, spec.rank))  # what both need is computed once
    if config.type in POINTS:
        points = coordinates(POINTS[config.type](rows, before, spec))
    else:
        each = [kernel(compute) for compute in KERNELS[config.type]]
        points = embed(sum(each) / len(each))
    return Compared(points, embed(kernel(KERNELS[KIN][0])) if settled else None)
