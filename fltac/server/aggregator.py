"""The server's step as a pure function: this round's payloads and a state in, the next state and a report out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from fltac.config import Settling
from fltac.seeds import generator
from fltac.server.choosing import first_clusters
from fltac.server.clustering import CLUSTERERS, Hints, warm_up
from fltac.server.diagnostics import Sight, churn, cluster_rows, update_rows
from fltac.server.merging import MERGERS, aggregation_error, mean, weights
from fltac.server.settling import conflicts, settle
from fltac.server.similarity import SIMILARITIES
from fltac.server.state import START, Address, Cluster, Key, Post, Setup, State, Step, shape_name
from fltac.server.tracking import hold, identify, known_by_number
from fltac.wire.codecs import WireError, decode, encode
from fltac.wire.messages import Broadcast, Head, Update


class Aggregator:
    """Clusters a round's adapters and merges inside the clusters. Holds no state of its own: `step` maps states."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def warm_up(self) -> None:
        """Imports what a step computes with; `step` does it itself where nobody did before."""
        warm_up(self.setup.clustering.type)

    def start(self) -> State:
        """Before the first round every slot is at v0."""
        clusters = first_clusters(self.setup)
        return State(0, {START: self.setup.v0, **clusters}, {}, {}, {}, len(clusters))

    def step(self, state: State, payloads: Sequence[bytes]) -> tuple[State, Step]:
        """Similarity -> clustering -> tracking -> merging of the updates of round `state.round + 1`.

        Every slot's last known adapter is clustered, those of absent slots too; only this round's are merged. The
        order of the payloads says nothing. Raises WireError for a payload that is no update of this run and round.
        """
        self.warm_up()  # thread limits hold only for libraries that are there when they are set
        with threadpool_limits(1):  # the same sums in the same order on every machine of a kind
            updates = sorted(self._decoded(state, payloads), key=lambda update: update.key)
            known = {**state.adapters, **{update.key: update.adapter for update in updates}}
            since = {**state.since, **self._sent(state, updates)}
            began = time.perf_counter()
            sight = self._sight(state, known, since, {update.key: update.choice for update in updates})
            clustered = time.perf_counter()
            clusters, errors = self._merged(state, updates, sight)
            merged = time.perf_counter()
            report = Step(
                updates=update_rows(updates, sight, state.labels),
                clusters=cluster_rows(sight, errors, state.labels),
                labels=sight.ids,
                noise=int((sight.found.labels < 0).sum()),
                conflicts=conflicts(sight.found.labels, [client for client, _ in sight.keys]),
                churn=churn(sight.ids, state.labels),
                seconds_cluster=clustered - began,
                seconds_merge=merged - clustered,
            )
        return State(state.round + 1, clusters, sight.ids, known, since, sight.next_id, sight.stays), report

    def post(self, state: State) -> Post:
        """What each registered slot would be sent at the start of round `state.round + 1`, encoded once a content."""
        if self.setup.exchange.adapters == "shared":
            return self._shared_post(state)
        local = self.setup.exchange.heads == "local"
        payloads: list[bytes] = []
        addresses: dict[Key, Address] = {}
        index: dict[tuple[str, bool], int] = {}
        for key in sorted(self.setup.registry):
            cluster = self._home(state, key)
            same = f"{cluster}/{self.setup.registry[key]}" + (f"/{key[0]}" if self._starts_alone(cluster) else "")
            content = same, self._whole(state, key)
            if content not in index:
                index[content] = len(payloads)
                payloads.append(self._encoded(state, key, cluster, [] if local else [key]))
            addresses[key] = Address(index[content], -1 if local else 0, cluster, same)
        return self._with_menus(state, Post(payloads, addresses))

    def _with_menus(self, state: State, post: Post) -> Post:
        """And what each client chooses from, where it does: a payload a cluster, with a head for each of its slots."""
        local, offered = self.setup.exchange.heads == "local", self._offered(state)
        if not offered:
            return post
        payloads, addresses = list(post.payloads), dict(post.addresses)
        menus: dict[tuple[bool, tuple[str, ...]], tuple[int, ...]] = {}
        for client in sorted({key[0] for key in self.setup.registry}):
            slots = [key for key in sorted(self.setup.registry) if key[0] == client]
            content = self._whole(state, slots[0]), tuple(self.setup.registry[key] for key in slots)
            if content not in menus:
                menus[content] = tuple(range(len(payloads), len(payloads) + len(offered)))
                payloads += [self._encoded(state, slots[0], cluster, [] if local else slots) for cluster in offered]
            addresses |= {key: addresses[key]._replace(menu=menus[content]) for key in slots}
        return Post(payloads, addresses)

    def _offered(self, state: State) -> list[int]:
        """The clusters that clients choose from; empty where the server clusters."""
        return sorted(set(state.clusters) - {START}) if self.setup.clustering.type == "ifca" else []

    def _shared_post(self, state: State) -> Post:
        """One payload a client: the shared adapter, and a head for each of its slots."""
        payloads: list[bytes] = []
        addresses: dict[Key, Address] = {}
        for client in sorted({key[0] for key in self.setup.registry}):
            cluster = self._home(state, (client, 0))
            slots = [key for key in sorted(self.setup.registry) if key[0] == client]
            for key in slots:
                addresses[key] = Address(len(payloads), key[1], cluster, f"{cluster}/{self.setup.told[key]}")
            payloads.append(self._encoded(state, (client, 0), cluster, slots))
        return Post(payloads, addresses)

    def _home(self, state: State, key: Key) -> int:
        """The slot's cluster; v0 if the server never heard of it, unless the method knows where it belongs anyway."""
        if key in state.labels:
            return state.labels[key]
        if self.setup.clustering.type == "single":
            return min(state.labels.values(), default=START)
        if self.setup.clustering.type == "oracle":
            task = self.setup.told[key]
            return next((label for other, label in state.labels.items() if self.setup.told[other] == task), START)
        return START

    def _decoded(self, state: State, payloads: Sequence[bytes]) -> list[Update]:
        updates, spec = [], self.setup.spec
        size = spec.size_b if self._frozen else spec.size
        choices = self._offered(state) or [-1]
        for payload in payloads:
            update = decode(payload)
            if not isinstance(update, Update) or (update.spec, update.adapter.size) != (spec.fingerprint, size):
                raise WireError("a payload that is no update of this run")
            if update.round != state.round + 1 or update.key not in self.setup.registry:
                raise WireError(f"an update of round {update.round}, slot {update.key}, in round {state.round + 1}")
            if update.choice not in choices:
                raise WireError(f"slot {update.key} chose cluster {update.choice}, which is none of {choices}")
            updates.append(replace(update, adapter=self._with_a(update.adapter)))
        if len({update.key for update in updates}) < len(updates):
            raise WireError(f"two updates of one slot in round {state.round + 1}")
        return updates

    def _sent(self, state: State, updates: Sequence[Update]) -> dict[Key, np.ndarray]:
        """What the updates set out from, where steps are compared: as the wire rounded it, decoded once a payload."""
        if self.setup.similarity.of == "adapter":
            return {}
        post = self.post(state)
        sent = {}
        for update in updates:
            address = post.addresses[update.key]
            sent[update.key] = address.menu[update.choice] if address.menu else address.payload
        adapters = {index: self._with_a(decode(post.payloads[index]).adapter) for index in set(sent.values())}
        return {key: adapters[payload] for key, payload in sent.items()}

    def _sight(
        self,
        state: State,
        known: Mapping[Key, np.ndarray],
        since: Mapping[Key, np.ndarray],
        choices: Mapping[Key, int],
    ) -> Sight:
        setup, keys = self.setup, sorted(known)
        similarity, config = setup.similarity, setup.clustering
        now = np.stack([known[key] for key in keys])
        before = np.stack([since[key] for key in keys]) if since else np.broadcast_to(setup.start, now.shape)
        points = SIMILARITIES[similarity.type](now, before, setup.spec, similarity)
        truths = [setup.told[key] for key in keys] if config.type == "oracle" else []
        last = [state.labels.get(key) for key in keys]
        draw = generator(setup.seed, "clustering", state.round + 1)
        hints = Hints(draw, truths, setup.number_of_tasks, last, [choices.get(key, -1) for key in keys])
        found = CLUSTERERS[config.type](points, config, hints)
        labels = found.labels
        if isinstance(config, Settling) and not found.final:
            labels = settle(points, labels, [client for client, _ in keys], last, config)
        ids, next_id = dict(zip(keys, labels.tolist(), strict=True)), state.next_id
        if found.final:
            events = known_by_number(ids, state.labels)
        else:
            ids, events, next_id = identify(ids, state.labels, next_id)
        patience = config.patience if isinstance(config, Settling) else 1
        ids, stays = hold(ids, state.labels, state.stays, patience)
        return Sight(keys, points, found, ids, events, next_id, stays)

    def _merged(
        self, state: State, updates: Sequence[Update], sight: Sight
    ) -> tuple[dict[int, Cluster], dict[int, float]]:
        """The clusters of this round, v0 among them, and the aggregation error of those that were merged."""
        clusters = dict(state.clusters) if sight.found.final else {START: state.clusters[START]}
        errors = {}
        for cluster in sorted(set(sight.ids.values())):
            members = [update for update in updates if sight.ids[update.key] == cluster]
            came = [state.labels[key] for key, one in sight.ids.items() if one == cluster and key in state.labels]
            origin = cluster if cluster in state.clusters else came[0] if came else START
            before = state.clusters[origin]  # a new cluster begins with what its first known member had
            if members:
                clusters[cluster], errors[cluster] = self._merge(members, {} if origin == START else before.heads)
            else:  # only absent slots: they keep what they had
                clusters[cluster] = before
        return clusters, errors

    def _merge(self, members: Sequence[Update], old_heads: Mapping[str, np.ndarray]) -> tuple[Cluster, float]:
        adapters = np.stack([update.adapter for update in members])
        examples = np.array([update.num_examples for update in members])
        merging = self.setup.merging
        weight = weights(examples, merging.weights)
        adapter = MERGERS[merging.type](adapters, weight, self.setup.spec)
        groups: dict[str, list[Head]] = {}
        for update in members:
            for position, head in enumerate(update.heads):
                groups.setdefault(self._head_name((update.client, position), head), []).append(head)
        heads = dict(old_heads)
        for name, group in groups.items():  # equal shapes only; a head is merged by its own task's examples
            counts = np.array([head.num_examples if merging.weights == "examples" else 1.0 for head in group])
            heads[name] = mean(np.stack([head.matrix for head in group]), counts / counts.sum())
        return Cluster(adapter, heads), aggregation_error(adapters, adapter, weight, self.setup.spec)

    def _head_name(self, key: Key, head: Head) -> str:
        """By shape; where one adapter is shared, by the task that the baseline is told."""
        return self.setup.told[key] if self.setup.exchange.adapters == "shared" else shape_name(*head.matrix.shape)

    def _head(self, state: State, cluster: int, key: Key) -> Head:
        name = self.setup.told[key] if self.setup.exchange.adapters == "shared" else self.setup.registry[key]
        matrix = state.clusters[cluster].heads.get(name)
        return Head(self.setup.start_heads[self.setup.registry[key]] if matrix is None else matrix)

    @property
    def _frozen(self) -> bool:
        """A is v0's for ever and only B is learned."""
        return self.setup.exchange.factors == "b"

    def _whole(self, state: State, key: Key) -> bool:
        """Whether the slot is sent A and B: a frozen A comes with its first download alone."""
        return not self._frozen or key not in state.labels

    def _with_a(self, adapter: np.ndarray) -> np.ndarray:
        """What travelled as an adapter (p,)."""
        return adapter if adapter.size == self.setup.spec.size else self.setup.spec.with_b(self.setup.start, adapter)

    def _starts_alone(self, cluster: int) -> bool:
        return cluster == START and bool(self.setup.own_starts)

    def _adapter(self, state: State, key: Key, cluster: int) -> np.ndarray:
        """What the slot is sent of a cluster."""
        return self.setup.own_starts[key[0]] if self._starts_alone(cluster) else state.clusters[cluster].adapter

    def _encoded(self, state: State, key: Key, cluster: int, head_of: Sequence[Key]) -> bytes:
        """A cluster's adapter, as the slot `key` is sent it, and its heads for some slots."""
        spec, adapter = self.setup.spec, self._adapter(state, key, cluster)
        sent = adapter if self._whole(state, key) else spec.only_b(adapter)
        heads = tuple(self._head(state, cluster, one) for one in head_of)
        broadcast = Broadcast(state.round + 1, spec.fingerprint, sent, heads)
        return encode(broadcast, self.setup.down)
