"""How adapters evolve: a sketch of each that is comparable over rounds, and by layer how far clusters lie apart.

Both look at D = B A - B0 A0, the change from v0's product, so neither depends on the gauge; neither needs a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fltac.seeds import generator
from fltac.server.similarity import RESOLUTION, changes, cosines, layer_grams
from fltac.wire.messages import AdapterSpec

SIZE = 128  # numbers a sketch
BLOCK = 64  # adapters sketched at once: their changes are float64
PAIRED = 100  # adapters of a round whose pairs are looked at: 4950 pairs, whatever the number of adapters


def sketches(adapters: np.ndarray, start: np.ndarray, spec: AdapterSpec) -> np.ndarray:
    """Random projections of the changes from `start` (p,), not normalised: (n, p) -> (n, SIZE) float32.

    s_k = sum_l u_kl^T D_l v_kl / sqrt(SIZE) with u, v normal, the same for every round and run of the spec, so sketches
    of all rounds lie in one space, v0 at zero. E|s_i - s_j|^2 = sum_l |D_il - D_jl|_F^2; the relative standard error of
    a squared distance is sqrt(8 / SIZE) = 0.25 at most, since E[(u^T M v)^4] <= 9 |M|^4, and nears sqrt(2 / SIZE) =
    0.125 where many layers, or many directions of one, differ alike. Source: Johnson and Lindenstrauss 1984.
    """
    draw = generator(0, "evolution")  # not the run's seed: runs of one shape can be compared as well
    maps = [(draw.normal(size=(SIZE, one.d_out)), draw.normal(size=(SIZE, one.d_in))) for one in spec.layers]
    rows = np.zeros((len(adapters), SIZE))
    for first in range(0, len(adapters), BLOCK):
        now = adapters[first : first + BLOCK]
        for (u, v), (a, b) in zip(maps, changes(now, np.broadcast_to(start, now.shape), spec), strict=True):
            rows[first : first + BLOCK] += np.einsum("nkr,nrk->nk", u @ b, a @ v.T)
    return np.asarray(rows / np.sqrt(SIZE), dtype=np.float32)


def layer_rows(
    adapters: np.ndarray, start: np.ndarray, clusters: np.ndarray, spec: AdapterSpec, draw: np.random.Generator
) -> list[dict[str, Any]]:
    """A row a layer: how far adapters (n, p) of one cluster and of two lie apart there, by their clusters (n,).

    A pair's distance is 1 - cos(D_i, D_j), 0 to 2; `within` and `between` are means over the pairs of one cluster and
    of two, null where there are none. `separation` is 1 - within / between: 0 where the layer says nothing of the
    clusters, 1 where the adapters of a cluster change it all alike. Looks at no more than PAIRED adapters, drawn anew
    each round.
    """
    if len(adapters) > PAIRED:
        chosen = np.sort(draw.choice(len(adapters), PAIRED, replace=False))
        adapters, clusters = adapters[chosen], clusters[chosen]
    first, second = np.triu_indices(len(adapters), 1)
    same = clusters[first] == clusters[second]
    rows: list[dict[str, Any]] = []
    factors = changes(adapters, np.broadcast_to(start, adapters.shape), spec)
    for layer, gram in zip(spec.layers, layer_grams(factors), strict=True):
        apart = 1 - cosines(gram)[first, second]
        within, between = _mean(apart[same]), _mean(apart[~same])
        row = {"layer": layer.name, "within": within, "between": between, "separation": None}
        if within is not None and between is not None and between > RESOLUTION:
            row["separation"] = 1 - within / between
        rows.append(row)
    return rows


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
