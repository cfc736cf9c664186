"""A checkpoint that was damaged is torn; a forged one, whose sums are right, is torn, refused or a server's state."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fltac.config import Each, Exchange, Flat, Mean
from fltac.errors import InputError
from fltac.records.checkpoint import MANIFEST, SCHEMA, TOLD, TornError, read_checkpoint, write_checkpoint
from fltac.server.snapshot import dump, load
from fltac.server.state import Cluster, Setup, Slot, State
from fltac.server.tracking import Stay
from fltac.wire.messages import AdapterSpec, Layer, WireError

SPEC = AdapterSpec((Layer("query", 3, 4), Layer("value", 2, 4)), rank=2, scale=2.0)
KEYS = [(0, 0), (0, 1), (5, 0)]
LINES = [dict.fromkeys(TOLD, 0) | {"round": round, "alerts": []} for round in (1, 2)]
STATES = {5: {"head-0": np.ones((2, 4), np.float32)}}


def numbers(seed):
    return np.random.default_rng(seed).normal(size=SPEC.size).astype(np.float32)


SETUP = Setup(
    seed=0, spec=SPEC, start=numbers(9), start_heads={"2x4": np.zeros((2, 4), np.float32)},
    registry={key: [Slot("2x4")] for key in KEYS},
    exchange=Exchange(), similarity=Flat(type="flat"),
    clustering=Each(type="each"), merging=Mean(type="mean"), down="float32",
)  # fmt: skip
STATE = State(
    round=2,
    clusters={n: Cluster(numbers(n), {"2x4": np.ones((2, 4), np.float32)}) for n in (0, 1)},
    labels=dict(zip(KEYS, (0, 1, 0), strict=True)),
    adapters={key: numbers(n) for n, key in enumerate(KEYS)},
    since={},
    next_id=2,
    heard=dict.fromkeys(KEYS, 2),
    stays=dict.fromkeys(KEYS, Stay(*[0] * len(Stay._fields))),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint, and its files as they were written."""
    folder = tmp_path_factory.mktemp("fuzz") / "round-0002"
    write_checkpoint(folder, LINES, dump(STATE, SPEC), STATES)
    return folder, {file.name: file.read_bytes() for file in folder.iterdir()}


def changed(content, data):
    """Bytes set, cut, put in, or all of them another file's idea."""
    broken = bytearray(content)
    kind = data.draw(st.sampled_from(["set", "cut", "more", "json", "noise"]))
    if kind == "set":
        for at in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=4)):
            broken[at] = data.draw(st.integers(0, 255))
    elif kind == "cut":
        del broken[data.draw(st.integers(0, len(broken) - 1)) :]
    elif kind == "more":
        at = data.draw(st.integers(0, len(broken)))
        broken[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    elif kind == "json":
        words = st.sampled_from(["round", "schema", "sha256", "__metadata__", "adapters", "F32", "", "5/head-0"])
        plain = st.none() | st.booleans() | st.integers() | st.floats() | words
        nested = st.recursive(plain, lambda one: st.lists(one, max_size=3) | st.dictionaries(words, one))
        broken = bytearray(json.dumps(data.draw(nested)).encode())
    else:
        broken = bytearray(data.draw(st.binary(max_size=80)))
    return bytes(broken)


def restored(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


@settings(max_examples=80)
@given(st.data())
def test_a_damaged_checkpoint_is_torn(whole, data):
    folder, files = whole
    name = data.draw(st.sampled_from(sorted(files)))
    broken = changed(files[name], data)
    restored(folder, files)
    (folder / name).write_bytes(broken)
    try:
        found, lines = read_checkpoint(folder)
    except (TornError, InputError):
        assert broken != files[name]
        return
    assert lines == LINES  # of a manifest that says the same in other words
    assert found.files == {one: files[one] for one in files if one.endswith(".safetensors")} or name == MANIFEST
    assert name == MANIFEST or broken == files[name]


@settings(max_examples=120)
@given(st.data())
def test_a_forged_checkpoint_is_refused_or_a_state_of_this_shape(whole, data):
    folder, files = whole
    name = data.draw(st.sampled_from([*sorted(set(files) - {MANIFEST}), "server.safetensors"]))
    forged = files | {name: changed(files[name], data)}
    sums = {one: hashlib.sha256(content).hexdigest() for one, content in forged.items() if one != MANIFEST}
    restored(folder, forged | {MANIFEST: json.dumps({"schema": SCHEMA, "sha256": sums}).encode()})
    try:
        found, _ = read_checkpoint(folder)
        state = load(found.files, SETUP)
    except (TornError, InputError, WireError):
        return
    assert {adapter.shape for adapter in state.adapters.values()} <= {(SPEC.size,)}
    assert {cluster.adapter.shape for cluster in state.clusters.values()} == {(SPEC.size,)}
    assert state.labels.keys() == state.adapters.keys() == state.heard.keys()


def test_what_was_written_is_read(whole):
    folder, files = whole
    restored(folder, files)
    found, lines = read_checkpoint(folder)
    assert (found.round, lines) == (2, LINES)
    assert load(found.files, SETUP).labels == STATE.labels


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b'{"schema": Infinity, "sha256": {}}',
        b'{"schema": 1, "sha256": {"../../provenance.json": ""}}',
        b'{"schema": 1, "sha256": []}',
        b'{"schema": 1, "sha256": {}}',
    ],
)
def test_a_hostile_manifest_is_torn(whole, manifest):
    folder, files = whole
    restored(folder, files | {MANIFEST: manifest})
    with pytest.raises(TornError):
        read_checkpoint(folder)


def test_a_link_is_not_followed(whole):
    """It might lead to what never ends."""
    folder, files = whole
    restored(folder, files)
    (folder / "cluster-0.safetensors").unlink()
    (folder / "cluster-0.safetensors").symlink_to("/dev/zero")
    try:
        with pytest.raises(TornError, match="lies elsewhere"):
            read_checkpoint(folder)
    finally:
        (folder / "cluster-0.safetensors").unlink()


def test_a_length_beyond_the_file_takes_no_memory():
    """A tensor of 2^60 bytes, by its header; and a header of 2^62."""
    server = dump(STATE, SPEC)
    header = json.dumps({"adapters": {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}}).encode()
    for content in (len(header).to_bytes(8, "little") + header, (2**62).to_bytes(8, "little") + b"{}"):
        with pytest.raises(WireError, match="holds no state"):
            load({**server, "server.safetensors": content}, SETUP)
