"""The server's step as a pure function: this round's payloads and a state in, the next state and a report out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from threadpoolctl import threadpool_limits

from fltac.config import Each, Exchange, Flat, Hdbscan, Kmeans, Mean, Oracle, Product, Single
from fltac.seeds import generator
from fltac.server.clustering import CLUSTERERS, Found, Hints
from fltac.server.merging import MERGERS, aggregation_error, mean
from fltac.server.similarity import SIMILARITIES, plane
from fltac.server.tracking import identify, settle_noise
from fltac.wire.codecs import WireError, decode, encode
from fltac.wire.messages import AdapterSpec, Broadcast, Head, Update

Key = tuple[int, int]  # (client, slot)
START = -1  # the cluster of slots that were never heard of: v0


@dataclass(frozen=True)
class Setup:
    """All that the server is told. `told` (slot -> task) is empty but for the openly informed bars (see `is_told`)."""

    seed: int
    spec: AdapterSpec
    start: np.ndarray  # (p,) v0
    start_heads: Mapping[str, np.ndarray]  # by shape, see `shape_name`
    registry: Mapping[Key, str]  # every slot there is -> the shape of its head
    exchange: Exchange
    similarity: Flat | Product
    clustering: Hdbscan | Kmeans | Single | Each | Oracle
    merging: Mean
    down: str
    number_of_tasks: int = 0
    told: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """What the members of a cluster share: one adapter, and one head a shape (a task, where one adapter is shared)."""

    adapter: np.ndarray  # (p,)
    heads: Mapping[str, np.ndarray]  # name -> (classes, width + 1)


@dataclass(frozen=True)
class State:
    """What the server knows after a round."""

    round: int
    clusters: Mapping[int, Cluster]
    labels: Mapping[Key, int]  # every slot ever heard of -> its cluster
    adapters: Mapping[Key, np.ndarray]  # and the last adapter it sent, so that the absent still count
    next_id: int


class Address(NamedTuple):
    """Where the slot's adapter and head lie in a `Post`; equal `same` means equal adapter and head."""

    payload: int
    head: int  # -1: the head never left the client
    cluster: int
    same: str


class Post(NamedTuple):
    """What the server would send now: distinct payloads, and every slot's address among them."""

    payloads: Sequence[Any]  # bytes, or a runtime's reference to them
    addresses: Mapping[Key, Address]


class Step(NamedTuple):
    """A server step's report: a row an update and a row a cluster, labels of all known slots, seconds."""

    updates: list[dict[str, Any]]
    clusters: list[dict[str, Any]]
    labels: dict[Key, int]
    noise: int
    seconds_cluster: float
    seconds_merge: float


def shape_name(classes: int, columns: int) -> str:
    return f"{classes}x{columns}"


