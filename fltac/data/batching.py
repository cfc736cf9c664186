"""Which examples go together: batches of like length, so that little is padding."""

from __future__ import annotations

import numpy as np

POOL = 8  # batches sorted by length together: more means less padding and less chance in who meets whom


def training_batches(lengths: np.ndarray, steps: int, size: int, draw: np.random.Generator) -> list[np.ndarray]:
    """`steps` batches of `min(size, n)` distinct examples: passes over the shard in random order, cut by length.

    `lengths` (n,) in tokens; each batch holds indices into it.
    """
    size = min(size, len(lengths))
    per_pass = len(lengths) // size  # a pass leaves out the few that fill no batch
    batches: list[np.ndarray] = []
    while len(batches) < steps:
        order = draw.permutation(len(lengths))[: per_pass * size]
        for start in range(0, len(order), POOL * size):
            pool = order[start : start + POOL * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            cut = pool.reshape(-1, size)
            batches += list(cut[draw.permutation(len(cut))])
    return batches[:steps]


def evaluation_batches(lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Every example once, like lengths together; cut from the set alone, so that the same rows always meet."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]
