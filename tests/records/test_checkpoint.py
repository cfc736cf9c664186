"""Checkpoints that are not whole are not gone on from; a disk may fill up, and two may want to write one run."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from fltac.errors import InputError, StoppedError
from fltac.records.checkpoint import MANIFEST
from fltac.records.files import LOCK, Lock, append, write, write_folder
from fltac.records.store import RunDirectory
from tests.records.test_store import contents

STATES = {3: {"head-0": np.array([[1.5, 2]], np.float32)}}


def taken(run):
    """The checkpoint that is gone on from, whatever it holds."""
    return run.checkpoint(lambda found: None)[0]


def server(round):
    return {"server.safetensors": f"state {round}".encode() * 50, "cluster-0.safetensors": f"{round}".encode()}


@pytest.fixture(scope="module")
def three(tmp_path_factory, record):
    """The folder of a run of three finished rounds that keeps its last two checkpoints."""
    run = RunDirectory(tmp_path_factory.mktemp("three") / "run")
    run.create("{}", {})
    for round in (1, 2, 3):
        run.finish_round(record(round), server(round), STATES)
    return run.path


@pytest.fixture
def run(three, tmp_path):
    """A copy of it, and what it says."""
    shutil.copytree(three, tmp_path / "run")
    run = RunDirectory(tmp_path / "run", say=lambda text: said.append(text))
    said = run.said = []
    return run


def last(run):
    return run.path / "checkpoint" / "round-0003"


def test_the_last_two_stay(run, record):
    assert sorted(item.name for item in (run.path / "checkpoint").iterdir()) == ["round-0002", "round-0003"]
    run.finish_round(record(4), server(4), STATES, keep=1)
    assert [item.name for item in (run.path / "checkpoint").iterdir()] == ["round-0004"]


def test_a_manifest_has_the_schema_and_a_sum_of_each_file(run):
    manifest = json.loads((last(run) / MANIFEST).read_text())
    assert manifest["schema"] == 1
    others = {file.name: file.read_bytes() for file in last(run).iterdir() if file.name != MANIFEST}
    assert manifest["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in others.items()}
    assert set(others) == {"server.safetensors", "cluster-0.safetensors", "rounds.jsonl", "clients.bin"}


FILES = ["server.safetensors", "cluster-0.safetensors", "rounds.jsonl", "clients.bin", MANIFEST]


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: flip(content, len(content) - 1) if not content.endswith(b"\n") else flip(content, 0),
        None,
    ],
    ids=["half", "empty", "one bit", "gone"],
)
def test_of_a_torn_checkpoint_the_one_before_is_taken_and_it_is_said(run, record, name, damage):
    whole, file = contents(run), last(run) / name
    file.write_bytes(damage(file.read_bytes())) if damage else file.unlink()
    done, files, states = taken(run)
    assert (done, files) == (2, server(2))
    np.testing.assert_array_equal(states[3]["head-0"], STATES[3]["head-0"])
    (line,) = run.said
    assert line.startswith("checkpoint round-0003 ")
    assert line.endswith("going on from round 2")
    assert [one["round"] for one in run.lines()] == [1, 2]
    assert not [name for name in contents(run) if "round-0003" in name]
    run.finish_round(record(3), server(3), STATES)  # the round is done again
    assert contents(run) == whole


def test_where_none_is_whole_nothing_is_cut(run):
    for folder in (run.path / "checkpoint").iterdir():
        (folder / "server.safetensors").write_bytes(b"?")
    before = contents(run)
    with pytest.raises(InputError, match=r"holds no whole checkpoint \(round-0003 server.safetensors is not what"):
        taken(run)
    assert contents(run) == before


def resealed(folder, change):
    """The manifest is made anew around what `change` did: only what lies inside can tell."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    for name in manifest["sha256"]:
        if (folder / name).is_file():
            manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_newer_schema_is_told_and_nothing_is_touched(run):
    resealed(last(run), lambda manifest: manifest.update(schema=2))
    before = contents(run)
    with pytest.raises(InputError, match=r"manifest.json: schema: is of a newer fltac, .* \(got 2\)"):
        taken(run)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clients.bin", b"\xff" * 20),
        ("rounds.jsonl", b"[1, 2]\n"),
        ("rounds.jsonl", b""),
        ("rounds.jsonl", b'{"accuracy": 1}\n'),
    ],
)
def test_what_is_sealed_and_still_no_checkpoint_is_torn(run, name, content):
    (last(run) / name).write_bytes(content)
    resealed(last(run), lambda manifest: None)
    assert taken(run).round == 2
    assert len(run.said) == 1


