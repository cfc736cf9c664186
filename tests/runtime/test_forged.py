"""A checkpoint whose sums are right and whose content is not: the one before is gone on from, nothing is lost."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load, save

import fltac
from fltac.errors import InputError
from fltac.records.checkpoint import MANIFEST
from tests.runtime.test_identity import records

SERVER, CLUSTER, LINES, PRIVATE = "server.safetensors", "cluster-0.safetensors", "rounds.jsonl", "clients.bin"


def tensors(change):
    """A change of a file's tensors in place."""

    def made(content):
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__")
        found = {name: array.copy() for name, array in load(content).items()}
        change(found)
        return save(found, metadata)

    return made


def header(**values):
    """Other values in the server's header."""

    def made(content):
        size = int.from_bytes(content[:8], "little")
        state = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
        return save(load(content), {"state": json.dumps(state | values)})

    return made


def lines(change):
    """A change of the lines in place."""

    def made(content):
        found = [json.loads(line) for line in content.splitlines()]
        change(found)
        return "".join(json.dumps(line) + "\n" for line in found).encode()

    return made


def numbers(value):
    """All numbers of all arrays."""
    return tensors(lambda found: [array.fill(value) for array in found.values()])


def reshaped(name, shape):
    return tensors(lambda found: found.update({one: np.ones(shape, np.float32) for one in found if name in one}))


FORGED = {
    "a round before the first": (LINES, lines(lambda found: found[-1].update(round=-3)), "does not have the lines"),
    "a round to come": (LINES, lines(lambda found: found[-1].update(round=99)), "does not have the lines"),
    "a line too few": (LINES, lines(lambda found: found.pop(0)), "does not have the lines"),
    "no alerts": (LINES, lines(lambda found: found[-1].pop("alerts")), "is no table with round, alerts"),
    "no results": (LINES, lines(lambda found: found[0].pop("accuracy")), "is no table with round, alerts"),
    "another round's server": (SERVER, header(round=1), "holds a server of round 1"),
    "a round in words": (SERVER, header(round="two"), "holds no state of a server"),
    "a cluster that is not there": (SERVER, tensors(lambda found: found["labels"].fill(77)), "slots in clusters that"),
    "a slot at v0": (SERVER, tensors(lambda found: found["labels"].fill(-1)), "slots in clusters that"),
    "a step that is not compared": (
        SERVER, tensors(lambda found: found.update(since=found["adapters"])), "what slots had been sent",
    ),
    "a slot of nobody": (SERVER, tensors(lambda found: found["keys"][0].fill(900)), "slots that this run does not"),
    "a slot twice": (SERVER, tensors(lambda found: found["keys"].__setitem__(0, found["keys"][1])), "a slot twice"),
    "heard in the future": (SERVER, tensors(lambda found: found["heard"].fill(77)), "slots heard in rounds to come"),
    "adapters without numbers": (
        SERVER, tensors(lambda found: found["adapters"].fill(np.nan)), "numbers that are not finite",
    ),
    "infinity in a cluster": (CLUSTER, numbers(np.inf), "numbers that are not finite"),
    "a head of another shape": (CLUSTER, reshaped("head", (50, 50)), "holds a head"),
    "a head of a task that is none": (
        CLUSTER, tensors(lambda found: found.update({"head.7x9": np.ones((7, 9), np.float32)})), "holds a head 7x9",
    ),
    "a gain of another shape": (PRIVATE, reshaped("gain", (3, 3)), "which no client keeps"),
    "a gain that is none": (PRIVATE, numbers(np.nan), "which no client keeps"),
    "a head that no client of this run keeps": (
        PRIVATE, tensors(lambda found: found.update({"0/head-0": np.ones((50, 50), np.float32)})), "head-0 of client 0",
    ),
    "a gain in whole numbers": (
        PRIVATE, tensors(lambda found: found.update({one: np.ones(1, np.int64) for one in found})), "int64 (1,)",
    ),
    "a client of nobody": (PRIVATE, tensors(lambda found: found.update({"99/gain-0": np.ones(1)})), "of client 99"),
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tiny_file, tmp_path_factory):
    """A run that was stopped after the second of three rounds, and one that was not."""
    folder = tmp_path_factory.mktemp("stopped")

    def stop(record):
        if record.round == 2:
            raise InterruptedError

    experiment = fltac.load(tiny_file, ["rounds=3"])
    with pytest.raises(InterruptedError):
        fltac.run(experiment, out=folder / "half", runtime="local", tell=stop)
    fltac.run(experiment, out=folder / "whole", runtime="local")
    return folder / "half", folder / "whole"


def forge(run, file, change, rounds=("round-0002",)):
    """The file of its checkpoints, with sums that fit."""
    for round in rounds:
        folder = run / "checkpoint" / round
        (folder / file).write_bytes(change((folder / file).read_bytes()))
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["sha256"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(("file", "change", "what"), FORGED.values(), ids=FORGED)
def test_of_a_forged_checkpoint_the_one_before_is_taken_and_it_is_said(stopped, tmp_path, file, change, what):
    half, whole = stopped
    run, said = tmp_path / "run", []
    shutil.copytree(half, run)
    forge(run, file, change)
    fltac.resume(run, say=said.append)
    (line,) = said
    assert line.startswith("checkpoint round-0002 ")
    assert what in line
    assert line.endswith(": going on from round 1")
    assert records(run) == records(whole)


def test_one_without_a_server_is_passed_over_too(stopped, tmp_path):
    half, whole = stopped
    run, said = tmp_path / "run", []
    shutil.copytree(half, run)
    file = run / "checkpoint" / "round-0002" / MANIFEST
    manifest = json.loads(file.read_text())
    manifest["sha256"] = {name: one for name, one in manifest["sha256"].items() if name in (LINES, PRIVATE)}
    file.write_text(json.dumps(manifest))
    fltac.resume(run, say=said.append)
    assert len(said) == 1
    assert "holds no state of a server (KeyError" in said[0]
    assert records(run) == records(whole)


@pytest.mark.parametrize("left", [None, b"torn"])
def test_bars_that_were_lost_are_those_of_v0_again(stopped, tmp_path, left):
    half, whole = stopped
    run = tmp_path / "run"
    shutil.copytree(half, run)
    file = run / "evaluations.parquet" / "round-0000.parquet"
    file.unlink() if left is None else file.write_bytes(left)
    fltac.resume(run)
    assert file.read_bytes() == (whole / "evaluations.parquet" / "round-0000.parquet").read_bytes()
    assert records(run) == records(whole)


def test_on_ray_too(stopped, tmp_path, ray_address):
    half, whole = stopped
    run, said = tmp_path / "run", []
    shutil.copytree(half, run)
    forge(run, *FORGED["a cluster that is not there"][:2])
    fltac.resume(run, runtime="ray", address=ray_address, say=said.append)
    (line,) = [line for line in said if line.startswith("checkpoint ")]
    what = "checkpoint round-0002 the checkpoint holds slots in clusters that are not there"
    assert (line.startswith(what), line.endswith("going on from round 1"), line.count("\n")) == (True, True, 0)
    assert records(run) == records(whole)


def test_where_all_are_forged_nothing_is_cut(stopped, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(stopped[0], run)
    forge(run, SERVER, header(round=99), ("round-0001", "round-0002"))
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != "provenance.json"}
    with pytest.raises(InputError, match=r"holds no whole checkpoint \(round-0002 holds a server of round 99"):
        fltac.resume(run)
    assert all(file.read_bytes() == content for file, content in before.items() if file.name != ".lock")
