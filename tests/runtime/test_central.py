"""All data in one place: the same rounds with one client that sends nothing, on one worker or several."""

import signal
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

import fltac
from fltac.data.shards import Shard, pooled
from fltac.errors import InputError, StoppedError
from fltac.estimate import estimate
from fltac.model.training import turns
from fltac.planning import plan
from fltac.records.store import RunDirectory
from fltac.runtime import launch
from tests.runtime.test_identity import records, run

LEARNS = ["training.steps=10", "training.learning_rate=1e-2"]


def test_one_client_holds_what_all_held_and_takes_their_steps():
    shards = {
        (0, 0): [Shard("b", np.array([4, 0]))],
        (0, 1): [Shard("a", np.array([1]))],
        (2, 0): [Shard("b", np.array([2]))],
        (3, 0): [Shard("b", np.array([1]))],
    }
    held = pooled(shards, fraction=1.0)
    assert list(held) == [(0, 0), (0, 1)]
    assert [(one.task, one.indices.tolist(), one.turns) for (one,) in held.values()] == [
        ("a", [1], 1),
        ("b", [0, 1, 2, 4], 3),
    ]
    assert [one.turns for (one,) in pooled(shards, fraction=0.5).values()] == [1, 2]  # half of three, rounded up


def test_works_of_equal_length_take_turns_and_others_are_spread_evenly():
    assert turns([2, 2]) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert turns([4, 2]) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (0, 3)]
    assert turns([1, 0, 3]) == [(2, 0), (0, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("method", ["central", "central-mixed"])
def test_it_learns_more_than_clients_alone_and_sends_nothing(tiny_file, tmp_path, method):
    alone = fltac.run(fltac.load(tiny_file, ["method=local", *LEARNS]), out=tmp_path / "local", runtime="local")
    experiment = fltac.load(tiny_file, [f"method={method}", *LEARNS])
    summary = fltac.run(experiment, out=tmp_path / "run", runtime="local")
    assert summary.accuracy_mean > alone.accuracy_mean + 0.1
    assert (summary.bytes_up, summary.bytes_down, summary.bytes_base) == (0, 0, 0)
    guess = estimate(plan(experiment))
    assert (guess.bytes_up, guess.bytes_down, guess.bytes_first) == (0, 0, 0)
    rows = RunDirectory(tmp_path / "run").table("updates").to_pylist()
    assert {row["client"] for row in rows} == {0}
    assert sum(row["num_examples"] for row in rows if row["round"] == 1) == 120 + 108 + 120


@pytest.mark.ray
@pytest.mark.slow
def test_one_worker_does_what_one_process_does_also_when_resumed_and_two_come_near(tiny_file, tmp_path, ray_address):
    """Two add the halves of each gradient: other sums in float32, nothing else."""
    asked = ["method=central-mixed", *LEARNS]
    local = run(tiny_file, tmp_path / "local", *asked, runtime="local")
    one, two = tmp_path / "one", tmp_path / "two"
    fltac.run(fltac.load(tiny_file, [*asked, "rounds=1"]), out=one, address=ray_address)
    (one / "summary.json").unlink()
    (one / "experiment.json").write_text((tmp_path / "local" / "experiment.json").read_text())
    launch.resume(one, address=ray_address)
    assert records(one) == local
    (one / "summary.json").unlink()
    (one / "checkpoint" / "round-0002" / "clients.bin").write_bytes(b"torn")
    said = []
    launch.resume(one, address=ray_address, say=said.append)
    assert records(one) == local
    assert said == ["checkpoint round-0002 clients.bin is not what was written: going on from round 1"]
    told = []
    experiment = fltac.load(tiny_file, [*asked, "resources.actors=2"])
    fltac.run(experiment, out=two, address=ray_address, tell=told.append)
    assert [record.round for record in told] == [1, 2]
    (alone,), (both,) = (RunDirectory(folder).last_adapters()[1].values() for folder in (one, two))
    alone, both = load_file(alone), load_file(both)
    assert alone.keys() == both.keys()
    for name in alone:
        np.testing.assert_allclose(alone[name], both[name], rtol=1e-2, atol=1e-4)
    assert not (two / "ray-train").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_a_workers_error_is_the_runs(tiny_file, tmp_path, ray_address):
    experiment = fltac.load(tiny_file, ["method=central", "resources.actors=2", "training.learning_rate=1e30"])
    with pytest.raises(FloatingPointError, match=r"lower training.learning_rate \(it is 1e\+30\)"):
        fltac.run(experiment, out=tmp_path / "bad", address=ray_address)


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_are_silent_for_too_long_end_the_run(tiny_file, tmp_path, ray_address):
    experiment = fltac.load(tiny_file, ["method=central", "training.steps=100000", "faults.timeout_s=30"])
    before, threads = signal.getsignal(signal.SIGINT), threading.active_count()  # Ray Train's handler exits with 0
    seen = []
    over = threading.Event()

    def look():
        while not over.wait(0.5) and len(seen) < 2:  # a worker, and who controls it
            seen[:] = working()

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(StoppedError, match=r"the workers finished no round in 30 s \(faults\.timeout_s\)"):
        fltac.run(experiment, out=tmp_path / "slow", address=ray_address)
    over.set()
    looking.join()
    assert len(seen) == 2
    assert not (tmp_path / "slow" / "ray-train").exists()
    assert signal.getsignal(signal.SIGINT) == before
    assert threading.active_count() <= threads  # none that waits for what is gone
    end = time.monotonic() + 30
    while working() and time.monotonic() < end:
        time.sleep(0.2)
    assert working() == []  # though the cluster goes on


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("who", ["RayTrainWorker", "TrainController", "_fit"])
def test_where_a_process_dies_the_run_ends_in_one_line_and_is_gone_on_with(tiny_file, tmp_path, ray_address, who):
    experiment = fltac.load(tiny_file, ["method=central", "training.steps=20", "rounds=3"])
    killed = []

    def kill(record):
        if not killed:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if who in process.cmdline()[0]:
                        killed.append(process)
                        process.kill()

    said = r"gone \([^\n]*\); what is finished is kept, and fltac resume goes on"
    with pytest.raises(StoppedError, match=said) as ended:
        fltac.run(experiment, out=tmp_path / "run", address=ray_address, tell=kill)
    assert len(killed) == 1
    assert "\x1b" not in str(ended.value)
    launch.resume(tmp_path / "run", address=ray_address)
    fltac.run(experiment, out=tmp_path / "whole", runtime="local")
    assert records(tmp_path / "run") == records(tmp_path / "whole")


def working():
    """Ray Train's processes on the cluster, which is below this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += [name for name in process.cmdline()[:1] if "RayTrainWorker" in name or "TrainController" in name]
    return found


def test_what_means_nothing_in_one_place_is_refused(tiny_file):
    wrong = [
        "method=central",
        "clustering.type=hdbscan",
        "resources.actors=9",
        'changes=[{type="client-leaves", round=2, client=1}]',
    ]
    with pytest.raises(InputError) as raised:
        fltac.load(tiny_file, wrong)
    assert [(problem.key, problem.got) for problem in raised.value.problems if problem.key != "changes"] == [
        ("clustering.type", "hdbscan"),
        ("resources.actors", 9),
    ]
    assert any("one client holds all, always" in problem.what for problem in raised.value.problems)