def test_a_pipe_is_no_file_of_a_checkpoint(run):
    """Whoever opened it would wait for ever."""
    (last(run) / "clients.bin").unlink()
    os.mkfifo(last(run) / "clients.bin")
    (last(run).with_name("round-0002") / MANIFEST).unlink()
    os.mkfifo(last(run).with_name("round-0002") / MANIFEST)
    with pytest.raises(InputError, match=r"round-0003 lacks clients\.bin; round-0002 has no manifest\.json"):
        taken(run)


def test_copies_beside_the_checkpoints_are_let_be(run):
    for copy in ("round-0003.bak", "round-0003 (copy)", "round-9999-mine", "round-"):
        shutil.copytree(last(run), last(run).with_name(copy))
    (last(run) / "clients.bin").write_bytes(b"torn")
    assert taken(run).round == 2
    assert last(run).with_name("round-9999-mine").is_dir()


def test_a_manifest_cannot_name_files_elsewhere(run, tmp_path):
    (tmp_path / "secret").write_text("s")
    digest = hashlib.sha256(b"s").hexdigest()
    manifest = json.loads((last(run) / MANIFEST).read_text())
    manifest["sha256"]["../../../secret"] = digest
    (last(run) / MANIFEST).write_text(json.dumps(manifest))
    assert taken(run).round == 2


# -- a disk that is full --------------------------------------------------------------------------------------


@contextmanager
def limited(count):
    """No file may grow beyond so many bytes: the system says EFBIG, as it says ENOSPC of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 200, 3000, 40_000])
def test_where_the_disk_is_full_it_is_said_and_finished_rounds_are_whole(run, record, room):
    whole = contents(run)
    said = r"cannot be written: File too large; make room, then fltac resume \(finished rounds are whole\)"
    with pytest.raises(StoppedError, match=said), limited(room):
        run.finish_round(record(4), {"server.safetensors": bytes(100_000)}, STATES)
    assert not [file for file in run.path.rglob("*") if file.name.endswith(".tmp")]
    assert taken(run).round == 3
    assert contents(run) == whole


def test_a_file_is_there_whole_or_as_it_was(tmp_path):
    write(tmp_path / "file", b"before")
    write_folder(tmp_path / "folder", {"one": b"before"})
    append(tmp_path / "lines", b"before\n")
    for attempt in (
        lambda: write(tmp_path / "file", bytes(20)),
        lambda: write_folder(tmp_path / "folder", {"one": b"a", "two": bytes(20)}),
        lambda: append(tmp_path / "lines", bytes(20)),
    ):
        with pytest.raises(StoppedError), limited(10):
            attempt()
    assert (tmp_path / "file").read_bytes() == b"before"
    assert [file.read_bytes() for file in (tmp_path / "folder").iterdir()] == [b"before"]
    assert (tmp_path / "lines").read_bytes().startswith(b"before\n")


# -- two that want to write one run -----------------------------------------------------------------------------

HOLD = "import sys; from fltac.records.files import Lock; from pathlib import Path; lock = Lock(Path(sys.argv[1]));"
HOLD += "print('held', flush=True); sys.stdin.read()"


def test_a_run_is_written_by_one_process(run):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            InputError, match=rf"run: is being written by process {other.pid} on .*; wait until it ends"
        ):
            run.claim()
        other.kill()  # however it ends
    run.claim()
    with pytest.raises(InputError, match=f"written by process {os.getpid()}"):
        RunDirectory(run.path).claim()
    run.release()
    RunDirectory(run.path).claim()


def test_a_folder_that_cannot_be_locked_is_told(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written: Is a directory; see to its rights"):
        Lock(tmp_path)


def test_a_full_disk_leaves_a_lock_without_a_name(tmp_path):
    with limited(0):
        lock = Lock(tmp_path)
    with pytest.raises(InputError, match="is being written by another process"):
        Lock(tmp_path)
    lock.release()


def test_a_lock_ends_with_its_object(tmp_path):
    Lock(tmp_path)
    Lock(tmp_path)


def test_of_two_who_begin_a_run_in_one_folder_the_second_is_refused(tmp_path):
    one, other = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    one.require_new()
    other.require_new()
    one.create("{}", {"by": "one"})
    with pytest.raises(InputError):
        other.create("{}", {"by": "other"})
    one.release()
    with pytest.raises(InputError, match="is there already"):
        other.create("{}", {"by": "other"})
    assert one.provenance() == {"by": "one"}
