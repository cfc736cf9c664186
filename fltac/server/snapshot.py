"""The server's state as files, and back: what was forged is refused, so that the server goes on from nothing odd."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fltac.server.state import START, Cluster, Parcel, Setup, State, shape_name
from fltac.server.tracking import Stay
from fltac.wire.messages import AdapterSpec, WireError


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
    """The state that `dump` wrote. Raises WireError where it is none, of another run's shape, or no state a server of
    this run could be in."""
    try:
        state = _load(files, setup)
        _require_possible(state, setup)
    except WireError:
        raise
    except (ArithmeticError, LookupError, RecursionError, SafetensorError, TypeError, ValueError) as error:
        raise WireError(f"the checkpoint holds no state of a server ({type(error).__name__}: {error})") from error
    return state


def described(files: Mapping[str, bytes]) -> tuple[int, str]:
    """The round that a state is of, and the fingerprint of its adapters. Raises WireError where it is none."""
    try:
        header = _header(files)
        return int(header["round"]), str(header["spec"])
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise WireError(f"the checkpoint holds no state of a server ({type(error).__name__}: {error})") from error


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
    if len(set(keys)) < len(keys):
        raise WireError("the checkpoint holds a slot twice")
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
    return State(int(header["round"]), clusters, labels, adapters, since, int(header["next_id"]), heard, stays, late)


def _require_possible(state: State, setup: Setup) -> None:
    """Raises WireError for what no round leaves: slots of nobody, clusters that are not there, what is no number."""
    shared = setup.exchange.adapters == "shared"
    slots = {(client, 0) for client, _ in setup.registry} if shared else set(setup.registry)
    wrong: dict[str, set[Any]] = {
        "slots that this run does not have": state.labels.keys() - slots,
        "slots in clusters that are not there": set(state.labels.values()) - (state.clusters.keys() - {START}),
        "slots heard in rounds to come": {round for round in state.heard.values() if not 0 < round <= state.round},
    }
    for what, found in wrong.items():
        if found:
            raise WireError(f"the checkpoint holds {what}: {sorted(found)[:5]}")
    for cluster in state.clusters.values():
        for name, head in cluster.heads.items():
            shape = shape_name(*head.shape) if head.ndim == 2 else ""
            if head.dtype != np.float32 or shape not in setup.start_heads or (not shared and name != shape):
                raise WireError(f"the checkpoint holds a head {name} of {head.dtype} {head.shape}")
    if bool(state.since) != (setup.similarity.of == "step" and bool(state.labels)):
        raise WireError("the checkpoint holds what slots had been sent, or lacks it, unlike this run")
    clusters = [array for one in state.clusters.values() for array in (one.adapter, *one.heads.values())]
    if not all(np.isfinite(array).all() for array in (*clusters, *state.adapters.values(), *state.since.values())):
        raise WireError("the checkpoint holds numbers that are not finite")


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
