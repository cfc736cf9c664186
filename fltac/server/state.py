"""What the server is told, what it knows after a round, and what it hands out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fltac.config import Clustering, Exchange, Faults, Merging, Similarity
from fltac.records.left_out import LeftOut
from fltac.server.tracking import Stay
from fltac.timeline import ALWAYS, Spans, during
from fltac.wire.messages import AdapterSpec

Key = tuple[int, int]  # (client, slot)
START = -1  # the cluster of slots that were never heard of: v0


class Slot(NamedTuple):
    """What the server is told of a slot for some rounds."""

    shape: str  # of its head
    task: str = ""  # empty but for the openly informed oracle and fedit
    spans: Spans = ALWAYS


@dataclass(frozen=True)
class Setup:
    """All that the server is told."""

    seed: int
    spec: AdapterSpec
    start: np.ndarray  # (p,) v0
    start_heads: Mapping[str, np.ndarray]  # by shape, see `shape_name`
    registry: Mapping[Key, Sequence[Slot]]  # every slot there ever is, as one thing after the other
    exchange: Exchange
    similarity: Similarity
    clustering: Clustering
    merging: Merging
    down: str  # the codec, as the experiment writes it
    number_of_tasks: int = 0
    faults: Faults = field(default_factory=Faults)
    own_starts: Mapping[int, np.ndarray] = field(default_factory=dict)  # client -> its own v0, where v0 is not shared

    @property
    def v0(self) -> Cluster:
        return Cluster(self.start, self.start_heads)

    @property
    def frozen(self) -> bool:
        """A is v0's for ever, and only B is learned."""
        return self.exchange.factors == "b"

    def slot(self, key: Key, round: int) -> Slot | None:
        """What the slot was in a round; None where one adapter is shared and its sender is no slot."""
        return during(self.registry.get(key, ()), round)

    def whole(self, adapter: np.ndarray) -> np.ndarray:
        """What travelled as an adapter (p,)."""
        return self.spec.whole(self.start, adapter)


@dataclass(frozen=True)
class Cluster:
    """What the members of a cluster share: one adapter, and one head a shape (a task, where one adapter is shared)."""

    adapter: np.ndarray  # (p,)
    heads: Mapping[str, np.ndarray]  # name -> (classes, width + 1)


class Parcel(NamedTuple):
    """A payload that came up the wire, and the client who sent it, whatever the payload says."""

    sender: int
    payload: bytes


@dataclass(frozen=True)
class State:
    """What the server knows after a round."""

    round: int
    clusters: Mapping[int, Cluster]
    labels: Mapping[Key, int]  # every slot ever heard of -> its cluster
    adapters: Mapping[Key, np.ndarray]  # and the last adapter it sent, so that the absent still count
    since: Mapping[Key, np.ndarray]  # and what it had been sent before; empty where no step is compared
    next_id: int
    heard: Mapping[Key, int] = field(default_factory=dict)  # the round in which each slot last sent
    stays: Mapping[Key, Stay] = field(default_factory=dict)  # how settled each slot is
    late: tuple[Parcel, ...] = ()  # what came too late, for the next step


class Address(NamedTuple):
    """Where the slot's adapter and head lie in a `Post`; equal `same` means equal adapter and head."""

    payload: int
    head: int  # -1: the head never left the client
    cluster: int
    same: str
    menu: tuple[int, ...] = ()  # payloads of which the client chooses, where it does: one download for all its slots


class Post(NamedTuple):
    """What the server would send now: distinct payloads, and every slot's address among them."""

    payloads: Sequence[Any]  # bytes, or a runtime's reference to them
    addresses: Mapping[Key, Address]  # of the slots of the round to come
    judged: Mapping[Key, Address]  # of those of the round that is over; before the first, of all as they will begin
    seconds: float  # that it took to make


class Step(NamedTuple):
    """A server step's report: a row an update, a cluster and a layer, labels of all known slots, seconds."""

    updates: list[dict[str, Any]]
    clusters: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    labels: dict[Key, int]
    heard: dict[Key, int]  # the round in which each of them last sent
    noise: int  # updates that the clusterer left out
    conflicts: int  # pairs of one client's slots that it put together
    churn: float  # share of the slots known before that are in another cluster now
    refused: list[LeftOut]  # what came and is not merged
    seconds_encode: float  # to open and to look at what came
    seconds_cluster: float
    seconds_merge: float
    seconds_record: float  # to describe what was found


def parcels(sent: Iterable[tuple[int, Sequence[bytes]]]) -> list[Parcel]:
    """Of clients and what each sent."""
    return [Parcel(client, payload) for client, payloads in sent for payload in payloads]


def shape_name(classes: int, columns: int) -> str:
    """The name of a head's shape."""
    return f"{classes}x{columns}"
