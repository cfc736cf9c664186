"""What the server is told, what it knows after a round, and what it hands out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fltac.config import Clustering, Exchange, Faults, Merging, Similarity
from fltac.errors import InputError, Problem
from fltac.records.left_out import LeftOut
from fltac.server.tracking import Stay
from fltac.timeline import ALWAYS, Spans, during
from fltac.wire.messages import AdapterSpec, WireError

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


def dump(state: State, spec: AdapterSpec, whole: bool = True) -> dict[str, bytes]:
    """The state as files: `cluster-N.safetensors` each, and, where it is wanted whole, `server.safetensors` for the
    rest."""
    clusters = {n: _dump_cluster(cluster, spec) for n, cluster in state.clusters.items() if n != START}
    files = {f"cluster-{n}.safetensors": content for n, content in clusters.items()}
    return files | {"server.safetensors": _dump_rest(state, spec)} if whole else files


def _dump_rest(state: State, spec: AdapterSpec) -> bytes:
    keys = sorted(state.labels)
    adapters = np.array([state.adapters[key] for key in keys], dtype=np.float32)
    tensors: dict[str, np.ndarray] = {
        "keys": np.array(keys, dtype=np.int64).reshape(-1, 2),
        "labels": np.array([state.labels[key] for key in keys], dtype=np.int64),
        "heard": np.array([state.heard[key] for key in keys], dtype=np.int64),
        "adapters": adapters.reshape(-1, spec.size),
        "stays": np.array([state.stays[key] for key in keys], dtype=np.int64).reshape(-1, 3),
    }
    tensors |= {f"late-{n}": np.frombuffer(parcel.payload, np.uint8) for n, parcel in enumerate(state.late)}
    tensors["late"] = np.array([parcel.sender for parcel in state.late], dtype=np.int64)
    if state.since:
        tensors["since"] = np.array([state.since[key] for key in keys], dtype=np.float32)
    header = {"round": state.round, "next_id": state.next_id, "spec": spec.fingerprint.hex()}
    # one entry of metadata, since safetensors writes several in no fixed order
    return bytes(save_tensors(tensors, {"state": json.dumps(header)}))


def load(files: Mapping[str, bytes], setup: Setup) -> State:
    """The state that `dump` wrote. Raises WireError where it is none, or of another run's shape."""
    try:
        return _load(files, setup)
    except WireError:
        raise
    except (ArithmeticError, LookupError, RecursionError, SafetensorError, TypeError, ValueError) as error:
        raise WireError(f"the checkpoint holds no state of a server ({type(error).__name__}: {error})") from error


def require_fitting(files: Mapping[str, bytes], spec: AdapterSpec, experiment: Path) -> None:
    """Raises InputError where there are files, of adapters of another shape than the experiment has by now."""
    if files and _header(files)["spec"] != spec.fingerprint.hex():
        what = "has adapters of another shape than the last round left; undo what was changed in it, or begin a new run"
        raise InputError(Problem("", what), str(experiment))


def _header(files: Mapping[str, bytes]) -> dict[str, Any]:
    content = files["server.safetensors"]
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return dict(json.loads(metadata["state"]))


def _load(files: Mapping[str, bytes], setup: Setup) -> State:
    header = _header(files)
    if header["spec"] != setup.spec.fingerprint.hex():
        raise WireError("the checkpoint holds adapters of another shape than the experiment's")
    tensors = load_tensors(files["server.safetensors"])
    for name in {"adapters", "since"} & tensors.keys():
        _require_shape(tensors[name], (len(tensors["keys"]), setup.spec.size))
    keys = [(int(client), int(slot)) for client, slot in tensors["keys"]]
    clusters = {
        int(name.removeprefix("cluster-").removesuffix(".safetensors")): load_cluster(tensor, setup.spec)
        for name, tensor in files.items()
        if name.startswith("cluster-")
    }
    labels = dict(zip(keys, tensors["labels"].tolist(), strict=True))
    adapters = dict(zip(keys, tensors["adapters"], strict=True))
    since = dict(zip(keys, tensors["since"], strict=True)) if "since" in tensors else {}
    stays = {key: Stay(*row) for key, row in zip(keys, tensors["stays"].tolist(), strict=True)}
    heard = dict(zip(keys, tensors["heard"].tolist(), strict=True))
    clusters[START] = setup.v0
    late = tuple(Parcel(client, tensors[f"late-{n}"].tobytes()) for n, client in enumerate(tensors["late"].tolist()))
    return State(header["round"], clusters, labels, adapters, since, header["next_id"], heard, stays, late)


def _dump_cluster(cluster: Cluster, spec: AdapterSpec) -> bytes:
    tensors = {f"head.{name}": head for name, head in cluster.heads.items()}
    tensors |= spec.named(cluster.adapter)
    return save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def _require_shape(tensor: np.ndarray, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise WireError(f"the checkpoint holds an adapter of {tensor.dtype} {tensor.shape}, where this run has {shape}")


def load_cluster(content: bytes, spec: AdapterSpec) -> Cluster:
    """A cluster that `dump` wrote."""
    tensors = load_tensors(content)
    adapter = np.empty(spec.size, dtype=np.float32)
    for name, view in spec.named(adapter).items():
        _require_shape(tensors[name], view.shape)  # which assignment would stretch
        view[...] = tensors[name]
    heads = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name.startswith("head.")}
    return Cluster(adapter, heads)
