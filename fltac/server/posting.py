"""What the server sends: each slot's adapter and head, encoded once a content."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from fltac.config import parse_codec
from fltac.seeds import generator
from fltac.server.choosing import offered
from fltac.server.state import START, Address, Key, Post, Setup, Slot, State
from fltac.timeline import holding
from fltac.wire.codecs import encode, rounded, rounded_head
from fltac.wire.messages import Broadcast, Head


def post(setup: Setup, state: State) -> Post:
    """What each slot would be sent at the start of round `state.round + 1`.

    And what those of the round before would be sent, which are judged by it, where they are not the same.
    """
    began, office = time.perf_counter(), _Office(setup, state)
    coming, gone = (holding(setup.registry, round) for round in (state.round + 1, state.round))
    plain = office.addresses(coming)
    judged = plain if gone == coming else office.addresses(gone)
    addresses = office.with_menus(plain, coming)
    return Post(office.payloads, addresses, judged, time.perf_counter() - began)


def by_client(slots: Mapping[Key, Slot]) -> dict[int, dict[Key, Slot]]:
    """Each client's slots, in order."""
    clients: dict[int, dict[Key, Slot]] = {}
    for key in sorted(slots):
        clients.setdefault(key[0], {})[key] = slots[key]
    return clients


class _Office:
    """Makes payloads of one state, equal ones once.

    What a cluster is sent is rounded once, so that all its payloads hold the same adapter and heads.
    """

    def __init__(self, setup: Setup, state: State) -> None:
        self.setup, self.state, self.codec = setup, state, parse_codec(setup.down)
        self.payloads: list[bytes] = []
        self.places: dict[Hashable, int] = {}
        self.adapters: dict[tuple[int, ...], np.ndarray] = {}
        self.heads: dict[tuple[int, str, str], Head] = {}
        self.known = {key: setup.slot(key, round) for key, round in state.heard.items()}
        last_first = sorted(state.labels.items(), reverse=True)  # of equals the first slot's cluster
        self.by_task = {slot.task: label for key, label in last_first if (slot := self.known[key]) is not None}

    def addresses(self, slots: Mapping[Key, Slot]) -> dict[Key, Address]:
        """A payload for each content: the adapter of a slot's cluster, with a head of its shape where heads are merged.

        Where one adapter is shared, one a client: the adapter with a head for each of its slots.
        """
        local, found = self.setup.exchange.heads == "local", {}
        if self.setup.exchange.adapters == "shared":
            for client, own in by_client(slots).items():
                cluster = self._home((client, 0), next(iter(own.values())))
                place = self._place((client, 0), cluster, [(slot.task, slot.shape) for slot in own.values()])
                for position, (key, slot) in enumerate(own.items()):
                    found[key] = Address(place, position, cluster, f"{cluster}/{slot.task}")
            return found
        for key, slot in sorted(slots.items()):
            cluster = self._home(key, slot)
            same = f"{cluster}/{slot.shape}" + (f"/{key[0]}" if self._starts_alone(cluster) else "")
            place = self._place(key, cluster, [] if local else [(slot.shape, slot.shape)])
            found[key] = Address(place, -1 if local else 0, cluster, same)
        return found

    def with_menus(self, addresses: Mapping[Key, Address], slots: Mapping[Key, Slot]) -> dict[Key, Address]:
        """And what each client chooses from, where it does: a payload a cluster, with a head for each of its slots."""
        menu = offered(self.setup, self.state)
        if not menu:
            return dict(addresses)
        found, local = {}, self.setup.exchange.heads == "local"
        for own in by_client(slots).values():
            heads = [] if local else [(slot.shape, slot.shape) for slot in own.values()]
            places = tuple(self._place(next(iter(own)), cluster, heads) for cluster in menu)
            found.update({key: addresses[key]._replace(menu=places) for key in own})
        return found

    def _home(self, key: Key, slot: Slot) -> int:
        """The slot's cluster; v0 if the server never heard of it, unless the method knows where it belongs anyway.

        Nor has it heard of a slot that asks for a head of another shape: what it holds is new.
        """
        labels = self.state.labels
        if self.setup.clustering.type == "oracle":
            return self.by_task.get(slot.task, START)
        if self.setup.clustering.type == "single":
            return labels.get(key, min(labels.values(), default=START))
        known = self.known.get(key)
        return START if known is None or known.shape != slot.shape else labels[key]

    def _place(self, key: Key, cluster: int, heads: Sequence[tuple[str, str]]) -> int:
        """Where the payload is that the slot is sent of a cluster, with heads by name and shape."""
        whole = not self.setup.frozen or key not in self.state.labels  # a frozen A comes with its first download alone
        alone = key[0] if self._starts_alone(cluster) else None
        content = cluster, tuple(heads), whole, alone
        if content not in self.places:
            self.places[content] = len(self.payloads)
            adapter, spec = self._adapter(cluster, alone), self.setup.spec
            sent = adapter if whole else spec.only_b(adapter)
            matrices = tuple(self._head(cluster, name, shape) for name, shape in heads)
            broadcast = Broadcast(self.state.round + 1, spec.fingerprint, sent, matrices)
            self.payloads.append(encode(broadcast, self.codec, spec, None))
        return self.places[content]

    def _adapter(self, cluster: int, alone: int | None) -> np.ndarray:
        """What is sent of a cluster's adapter (p,), or of the v0 of one client's own."""
        who = (cluster,) if alone is None else (cluster, alone)
        if who not in self.adapters:
            exact = self.state.clusters[cluster].adapter if alone is None else self.setup.own_starts[alone]
            draw = generator(self.setup.seed, "wire", "down", self.state.round + 1, "adapter", *who)
            self.adapters[who] = rounded(exact, self.codec, self.setup.spec, draw)
        return self.adapters[who]

    def _head(self, cluster: int, name: str, shape: str) -> Head:
        what = cluster, name, shape
        if what not in self.heads:
            matrix = self.state.clusters[cluster].heads.get(name)
            exact = self.setup.start_heads[shape] if matrix is None else matrix
            draw = generator(self.setup.seed, "wire", "down", self.state.round + 1, "head", *what)
            self.heads[what] = Head(rounded_head(exact, self.codec, draw))
        return self.heads[what]

    def _starts_alone(self, cluster: int) -> bool:
        return cluster == START and bool(self.setup.own_starts)
