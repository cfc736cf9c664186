"""Members of a cluster to its adapter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fltac.config import Merging, NormClip, TrimmedMean
from fltac.server.similarity import layer_grams
from fltac.wire.messages import AdapterSpec


def weights(num_examples: np.ndarray, rule: str, worth: np.ndarray | float = 1.0) -> np.ndarray:
    """(n,) float64 that sum to one: equal, or in proportion to the examples, and to what each is `worth` (n,)."""
    raw = worth * (np.ones(len(num_examples)) if rule == "uniform" else num_examples.astype(np.float64))
    return np.asarray(raw / raw.sum())


def mean(stacked: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """sum_i w_i x_i over the first axis, in float64, as float32: of adapters (n, p), or of heads (n, classes, columns).

    Averages A and B apart, as arXiv 2404.15384 does; `aggregation_error` tells what that costs.
    """
    total = np.zeros(stacked.shape[1:])
    for w, x in zip(weight, stacked, strict=True):  # in order of (client, slot): the same bits on every run
        total += w * x
    return total.astype(np.float32)


def aggregation_error(adapters: np.ndarray, merged: np.ndarray, weight: np.ndarray, spec: AdapterSpec) -> float:
    """||merged B A - sum_i w_i B_i A_i|| / ||sum_i w_i B_i A_i||, Frobenius over all layers, from r x r products.

    Whole tensors have no factors, so that their mean is exact: 0.
    """
    if not spec.layers:
        return 0.0
    gram = sum(layer_grams(spec.factors(np.vstack([adapters, merged[None]]).astype(np.float64))))
    coefficients = np.append(weight, 0.0)
    exact = float(coefficients @ gram @ coefficients)
    coefficients[-1] = -1.0
    gap = float(coefficients @ gram @ coefficients)
    return float(np.sqrt(max(gap, 0.0) / exact)) if exact > 0 else 0.0


def trimmed_mean(stacked: np.ndarray, weight: np.ndarray, config: Merging) -> np.ndarray:
    """Of each number the mean without the floor(trim n) largest and as many smallest, (n, ..) -> (..).

    As long as no more than these are poisoned, each number lies among those that honest members sent.
    Source: Yin et al. 2018, arXiv 1803.01498, definition 2.
    """
    assert isinstance(config, TrimmedMean)
    cut = math.floor(config.trim * len(stacked) + 1e-9)
    order = np.argsort(stacked, axis=0, kind="stable")[cut : len(stacked) - cut]
    kept = np.take_along_axis(stacked.astype(np.float64), order, axis=0)
    share = weight[order]
    return np.asarray((kept * share).sum(axis=0) / share.sum(axis=0), dtype=np.float32)


def median(stacked: np.ndarray, weight: np.ndarray, config: Merging) -> np.ndarray:
    """Of each number the median, whatever the weights, (n, ..) -> (..). Source: arXiv 1803.01498, definition 1."""
    return np.asarray(np.median(stacked.astype(np.float64), axis=0), dtype=np.float32)


def norm_clip(stacked: np.ndarray, weight: np.ndarray, config: Merging) -> np.ndarray:
    """m + sum_i w_i (x_i - m) min(1, c / ||x_i - m||), m the median, c = `factor` times the median of ||x_i - m||.

    However far away a member is, it moves the mean by w_i c at most. Source: centred clipping, Karimireddy et al. 2021,
    arXiv 2012.10333, from the median instead of the last round's centre.
    """
    assert isinstance(config, NormClip)
    centre = np.median(stacked.astype(np.float64), axis=0)
    away = stacked - centre
    far = np.sqrt(np.square(away.reshape(len(stacked), -1)).sum(axis=1))
    scale = np.minimum(1.0, config.factor * np.median(far) / np.where(far > 0, far, 1.0))
    return np.asarray(centre + np.tensordot(weight * scale, away, axes=1), dtype=np.float32)


def outlier_scores(adapters: np.ndarray) -> list[float | None]:
    """||x_i - m|| over its median, m the median of each number, (n, p) -> n: about 1 where all are alike.

    None where there are fewer than three, or most are equal.
    """
    far = np.linalg.norm(adapters - np.median(adapters.astype(np.float64), axis=0), axis=1)
    usual = float(np.median(far))
    return [float(one) / usual for one in far] if len(adapters) > 2 and usual > 0 else [None] * len(adapters)


def product_svd(adapters: np.ndarray, weight: np.ndarray, config: Merging, spec: AdapterSpec) -> np.ndarray:
    """The adapter of rank r nearest to sum_i w_i B_i A_i in each layer, (n, p) -> (p,): U sqrt(S), sqrt(S) V^T.

    Free of gauge. The products are never formed: of [w_1 B_1 .. w_n B_n] and [A_1; ..; A_n] the QR factors suffice.
    Source: arXiv 2402.11505, section 3.
    """
    parts = []
    for a, b in spec.factors(adapters.astype(np.float64)):
        n, r = a.shape[:2]
        q_b, r_b = np.linalg.qr((b * weight[:, None, None]).transpose(1, 0, 2).reshape(b.shape[1], n * r))
        q_a, r_a = np.linalg.qr(a.reshape(n * r, -1).T)
        u, s, vt = np.linalg.svd(r_b @ r_a.T)
        root = np.sqrt(s[:r])
        alive = np.where(root > 0, root, 1)  # of a direction that changes nothing, A stays: B = 0 alone can learn again
        parts += [(alive[:, None] * (vt[:r] @ q_a.T)).ravel(), ((q_b @ u[:, :r]) * root).ravel()]
    return np.concatenate(parts).astype(np.float32)


Average = Callable[[np.ndarray, np.ndarray, Merging], np.ndarray]


def _of_numbers(average: Average) -> Callable[[np.ndarray, np.ndarray, Merging, AdapterSpec], np.ndarray]:
    return lambda adapters, weight, config, spec: average(adapters, weight, config)


# of heads (n, classes, columns); of adapters (n, p), too, where nothing else is said
AVERAGES: dict[str, Average] = {
    "mean": lambda stacked, weight, config: mean(stacked, weight),
    "product_svd": lambda stacked, weight, config: mean(stacked, weight),
    "trimmed_mean": trimmed_mean,
    "median": median,
    "norm_clip": norm_clip,
}
MERGERS = {name: _of_numbers(average) for name, average in AVERAGES.items()} | {"product_svd": product_svd}
