"""Sweeps on a real Ray: every point is the run that it would be alone, and nothing that was done is done again."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

import fltac
from fltac.layers import read
from fltac.points import Study
from fltac.records.sweeps import SweepDirectory
from fltac.sweep.run import resume, sweep
from tests.tiny import write_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
SPACE = ["sweep.space.adapter.rank.grid=[1,2]", "sweep.space.seed.grid=[0,1]"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def results(summary):
    """A summary without its clocks."""
    return {name: value for name, value in summary.items() if not name.startswith("seconds")}


def test_a_killed_sweep_is_continued_and_equals_single_runs_bit_for_bit(file, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fltac", "sweep", file, *SPACE, "rounds=3", "--out", out]
    driver = subprocess.Popen(
        [str(part) for part in command], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    lines = out / "points" / "0001" / "rounds.jsonl"
    end = time.monotonic() + 300
    while not (lines.is_file() and lines.read_text().count("\n") >= 2) and driver.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    directory = SweepDirectory(out)
    finished = {number: directory.run(number).summary() for number in range(4)}
    assert None in finished.values()
    times = {n: (directory.run(n).path / "summary.json").stat().st_mtime_ns for n, s in finished.items() if s}
    table = resume(out)
    assert times == {n: (directory.run(n).path / "summary.json").stat().st_mtime_ns for n in times}
    assert table["status"].to_pylist() == ["finished"] * 4
    assert table["adapter.rank"].to_pylist() == [1, 1, 2, 2]
    for number, row in enumerate(table.to_pylist()):
        alone = tmp_path / f"alone-{number}"
        overrides = ["rounds=3", f"adapter.rank={row['adapter.rank']}", f"seed={row['seed']}"]
        fltac.run(fltac.load(file, overrides), out=alone, runtime="local")
        summary = json.loads((alone / "summary.json").read_text())
        assert results(directory.run(number).summary()) == results(summary)
        assert row["accuracy_mean"] == summary["accuracy_mean"]
        assert row["accuracy.mood"] == summary["accuracy"]["mood"]
    assert resume(out).equals(table)  # all is there: nothing is started
    assert pq.read_table(out / "points.parquet").equals(table)
    assert not (out / "tune").exists()


@pytest.mark.parametrize(("number", "code", "keep"), [(signal.SIGINT, 1, 2), (signal.SIGTERM, 143, 0)])
def test_an_interrupted_sweep_is_continued(file, tmp_path, number, code, keep):
    """Tune takes Ctrl-C for itself. Without a checkpoint a point begins anew."""
    out = tmp_path / "out"
    space = ["sweep.space.adapter.rank.grid=[1,2,3]", "sweep.concurrent=1", f"checkpoint.keep={keep}"]
    command = [sys.executable, "-m", "fltac", "sweep", file, *space, "--out", out]
    driver = subprocess.Popen(
        [str(part) for part in command], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    lines = out / "points" / "0001" / "rounds.jsonl"
    end = time.monotonic() + 300
    while not lines.is_file() and driver.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(number)
    assert driver.wait(timeout=120) == code
    status = pq.read_table(out / "points.parquet")["status"].to_pylist()  # there is a table of what is done
    assert status[0] == "finished"
    assert status[2] == "waiting"
    assert resume(out)["status"].to_pylist() == ["finished"] * 3
    for number in range(3):
        fltac.run(fltac.load(file, [f"adapter.rank={number + 1}"]), out=tmp_path / f"{number}", runtime="local")
        alone = json.loads((tmp_path / f"{number}" / "summary.json").read_text())
        assert results(SweepDirectory(out).run(number).summary()) == results(alone)


def test_a_point_that_fails_says_why_and_the_others_go_on(file, tmp_path):
    said = []
    study = Study(read(file, ["sweep.space.training.learning_rate.grid=[1e30,5e-3]", "sweep.stop.metric=train_loss"]))
    table = sweep(study, tmp_path / "out", say=said.append)
    assert table["status"].to_pylist() == ["failed", "finished"]
    cause = table["failure"][0].as_py()
    assert cause.startswith("DivergedError: the training loss is nan; lower training.learning_rate")
    assert "client" in cause
    assert any("point 0 (training.learning_rate=1e+30) failed: DivergedError" in line for line in said)
    assert any("point 1 (training.learning_rate=0.005): accuracy" in line for line in said)


def test_optuna_weighs_accuracy_against_bytes_and_goes_on_from_what_it_knows(file, tmp_path):
    overrides = ["sweep.search={type='optuna', maximise='accuracy_mean'}", "sweep.samples=2", "rounds=1"]
    layers = read(file, [*overrides, "sweep.space.adapter.rank.ints=[1,4]"])
    out = tmp_path / "out"
    first = sweep(Study(layers), out)
    assert first["status"].to_pylist() == ["finished"] * 2
    asked = json.loads((out / "sweep.json").read_text())
    asked["layers"]["command"]["sweep"]["samples"] = 3
    (out / "sweep.json").write_text(json.dumps(asked))
    more = resume(out)
    assert more["point"].to_pylist() == [0, 1, 2]
    assert more.slice(0, 2).select(["accuracy_mean", "seconds"]).equals(first.select(["accuracy_mean", "seconds"]))
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    known = optuna.load_study(study_name="optuna", storage=JournalStorage(JournalFileBackend(str(out / "optuna.log"))))
    sent = [row["bytes_up"] + row["bytes_down"] for row in more.to_pylist()]
    values = [[accuracy, total] for accuracy, total in zip(more["accuracy_mean"].to_pylist(), sent, strict=True)]
    assert [trial.values for trial in known.trials] == values  # both objectives
    assert [trial.params["adapter.rank"] for trial in known.trials] == more["adapter.rank"].to_pylist()


def test_optuna_is_told_of_a_point_that_failed_and_was_finished_later(file, tmp_path):
    """And once alone: a trial that is over cannot be told again, so another one has its result."""
    import optuna

    from fltac.sweep.search import search

    overrides = ["sweep.search={type='optuna', maximise='accuracy_mean'}", "sweep.samples=2", "rounds=1"]
    study, directory = Study(read(file, [*overrides, "sweep.space.adapter.rank.ints=[1,4]"])), SweepDirectory(tmp_path)
    (tmp_path / "points").mkdir()
    begun = search(directory, study)
    begun.suggest("first")
    known = begun._ot_study
    known.tell(0, state=optuna.trial.TrialState.FAIL)
    params = known.trials[0].params
    directory.note(0, params, "its node went away")
    fltac.run(study.experiment(params), out=directory.run(0).path, runtime="local")
    for _ in range(2):
        search(directory, study)
    summary = directory.run(0).summary()
    sent = summary["bytes_up"] + summary["bytes_down"]
    assert [trial.values for trial in known.trials] == [None, [summary["accuracy_mean"], sent]]
    assert known.trials[1].params == params


def test_points_that_are_worse_are_ended_early(file, tmp_path):
    stop = ["sweep.stop={metric='bytes_round', grace=1, factor=2}", "sweep.concurrent=1", "rounds=3"]
    study = Study(read(file, [*stop, "sweep.space.adapter.rank.grid=[1,4]"]))
    table = sweep(study, tmp_path / "out")
    assert table["rounds"].to_pylist() == [3, 1]
    assert table["status"].to_pylist() == ["finished", "finished"]
