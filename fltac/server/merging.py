"""Members of a cluster to its adapter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fltac.server.similarity import layer_grams
from fltac.wire.messages import AdapterSpec


def weights(num_examples: np.ndarray, rule: str) -> np.ndarray:
    """(n,) float64 that sum to one: equal, or in proportion to the examples."""
    raw = np.ones(len(num_examples)) if rule == "uniform" else num_examples.astype(np.float64)
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


def mean_adapter(adapters: np.ndarray, weight: np.ndarray, spec: AdapterSpec) -> np.ndarray:
    """The members' mean, (n, p) -> (p,)."""
    return mean(adapters, weight)


def product_svd(adapters: np.ndarray, weight: np.ndarray, spec: AdapterSpec) -> np.ndarray:
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


MERGERS: dict[str, Callable[[np.ndarray, np.ndarray, AdapterSpec], np.ndarray]] = {
    "mean": mean_adapter,
    "product_svd": product_svd,
}