class Aggregator:
    """Clusters a round's adapters and merges inside the clusters. Holds no state of its own: `step` maps states."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def start(self) -> State:
        """Before the first round every slot is at v0."""
        return State(0, {START: self._v0()}, {}, {}, 0)

    def step(self, state: State, payloads: Sequence[bytes]) -> tuple[State, Step]:
        """Similarity -> clustering -> tracking -> merging of the updates of round `state.round + 1`.

        Every slot's last known adapter is clustered, those of absent slots too; only this round's are merged. The
        order of the payloads says nothing. Raises WireError for a payload that is no update of this run and round.
        """
        with threadpool_limits(1):  # the same sums in the same order on every machine of a kind
            updates = sorted(self._decoded(state, payloads), key=lambda update: update.key)
            began = time.perf_counter()
            known = {**state.adapters, **{update.key: update.adapter for update in updates}}
            keys = sorted(known)
            points = SIMILARITIES[self.setup.similarity.type](np.stack([known[key] for key in keys]), self.setup.spec)
            found, labels = self._labels(state, keys, points)
            ids, events, next_id = identify(dict(zip(keys, labels.tolist(), strict=True)), state.labels, state.next_id)
            clustered = time.perf_counter()
            clusters = {START: state.clusters[START]}
            rows = []
            for cluster in sorted(set(ids.values()) | set(events)):
                mask = np.array([ids[key] == cluster for key in keys])
                members = [update for update in updates if ids[update.key] == cluster]
                came = [state.labels[key] for key in keys if ids[key] == cluster and key in state.labels]
                origin = cluster if cluster in state.clusters else came[0] if came else None
                before = None if origin is None else state.clusters[origin]  # a new one begins with what its first had
                row: dict[str, Any] = {"cluster": cluster, "size": int(mask.sum()), "event": events[cluster]}
                row["persistence"] = _persistence(found, labels[mask])
                row["spread"] = _spread(points[mask])
                row["aggregation_error"] = None
                if members:
                    clusters[cluster], row["aggregation_error"] = self._merged(members, before)
                elif before and mask.any():  # only absent slots: they keep what they had
                    clusters[cluster] = before
                rows.append(row)
            merged = time.perf_counter()
            xy = plane(points)
        present = {update.key for update in updates}
        update_rows = [
            {
                "client": key[0],
                "slot": key[1],
                "cluster": ids[key],
                "is_noise": bool(found.labels[i] < 0),
                "norm": float(np.linalg.norm(known[key])),
                "x": float(xy[i, 0]),
                "y": float(xy[i, 1]),
            }
            for i, key in enumerate(keys)
            if key in present
        ]
        report = Step(update_rows, rows, ids, int((found.labels < 0).sum()), clustered - began, merged - clustered)
        return State(state.round + 1, clusters, ids, known, next_id), report

    def post(self, state: State) -> Post:
        """What each registered slot would be sent at the start of round `state.round + 1`, encoded once a content."""
        payloads: list[bytes] = []
        addresses: dict[Key, Address] = {}
        if self.setup.exchange.adapters == "shared":
            for client in sorted({key[0] for key in self.setup.registry}):
                cluster = state.labels.get((client, 0), START)
                slots = [key for key in sorted(self.setup.registry) if key[0] == client]
                heads = [self._head(state, cluster, key) for key in slots]
                for key in slots:
                    same = f"{cluster}/{self.setup.told[key]}"
                    addresses[key] = Address(len(payloads), key[1], cluster, same)
                payloads.append(self._encoded(state, cluster, heads))
            return Post(payloads, addresses)
        local = self.setup.exchange.heads == "local"
        index: dict[str, int] = {}
        for key in sorted(self.setup.registry):
            cluster = state.labels.get(key, START)
            same = f"{cluster}/{self.setup.registry[key]}"
            if same not in index:
                index[same] = len(payloads)
                payloads.append(self._encoded(state, cluster, [] if local else [self._head(state, cluster, key)]))
            addresses[key] = Address(index[same], -1 if local else 0, cluster, same)
        return Post(payloads, addresses)

    def dump(self, state: State) -> dict[str, bytes]:
        """The state as files: `cluster-N.safetensors` each, and `server.safetensors` for the rest."""
        files = {f"cluster-{n}": self._dump_cluster(cluster) for n, cluster in state.clusters.items() if n != START}
        keys = sorted(state.labels)
        tensors: dict[str, np.ndarray] = {
            "keys": np.array(keys, dtype=np.int64).reshape(-1, 2),
            "labels": np.array([state.labels[key] for key in keys], dtype=np.int64),
            "adapters": np.array([state.adapters[key] for key in keys], dtype=np.float32).reshape(
                -1, self.setup.spec.size
            ),
        }
        header = {"round": state.round, "next_id": state.next_id, "spec": self.setup.spec.fingerprint.hex()}
        # one entry of metadata, since safetensors writes several in no fixed order
        files["server"] = save_tensors(tensors, {"state": json.dumps(header)})
        return {f"{name}.safetensors": content for name, content in files.items()}

    def load(self, files: Mapping[str, bytes]) -> State:
        """The state that `dump` wrote. Raises WireError where it is of another run's shape."""
        content = files["server.safetensors"]
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        header = json.loads(metadata["state"])
        if header["spec"] != self.setup.spec.fingerprint.hex():
            raise WireError("the checkpoint holds adapters of another shape than the experiment's")
        tensors = load_tensors(content)
        keys = [(int(client), int(slot)) for client, slot in tensors["keys"]]
        clusters = {START: self._v0()} | {
            int(name.removeprefix("cluster-").removesuffix(".safetensors")): self._load_cluster(tensor)
            for name, tensor in files.items()
            if name.startswith("cluster-")
        }
        labels = dict(zip(keys, tensors["labels"].tolist(), strict=True))
        adapters = dict(zip(keys, tensors["adapters"], strict=True))
        return State(header["round"], clusters, labels, adapters, header["next_id"])

    def _v0(self) -> Cluster:
        return Cluster(self.setup.start, self.setup.start_heads)

    def _decoded(self, state: State, payloads: Sequence[bytes]) -> list[Update]:
        updates = []
        for payload in payloads:
            update = decode(payload)
            spec = self.setup.spec
            if not isinstance(update, Update) or (update.spec, update.adapter.size) != (spec.fingerprint, spec.size):
                raise WireError("a payload that is no update of this run")
            if update.round != state.round + 1 or update.key not in self.setup.registry:
                raise WireError(f"an update of round {update.round}, slot {update.key}, in round {state.round + 1}")
            updates.append(update)
        if len({update.key for update in updates}) < len(updates):
            raise WireError(f"two updates of one slot in round {state.round + 1}")
        return updates

    def _labels(self, state: State, keys: list[Key], points: np.ndarray) -> tuple[Found, np.ndarray]:
        config = self.setup.clustering
        truths = [self.setup.told[key] for key in keys] if config.type == "oracle" else []
        hints = Hints(generator(self.setup.seed, "clustering", state.round + 1), truths, self.setup.number_of_tasks)
        found = CLUSTERERS[config.type](points, config, hints)
        if not isinstance(config, Hdbscan):
            return found, found.labels
        last = [state.labels.get(key) for key in keys]
        return found, settle_noise(points, found.labels, last, config.noise, config.noise_bound)

    def _merged(self, members: list[Update], before: Cluster | None) -> tuple[Cluster, float]:
        adapters = np.stack([update.adapter for update in members])
        examples = np.array([update.num_examples for update in members])
        merging = self.setup.merging
        adapter, weight = MERGERS[merging.type](adapters, examples, merging)
        groups: dict[str, list[Head]] = {}
        for update in members:
            for position, head in enumerate(update.heads):
                groups.setdefault(self._head_name((update.client, position), head), []).append(head)
        heads = dict(before.heads) if before else {}
        for name, group in groups.items():  # equal shapes only; a head is merged by its own task's examples
            counts = np.array(
                [head.num_examples if merging.weights == "examples" else 1 for head in group], dtype=float
            )
            heads[name] = mean(np.stack([head.matrix for head in group]), counts / counts.sum())
        return Cluster(adapter, heads), aggregation_error(adapters, adapter, weight, self.setup.spec)

    def _head_name(self, key: Key, head: Head) -> str:
        """By shape; where one adapter is shared, by the task that the baseline is told."""
        return self.setup.told[key] if self.setup.exchange.adapters == "shared" else shape_name(*head.matrix.shape)

    def _head(self, state: State, cluster: int, key: Key) -> Head:
        name = self.setup.told[key] if self.setup.exchange.adapters == "shared" else self.setup.registry[key]
        matrix = state.clusters[cluster].heads.get(name)
        return Head(self.setup.start_heads[self.setup.registry[key]] if matrix is None else matrix)

    def _encoded(self, state: State, cluster: int, heads: list[Head]) -> bytes:
        adapter = state.clusters[cluster].adapter
        return encode(Broadcast(state.round + 1, self.setup.spec.fingerprint, adapter, tuple(heads)), self.setup.down)

    def _dump_cluster(self, cluster: Cluster) -> bytes:
        tensors = {f"head.{name}": head for name, head in cluster.heads.items()}
        for layer, (a, b) in zip(self.setup.spec.layers, self.setup.spec.factors(cluster.adapter), strict=True):
            tensors |= {f"{layer.name}.lora_A": a, f"{layer.name}.lora_B": b}
        return save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})

    def _load_cluster(self, content: bytes) -> Cluster:
        tensors = load_tensors(content)
        names = [f"{layer.name}.lora_{factor}" for layer in self.setup.spec.layers for factor in "AB"]
        heads = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name.startswith("head.")}
        return Cluster(np.concatenate([tensors[name].ravel() for name in names]), heads)


def _persistence(found: Found, labels: np.ndarray) -> float | None:
    """Of the clusterer's own cluster behind a settled label."""
    return found.persistence.get(int(labels[0])) if len(labels) else None


def _spread(points: np.ndarray) -> float | None:
    """Mean distance of the members to their centroid, in the similarity's units."""
    return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean()) if len(points) else None
