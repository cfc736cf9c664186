"""A run watched from outside: states as its files grow, what is shown of them, and how it ends."""

import io
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

import fltac
from fltac.records.files import LOCK, abandoned
from fltac.records.store import RunDirectory
from fltac.screen import watching
from fltac.screen.watching import State, spark, states, view


@pytest.fixture(scope="module")
def finished(tiny_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched") / "run"
    fltac.run(fltac.load(tiny_file, ["rounds=2", "method=oracle"]), out=folder, runtime="local")
    return folder


@pytest.fixture
def growing(finished, tmp_path, monkeypatch):
    """The run before its first round ended, and its lines."""
    monkeypatch.setattr(watching, "EVERY_S", 0.01)
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "summary.json").unlink()
    lines = (folder / "rounds.jsonl").read_text().splitlines(keepends=True)
    (folder / "rounds.jsonl").unlink()
    return RunDirectory(folder), lines


def test_each_finished_round_and_the_end_are_told(growing, finished):
    run, lines = growing
    told = states(run)
    assert next(told) == ([], "")
    (run.path / "rounds.jsonl").write_text(lines[0] + lines[1][:20])  # the second is being written
    state = next(told)
    assert ([line["round"] for line in state.lines], state.ended) == ([1], "")
    (run.path / "rounds.jsonl").write_text("".join(lines))
    shutil.copy(finished / "summary.json", run.path)
    state = next(told)
    assert (len(state.lines), state.ended) == (2, "finished")
    assert next(told, None) is None


def test_a_run_whose_process_is_gone_has_stopped(growing, fltac):
    run, lines = growing
    (run.path / "rounds.jsonl").write_text(lines[0])
    assert not abandoned(run.path)  # this process wrote it
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    text = (run.path / LOCK).read_text().split()
    (run.path / LOCK).write_text(f"process {other.pid} on {text[3]}")
    code, out, err = fltac("watch", run.path)
    assert code == 1
    assert "round 1/2  loss" in out
    assert f"stopped after round 1 of 2: its process is gone; fltac resume {run.path} goes on" in err
    (run.path / LOCK).write_text(f"process {other.pid} on elsewhere")
    assert not abandoned(run.path)


def test_of_a_finished_run_the_result_is_told(finished, fltac):
    code, out, _ = fltac("watch", finished)
    assert code == 0
    assert out.index("round 1/2  loss") < out.index("round 2/2  loss") < out.index("matched accuracy 1.00")


def test_the_view_holds_rounds_tasks_and_clusters(finished):
    run = RunDirectory(finished)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(view(run, State(run.lines()[:1], "")))
    console.print(view(run, State(run.lines(), "finished")))
    console.print(view(run, State([], "")))
    first, second, nothing = console.export_text().split("tiny: method oracle, seed 0, 4 clients")[1:]
    assert "round 1 of 2" in first
    assert "left" in first
    assert "born" in first
    accuracy = f"{run.lines()[1]['accuracy_mean']:.3f}"
    assert "finished" in second
    assert accuracy in second
    assert "kept" in second
    assert all(task in second for task in ("mood", "animal", "weather"))
    assert "no finished round yet" in nothing


def test_what_is_no_run_is_refused(fltac, tmp_path):
    code, _, err = fltac("watch", tmp_path)
    assert code == 2
    assert "is no run directory" in err


def test_shares_as_bars():
    assert spark([0.0, 0.5, None, 1.0]) == "▁▅ █"
