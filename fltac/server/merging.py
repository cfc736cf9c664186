"""Members of a cluster to its adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fltac.config import Merging, NormClip, TrimmedMean
from fltac.server.similarity import layer_grams
from fltac.wire.messages import AdapterSpec

BLOCK = 2**19  # numbers that are looked at at once: members are never there a second time as a whole
USUAL = 200  # members whose median says what is usual
Rows = Sequence[np.ndarray] | np.ndarray  # n arrays of one shape, or one with a first axis of n


def weights(num_examples: np.ndarray, rule: str, worth: np.ndarray | float = 1.0) -> np.ndarray:
    """(n,) float64 that sum to one: in proportion to what each is `worth` (n,), and by the rule "examples" to those.

    Equal where nobody is worth anything.
    """
    raw = worth * (num_examples.astype(np.float64) if rule == "examples" else np.ones(len(num_examples)))
    return np.asarray(raw / raw.sum() if raw.any() else np.full(len(raw), 1 / len(raw)))


def mean(stacked: Rows, weight: np.ndarray) -> np.ndarray:
    """sum_i w_i x_i over the first axis, in float64, as float32: of adapters (n, p), or of heads (n, classes, columns).

    Averages A and B apart, as arXiv 2404.15384 does; `aggregation_error` tells what that costs.
    """
    total = np.zeros(stacked[0].shape)
    for w, x in zip(weight, stacked, strict=True):  # in order of (client, slot): the same bits on every run
        total += w * x
    return total.astype(np.float32)


def aggregation_error(adapters: Rows, merged: np.ndarray, weight: np.ndarray, spec: AdapterSpec) -> float:
    """||merged B A - sum_i w_i B_i A_i|| / ||sum_i w_i B_i A_i||, Frobenius over all layers, of n adapters (p,).

    From r x r products, n^2 of them, or where that costs more from the d_out x d_in products themselves, in float32.
    Whole tensors have no factors, so that their mean is exact: 0.
    """
    gap = exact = 0.0
    for alone, part in spec.each_layer():
        d_out, d_in = alone.layers[0].d_out, alone.layers[0].d_in
        if len(adapters) * spec.rank <= min(d_out, d_in):
            rows = np.array([*(row[part] for row in adapters), merged[part]], dtype=np.float64)
            (gram,) = layer_grams(alone.factors(rows))
            coefficients = np.append(weight, 0.0)
            exact += float(coefficients @ gram @ coefficients)
            coefficients[-1] = -1.0
            gap += max(float(coefficients @ gram @ coefficients), 0.0)
        else:
            total = np.zeros((d_out, d_in), dtype=np.float32)
            step = max(1, BLOCK // alone.size)
            for at in range(0, len(adapters), step):
                ((a, b),) = alone.factors(np.stack([row[part] for row in adapters[at : at + step]]))
                share = weight[at : at + step, None, None].astype(np.float32)
                total += (b * share).transpose(0, 2, 1).reshape(-1, d_out).T @ a.reshape(-1, d_in)
            ((a, b),) = alone.factors(merged[part])
            exact += float(np.square(total, dtype=np.float64).sum())
            gap += float(np.square(b @ a - total, dtype=np.float64).sum())
    return float(np.sqrt(gap / exact)) if exact > 0 else 0.0


def trimmed_mean(stacked: Rows, weight: np.ndarray, config: Merging) -> np.ndarray:
    """Of each number the mean without the floor(trim n) largest and as many smallest, (n, ..) -> (..).

    As long as no more than these are poisoned, each number lies among those that honest members sent.
    Source: Yin et al. 2018, arXiv 1803.01498, definition 2.
    """
    assert isinstance(config, TrimmedMean)
    cut = math.floor(config.trim * len(stacked) + 1e-9)

    def trimmed(some: np.ndarray) -> np.ndarray:
        order = np.argsort(some, axis=0, kind="stable")[cut : len(some) - cut]
        kept, share = np.take_along_axis(some.astype(np.float64), order, axis=0), weight[order]
        return np.asarray((kept * share).sum(axis=0) / share.sum(axis=0))

    return by_columns(stacked, trimmed).astype(np.float32)


def median(stacked: Rows, weight: np.ndarray, config: Merging) -> np.ndarray:
    """Of each number the median, whatever the weights, (n, ..) -> (..). Source: arXiv 1803.01498, definition 1."""
    return middle(stacked).astype(np.float32)


def norm_clip(stacked: Rows, weight: np.ndarray, config: Merging) -> np.ndarray:
    """m + sum_i w_i (x_i - m) min(1, c / ||x_i - m||), m the median, c = `factor` times the median of ||x_i - m||.

    However far away a member is, it moves the mean by w_i c at most; one without weight is not looked at. Source:
    centred clipping, Karimireddy et al. 2021, arXiv 2012.10333, from the median instead of the last round's centre.
    """
    assert isinstance(config, NormClip)
    counted = weight > 0
    stacked, weight = [x for x, counts in zip(stacked, counted, strict=True) if counts], weight[counted]
    centre = middle(stacked)
    far = np.array([np.linalg.norm(x - centre) for x in stacked])
    scale = np.minimum(1.0, config.factor * np.median(far) / np.where(far > 0, far, 1.0))
    moved = centre.copy()
    for share, x in zip(weight * scale, stacked, strict=True):
        moved += share * (x - centre)
    return moved.astype(np.float32)


def middle(stacked: Rows) -> np.ndarray:
    """Of each number the median over the first axis, float64; (n, ..) -> (..)."""
    n = len(stacked)
    low, high = (n - 1) // 2, n // 2

    def median_of(some: np.ndarray) -> np.ndarray:
        ordered = np.partition(np.ascontiguousarray(some.T), high, axis=1)  # faster by rows, and for one place
        above = ordered[:, high].astype(np.float64)
        return above if low == high else (above + ordered[:, :high].max(axis=1)) / 2

    return by_columns(stacked, median_of)


def outlier_scores(adapters: Rows) -> list[float | None]:
    """||x_i - m|| over its median, m the median of each number, n of (p,) -> n: about 1 where all are alike.

    None where there are fewer than three, or most are equal. Of many members m is that of USUAL, one in so many.
    """
    centre = middle(adapters[:: -(-len(adapters) // USUAL)])
    far = np.array([np.linalg.norm(x - centre) for x in adapters])
    usual = float(np.median(far))
    return [float(one) / usual for one in far] if len(adapters) > 2 and usual > 0 else [None] * len(adapters)


def product_svd(adapters: Rows, weight: np.ndarray, config: Merging, spec: AdapterSpec) -> np.ndarray:
    """The adapter of rank r nearest to sum_i w_i B_i A_i in each layer, n of (p,) -> (p,): U sqrt(S), sqrt(S) V^T.

    Free of gauge. The products are never formed: of [w_1 B_1 .. w_n B_n] and [A_1; ..; A_n] the QR factors suffice.
    Source: arXiv 2402.11505, section 3.
    """
    parts = []
    for alone, part in spec.each_layer():
        ((a, b),) = alone.factors(np.array([row[part] for row in adapters], dtype=np.float64))
        n, r = a.shape[:2]
        q_b, r_b = np.linalg.qr((b * weight[:, None, None]).transpose(1, 0, 2).reshape(b.shape[1], n * r))
        q_a, r_a = np.linalg.qr(a.reshape(n * r, -1).T)
        u, s, vt = np.linalg.svd(r_b @ r_a.T)
        root = np.sqrt(s[:r])
        alive = np.where(root > 0, root, 1)  # of a direction that changes nothing, A stays: B = 0 alone can learn again
        parts += [(alive[:, None] * (vt[:r] @ q_a.T)).ravel(), ((q_b @ u[:, :r]) * root).ravel()]
    return np.concatenate(parts).astype(np.float32)


def by_columns(stacked: Rows, average: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What takes each number by itself, (n, c) -> (c,), of rows of any shape, (n, ..) -> (..), some numbers at once."""
    flat, step = [x.ravel() for x in stacked], max(1, BLOCK // len(stacked))
    size = flat[0].size
    parts = [average(np.stack([x[at : at + step] for x in flat])) for at in range(0, size, step)]
    return np.concatenate([np.empty(0), *parts]).reshape(stacked[0].shape)


Average = Callable[[Rows, np.ndarray, Merging], np.ndarray]


def _of_numbers(average: Average) -> Callable[[Rows, np.ndarray, Merging, AdapterSpec], np.ndarray]:
    return lambda adapters, weight, config, spec: average(adapters, weight, config)


# of heads, n of (classes, columns); of adapters, n of (p,), too, where nothing else is said
AVERAGES: dict[str, Average] = {
    "mean": lambda stacked, weight, config: mean(stacked, weight),
    "product_svd": lambda stacked, weight, config: mean(stacked, weight),
    "trimmed_mean": trimmed_mean,
    "median": median,
    "norm_clip": norm_clip,
}
MERGERS = {name: _of_numbers(average) for name, average in AVERAGES.items()} | {"product_svd": product_svd}
