"""Adapters as they are after one round, drawn instead of trained: around the centres of tasks, as real ones lie.

Shape: query and value of MiniLM's six layers at rank 4, 36,864 numbers. Measured on real adapters of that shape (six
tasks, ten clients, round 1, `experiments/clustering.py`): two of one task have a cosine of their changes from v0 of .03
to .6, by task; two of different tasks of .04. A change is 0.6 times as long as v0's A, a fifth more or less, in A as in
B. Drawn: length * (sqrt(c) common + sqrt(w) centre + sqrt(1 - c - w) chance), c = .04, w of the task times e^N(0, .3)
of the adapter: small shards say less. Half of chance is isotropic, half lies in 64 directions for all.
"""

from __future__ import annotations

import numpy as np

from fltac.config import Adapter
from fltac.model.adapters import start_adapter
from fltac.seeds import generator
from fltac.wire.messages import AdapterSpec, Layer

NAMES = [f"encoder.layer.{layer}.attention.self.{part}" for layer in range(6) for part in ("query", "value")]
SPEC = AdapterSpec(tuple(Layer(name, 384, 384) for name in NAMES), Adapter(rank=4).rank, 2.0)
WITHIN = (0.25, 0.6, 0.1, 0.3, 0.15)  # cosine of two adapters of one task, by task in turn
COMMON, LENGTH, SPREAD, WEAKER, NUISANCES = 0.04, 2.3, 0.2, 0.3, 64


class Planted:
    """A federation whose clients hold `slots` of so many tasks each, and the adapters that they send."""

    def __init__(self, tasks: int, slots: int = 2, seed: int = 0, spec: AdapterSpec = SPEC) -> None:
        self.tasks, self.slots, self.seed, self.spec = tasks, slots, seed, spec
        self.start = start_adapter(spec, seed)
        draw = generator(seed, "planted")
        whole = draw.standard_normal((tasks + 1 + NUISANCES, spec.size), dtype=np.float32)
        whole /= np.linalg.norm(whole, axis=1, keepdims=True)
        self.centres, self.common, self.nuisances = whole[:tasks], whole[tasks], whole[tasks + 1 :]
        self.halves = np.ones(spec.size, dtype=np.float32)  # A moves as far as B, whatever their sizes
        for a, b in spec.factors(self.halves):
            a /= np.sqrt(a.size)
            b /= np.sqrt(b.size)
        self.halves /= np.sqrt(np.mean(self.halves**2))

    def held(self, client: int) -> list[int]:
        """The tasks of a client's slots."""
        return generator(self.seed, "held", client).permutation(self.tasks)[: self.slots].tolist()

    def adapter(self, client: int, slot: int, start: np.ndarray, round: int = 1) -> np.ndarray:
        """What it sends for a slot: what it was sent, and a change."""
        task = self.held(client)[slot]
        draw = generator(self.seed, "adapter", client, task, round)
        signal = min(WITHIN[task % len(WITHIN)] * draw.lognormal(0, WEAKER), 0.9)
        chance = draw.standard_normal(self.spec.size, dtype=np.float32)
        nuisance = draw.standard_normal(NUISANCES, dtype=np.float32) / np.float32(np.sqrt(NUISANCES)) @ self.nuisances
        change = np.float32(np.sqrt(COMMON)) * self.common + np.float32(np.sqrt(signal)) * self.centres[task]
        change += np.float32(np.sqrt((1 - COMMON - signal) / 2)) * (chance / np.linalg.norm(chance) + nuisance)
        return np.asarray(start + change * self.halves * np.float32(LENGTH * draw.lognormal(0, SPREAD)), np.float32)
