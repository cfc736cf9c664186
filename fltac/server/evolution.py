"""How adapters evolve: a sketch of each that is comparable over rounds, and by layer how far clusters lie apart.

Both look at D = B A - B0 A0, the change from v0's product, so neither depends on the gauge; neither needs a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fltac.seeds import generator
from fltac.server.similarity import RESOLUTION, Factors, changes, cosines, layer_grams, times
from fltac.wire.messages import AdapterSpec

SIZE = 128  # numbers a sketch
ROWS = 1024  # adapters of which a layer is looked at at once
KEPT = 2**23  # numbers of all projections that are kept, 32 MB; of a large language model they are more
PAIRED = 50  # adapters of a round whose pairs are looked at: 1225 pairs, whatever the number of adapters


def sketches(adapters: Sequence[np.ndarray], start: np.ndarray, spec: AdapterSpec) -> np.ndarray | None:
    """Random projections of the changes from `start` (p,), not normalised: n of (p,) -> (n, SIZE) float32.

    None where the model itself is trained: there is no B A to look at.

    s_k = sum_l u_kl^T D_l v_kl / sqrt(SIZE) with u, v normal, the same for every round and run of the spec, so sketches
    of all rounds lie in one space, v0 at zero. E|s_i - s_j|^2 = sum_l |D_il - D_jl|_F^2; the relative standard error of
    a squared distance is sqrt(8 / SIZE) = 0.25 at most, since E[(u^T M v)^4] <= 9 |M|^4, and nears sqrt(2 / SIZE) =
    0.125 where many layers, or many directions of one, differ alike. Source: Johnson and Lindenstrauss 1984.
    """
    if not spec.layers:
        return None
    sums = np.zeros((len(adapters), SIZE))
    for (alone, part), (u, v) in zip(spec.each_layer(), _projections(spec), strict=True):
        for at in range(0, len(adapters), ROWS):
            ((a, b),) = _changes(adapters[at : at + ROWS], start, alone, part, np.float32)
            sums[at : at + ROWS] += np.einsum("nrk,nrk->nk", times(b.transpose(0, 2, 1), u), times(a, v))
    return np.asarray(sums / np.sqrt(SIZE), dtype=np.float32)


def _projections(spec: AdapterSpec) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """For each layer u (d_out, SIZE) and v (d_in, SIZE); kept from round to round where they are small."""
    return _kept(spec) if SIZE * sum(one.d_out + one.d_in for one in spec.layers) <= KEPT else _drawn(spec)


def _drawn(spec: AdapterSpec) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    draw = generator(0, "evolution")  # not the run's seed: runs of one shape can be compared as well
    for layer in spec.layers:
        u, v = (draw.normal(size=(SIZE, d)).astype(np.float32).T for d in (layer.d_out, layer.d_in))
        yield u, v


@lru_cache(maxsize=1)
def _kept(spec: AdapterSpec) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(_drawn(spec))


def layer_rows(
    adapters: Sequence[np.ndarray],
    start: np.ndarray,
    clusters: np.ndarray,
    spec: AdapterSpec,
    draw: np.random.Generator,
) -> list[dict[str, Any]]:
    """A row a layer: how far adapters, n of (p,), of one cluster and of two lie apart there, by their clusters (n,).

    A pair's distance is 1 - cos(D_i, D_j), 0 to 2; `within` and `between` are means over the pairs of one cluster and
    of two, null where there are none. `separation` is 1 - within / between: 0 where the layer says nothing of the
    clusters, 1 where the adapters of a cluster change it all alike. Looks at no more than PAIRED adapters, drawn anew
    each round.
    """
    if len(adapters) < 2:
        return [_row(layer.name, np.empty(0), np.empty(0)) for layer in spec.layers]
    if len(adapters) > PAIRED:
        chosen = np.sort(draw.choice(len(adapters), PAIRED, replace=False))
        adapters, clusters = [adapters[i] for i in chosen], clusters[chosen]
    first, second = np.triu_indices(len(adapters), 1)
    same = clusters[first] == clusters[second]
    rows = []
    for alone, part in spec.each_layer():
        (gram,) = layer_grams(_changes(adapters, start, alone, part))
        apart = 1 - cosines(gram)[first, second]
        rows.append(_row(alone.layers[0].name, apart[same], apart[~same]))
    return rows


def _changes(
    adapters: Sequence[np.ndarray], start: np.ndarray, alone: AdapterSpec, part: slice, dtype: type = np.float64
) -> Factors:
    """One layer's factors of the changes, A (n, R, d_in) and B (n, d_out, R)."""
    now = np.stack([row[part] for row in adapters])
    return changes(now, np.broadcast_to(start[part], now.shape), alone, dtype)


def _row(layer: str, pairs_within: np.ndarray, pairs_between: np.ndarray) -> dict[str, Any]:
    within, between = (float(pairs.mean()) if pairs.size else None for pairs in (pairs_within, pairs_between))
    separation = None
    if within is not None and between is not None and between > RESOLUTION:
        separation = 1 - within / between
    return {"layer": layer, "within": within, "between": between, "separation": separation}
