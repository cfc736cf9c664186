"""The server's step as a pure function: this round's payloads and a state in, the next state and a report out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
from threadpoolctl import ThreadpoolController

from fltac.config import Settling
from fltac.seeds import generator
from fltac.server.choosing import first_clusters
from fltac.server.clustering import CLUSTERERS, Hints, warm_up
from fltac.server.comparing import compared
from fltac.server.diagnostics import Sight, churn, cluster_rows, update_rows
from fltac.server.evolution import layer_rows, sketches
from fltac.server.posting import post
from fltac.server.renewing import renewed
from fltac.server.screening import require_enough, taken, usual
from fltac.server.settling import conflicts, settle
from fltac.server.state import START, Key, Parcel, Post, Setup, State, Step
from fltac.server.tracking import hold, identify, known_by_number
from fltac.wire.codecs import decode
from fltac.wire.messages import Update


class Aggregator:
    """Clusters a round's adapters and merges inside the clusters. Holds no state of its own: `step` maps states."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @cached_property
    def _threads(self) -> ThreadpoolController:
        """Those of all libraries that a step computes with; to look for them takes as long as a small step."""
        warm_up(self.setup.clustering.type)  # it knows those that are there
        return ThreadpoolController()

    def warm_up(self) -> None:
        """Imports what a step computes with; `step` does it itself where nobody did before."""
        _ = self._threads

    def start(self) -> State:
        """Before the first round every slot is at v0."""
        clusters = first_clusters(self.setup)
        return State(0, {START: self.setup.v0, **clusters}, {}, {}, {}, len(clusters))

    def step(
        self, state: State, sent: Sequence[Parcel], late: Mapping[int, str] = MappingProxyType({})
    ) -> tuple[State, Step]:
        """Screening -> similarity -> clustering -> tracking -> merging of the updates of round `state.round + 1`.

        Every slot's last known adapter is clustered, those of absent slots too; only this round's are merged. The
        order of the parcels says nothing. Updates of clients that are `late` wait for the next step, where they count
        less, or are left out. Raises StoppedError where too few clients came through.
        """
        threads, came_in = self._threads, time.perf_counter()
        with threads.limit(limits=1):  # the same sums in the same order on every machine of a kind
            came, refused, kept = taken(self.setup, state, sent, late)
            compared = self.setup.similarity.of == "step"
            every = compared or self.setup.merging.weights == "agreement"
            sent_to = self._sent(state, [update for update in came if every or update.change])
            starts = self._starts(came, sent_to)
            updates, strange = usual(self.setup, [self._whole(update, starts.get(update.key)) for update in came])
            require_enough(self.setup, state.round + 1, updates, refused := refused + strange)
            known = {**state.adapters, **{update.key: update.adapter for update in updates}}
            since = {**state.since, **(starts if compared else {})}
            heard = {**state.heard, **{update.key: update.round for update in updates}}
            began = time.perf_counter()
            sight = self._sight(state, known, since, heard, updates)
            clustered = time.perf_counter()
            clusters, errors, shares = renewed(self.setup, state, updates, sight, sent_to)
            merged = time.perf_counter()
            start, spec = self.setup.start, self.setup.spec
            adapters = [update.adapter for update in updates]
            within = np.array([sight.ids[update.key] for update in updates])
            draw = generator(self.setup.seed, "layers", state.round + 1)
            report = Step(
                updates=update_rows(updates, sight, state.labels, sketches(adapters, start, spec), shares),
                clusters=cluster_rows(sight, errors, state.labels),
                layers=layer_rows(adapters, start, within, spec, draw),
                labels=sight.ids,
                heard=heard,
                noise=int((sight.found.labels < 0).sum()),
                conflicts=conflicts(sight.found.labels, [client for client, _ in sight.keys]),
                churn=churn(sight.ids, state.labels),
                refused=refused,
                seconds_encode=began - came_in,
                seconds_cluster=clustered - began,
                seconds_merge=merged - clustered,
                seconds_record=time.perf_counter() - merged,
            )
        state = State(state.round + 1, clusters, sight.ids, known, since, sight.next_id, heard, sight.stays, kept)
        return state, report

    def post(self, state: State) -> Post:
        """What is sent after a step, see `fltac.server.posting`."""
        return post(self.setup, state)

    def _sent(self, state: State, updates: Sequence[Update]) -> dict[Key, np.ndarray]:
        """What their slots were sent: as the wire rounded it, decoded once a payload."""
        if not updates:
            return {}
        post = self.post(state)
        addresses = dict(post.addresses)
        if self.setup.exchange.adapters == "shared":
            addresses |= {(client, 0): address for (client, _), address in post.addresses.items()}
        sent = {}
        for update in updates:
            address = addresses[update.key]
            sent[update.key] = address.menu[update.choice] if address.menu else address.payload
        adapters = {payload: self._arrived(post.payloads[payload]) for payload in set(sent.values())}
        return {key: adapters[payload] for key, payload in sent.items()}

    def _starts(self, updates: Sequence[Update], sent: Mapping[Key, np.ndarray]) -> dict[Key, np.ndarray]:
        """What those of them set out from of which it is known what they were sent: that, or anew from v0."""
        anew = {update.key for update in updates if update.afresh}
        v0 = self.setup.own_starts
        return {key: v0.get(key[0], self.setup.start) if key in anew else start for key, start in sent.items()}

    def _arrived(self, payload: bytes) -> np.ndarray:
        return self.setup.whole(decode(payload, self.setup.spec).adapter)

    def _whole(self, update: Update, start: np.ndarray | None) -> Update:
        """The update with a whole adapter (p,): a change is put on what the slot was sent, a frozen A beside its B."""
        if start is None or not update.change:
            return replace(update, adapter=self.setup.whole(update.adapter))
        return replace(update, adapter=self.setup.spec.moved(start, update.adapter), change=False)

    def _anew(self, state: State, update: Update) -> bool:
        """Whether the slot started from v0 though it was heard of before: by itself, or for another head."""
        before, now = (self.setup.slot(update.key, round) for round in (state.heard.get(update.key, 0), update.round))
        return update.afresh or (before is not None and now is not None and before.shape != now.shape)

    def _sight(
        self,
        state: State,
        known: Mapping[Key, np.ndarray],
        since: Mapping[Key, np.ndarray],
        heard: Mapping[Key, int],
        updates: Sequence[Update],
    ) -> Sight:
        setup, keys = self.setup, sorted(known)
        similarity, config = setup.similarity, setup.clustering
        now, before = [known[key] for key in keys], [since.get(key, setup.start) for key in keys]
        settled = isinstance(config, Settling)
        points, kin = compared(now, before, setup.spec, similarity, settled)
        told = [setup.slot(key, heard[key]) for key in keys] if config.type == "oracle" else []
        truths = [slot.task for slot in told if slot is not None]
        last = [state.labels.get(key) for key in keys]
        draw = generator(setup.seed, "clustering", state.round + 1)
        choices = {update.key: update.choice for update in updates}
        hints = Hints(draw, truths, setup.number_of_tasks, last, [choices.get(key, -1) for key in keys])
        found = CLUSTERERS[config.type](points, config, hints)
        labels = found.labels
        if isinstance(config, Settling) and kin is not None and not found.final:
            labels = settle(points, kin, labels, [client for client, _ in keys], last, config)
        ids, next_id = dict(zip(keys, labels.tolist(), strict=True)), state.next_id
        if found.final:
            events = known_by_number(ids, state.labels)
        else:
            ids, events, next_id = identify(ids, state.labels, next_id)
        patience = config.patience if isinstance(config, Settling) else 1
        anew = {update.key for update in updates if self._anew(state, update)}  # where they were says nothing
        stays = {key: stay for key, stay in state.stays.items() if key not in anew}
        ids, stays = hold(ids, state.labels, stays, patience)
        return Sight(keys, points, found, ids, events, next_id, stays)
