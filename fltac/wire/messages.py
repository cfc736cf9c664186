"""The two messages of the federation. Neither can name a task: the server is blind by type."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class WireError(ValueError):
    """Bytes that are no message of ours, or a message that does not fit its codec."""


class NotFiniteError(WireError):
    """A message with a number that is NaN or infinite."""


class Layer(NamedTuple):
    """One adapted matrix: W x + scale * B A x with A (r, d_in) and B (d_out, r)."""

    name: str
    d_out: int
    d_in: int


class Tensor(NamedTuple):
    """One of the base's own weights, trained as a whole: W + change."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class AdapterSpec:
    """The shape of every adapter of a run, agreed once; messages carry its 8-byte fingerprint.

    A flat adapter is, layer after layer, A row by row and then B row by row: `sum(r * (d_in + d_out))` numbers. Where
    the model itself is trained there are no layers: it is the change of each tensor, one after another.
    """

    layers: tuple[Layer, ...]
    rank: int
    scale: float
    tensors: tuple[Tensor, ...] = ()

    @cached_property
    def size(self) -> int:
        """Numbers in one adapter, p."""
        return sum(self.rank * (layer.d_in + layer.d_out) for layer in self.layers) + sum(self._tensor_sizes)

    @cached_property
    def size_b(self) -> int:
        """Numbers in its B alone."""
        return sum(self.rank * layer.d_out for layer in self.layers)

    @cached_property
    def fingerprint(self) -> bytes:
        text = json.dumps([self.layers, self.rank, self.scale, *([self.tensors] if self.tensors else [])])
        return hashlib.blake2b(text.encode(), digest_size=8).digest()

    def factors(self, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views (A, B) of each layer in a flat adapter (p,), or stacked ones (n, p): A (.., r, d_in), B (.., d_out, r).

        Raises ValueError where the last axis is not `size` long.
        """
        if flat.shape[-1] != self.size:
            raise ValueError(f"an adapter of this run has {self.size} numbers, not {flat.shape[-1]}")
        views, at = [], 0
        for layer in self.layers:
            middle, end = at + self.rank * layer.d_in, at + self.rank * (layer.d_in + layer.d_out)
            a = flat[..., at:middle].reshape(*flat.shape[:-1], self.rank, layer.d_in)
            b = flat[..., middle:end].reshape(*flat.shape[:-1], layer.d_out, self.rank)
            views.append((a, b))
            at = end
        return views

    def each_layer(self) -> Iterator[tuple[AdapterSpec, slice]]:
        """Each layer as a spec of its own, and where it lies in a flat adapter."""
        end = 0
        for layer in self.layers:
            alone = AdapterSpec((layer,), self.rank, self.scale)
            begin, end = end, end + alone.size
            yield alone, slice(begin, end)

    def named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Views of a flat adapter (p,) by name: `LAYER.lora_A`, `LAYER.lora_B`, or the tensors. Raises as `factors`."""
        factors = zip(self.layers, self.factors(flat), strict=True)
        views = {f"{layer.name}.lora_{key}": view for layer, ab in factors for key, view in zip("AB", ab, strict=True)}
        parts = np.split(flat, np.cumsum(self._tensor_sizes)) if self.tensors else []
        return views | {one.name: part.reshape(one.shape) for one, part in zip(self.tensors, parts, strict=False)}

    def only_b(self, flat: np.ndarray) -> np.ndarray:
        """B of each layer of a flat adapter, (p,) -> (size_b,): what travels where A is frozen."""
        return np.concatenate([b.ravel() for _, b in self.factors(flat)])

    def with_b(self, flat: np.ndarray, only_b: np.ndarray) -> np.ndarray:
        """A flat adapter with another B, (p,) and (size_b,) -> (p,), so that only_b(with_b(x, b)) = b.

        Raises ValueError where the B is not `size_b` long.
        """
        whole = flat.copy()
        for (_, b), other in zip(self.factors(whole), self._each_b(only_b), strict=True):
            b[:] = other
        return whole

    def whole(self, start: np.ndarray, sent: np.ndarray) -> np.ndarray:
        """What travelled as an adapter (p,): where it is B alone, A is that of `start`, v0."""
        return sent if sent.size == self.size else self.with_b(start, sent)

    def moved(self, start: np.ndarray, change: np.ndarray) -> np.ndarray:
        """`start` + change, (p,) and (p,) or, where B alone changed, (size_b,) -> (p,)."""
        moved: np.ndarray = start + self.whole(np.zeros_like(start), change)
        return moved

    def rows(self, flat: np.ndarray) -> list[np.ndarray]:
        """Views, a rank component a row, of a flat adapter (p,) or its B alone (size_b,): A (r, d_in), B^T (r, d_out).

        Of a tensor the last axis is a row. Raises ValueError for another length.
        """
        if self.tensors:
            return [view.reshape(-1, view.shape[-1]) for view in self.named(flat).values()]
        if flat.size == self.size:
            return [view for a, b in self.factors(flat) for view in (a, b.T)]
        return [b.T for b in self._each_b(flat)]

    @property
    def _tensor_sizes(self) -> list[int]:
        return [math.prod(tensor.shape) for tensor in self.tensors]

    def _each_b(self, only_b: np.ndarray) -> list[np.ndarray]:
        """Views of each layer's B (d_out, r) in a B alone (size_b,)."""
        if only_b.shape != (self.size_b,):
            raise ValueError(f"the B of an adapter of this run has {self.size_b} numbers, not {only_b.size}")
        ends = np.cumsum([self.rank * layer.d_out for layer in self.layers])[:-1]
        parts = zip(np.split(only_b, ends), self.layers, strict=True)
        return [part.reshape(layer.d_out, self.rank) for part, layer in parts]


@dataclass(frozen=True, eq=False)
class Head:
    """A classifier's last layer: rows are classes, the last column is the bias; shape (classes, width + 1)."""

    matrix: np.ndarray
    num_examples: int = 0  # it was trained on in the round

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Head)
            and self.num_examples == other.num_examples
            and np.array_equal(self.matrix, other.matrix)
        )


@dataclass(frozen=True, eq=False)
class Update:
    """Up: what a client learned for one of its slots in a round. No field says which task the slot holds."""

    round: int
    client: int
    slot: int
    spec: bytes
    adapter: np.ndarray  # (p,) float32; B alone, (size_b,), where A is frozen
    heads: tuple[Head, ...]  # of the slot; of all the client's slots, in order, where one adapter is shared
    num_examples: int
    choice: int = -1  # the cluster a client picked itself, where the method lets it
    afresh: bool = False  # from v0 and not from what was sent
    change: bool = False  # `adapter` is a change from that and no adapter

    @property
    def key(self) -> tuple[int, int]:
        return self.client, self.slot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Update) and _same(self, other)


@dataclass(frozen=True, eq=False)
class Broadcast:
    """Down: what the server sends for a slot at the start of a round. Slots of one cluster get the same bytes."""

    round: int
    spec: bytes
    adapter: np.ndarray  # (p,) float32; where A is frozen, B alone for a slot that was sent A before
    heads: tuple[Head, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Broadcast) and _same(self, other)


def _same(one: Update | Broadcast, other: Update | Broadcast) -> bool:
    plain = {name: value for name, value in vars(one).items() if name != "adapter"}
    return plain == {name: getattr(other, name) for name in plain} and np.array_equal(one.adapter, other.adapter)
