"""Members of a cluster to its adapter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fltac.config import Mean
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
    """||merged B A - sum_i w_i B_i A_i|| / ||sum_i w_i B_i A_i||, Frobenius over all layers, from r x r products."""
    gram = sum(layer_grams(np.vstack([adapters, merged[None]]), spec))
    coefficients = np.append(weight, 0.0)
    exact = float(coefficients @ gram @ coefficients)
    coefficients[-1] = -1.0
    gap = float(coefficients @ gram @ coefficients)
    return float(np.sqrt(max(gap, 0.0) / exact)) if exact > 0 else 0.0


def mean_adapter(adapters: np.ndarray, num_examples: np.ndarray, config: Mean) -> tuple[np.ndarray, np.ndarray]:
    """The members' mean (p,) and the weights (n,) it took."""
    weight = weights(num_examples, config.weights)
    return mean(adapters, weight), weight


MERGERS: dict[str, Callable[[np.ndarray, np.ndarray, Mean], tuple[np.ndarray, np.ndarray]]] = {"mean": mean_adapter}
