"""What a run leaves behind, and how it is continued."""

import json
import shutil
from datetime import datetime

import pytest

import fltac
from fltac.errors import InputError
from fltac.records.store import RunDirectory
from fltac.runtime.launch import out_folder
from fltac.wire.codecs import HEADER, SHAPE
from tests.runtime.test_identity import records, run


@pytest.fixture(scope="module")
def finished(tiny_file, tmp_path_factory):
    """A finished run of three rounds."""
    out = tmp_path_factory.mktemp("finished") / "run"
    fltac.run(fltac.load(tiny_file, ["rounds=3"]), out=out, runtime="local")
    return out


def test_the_run_directory_has_what_the_contract_says(finished):
    names = {item.name for item in finished.iterdir()}
    assert names == {
        "experiment.json", "provenance.json", "rounds.jsonl", "updates.parquet", "evaluations.parquet",
        "clusters.parquet", "layers.parquet", "alerts.jsonl", "adapters", "checkpoint", "summary.json",
        ".lock", "tasks.json",
    }  # fmt: skip
    provenance = json.loads((finished / "provenance.json").read_text())
    assert provenance["runtime"] == "local"
    assert provenance["finished"] >= provenance["started"]
    assert {item.name for item in (finished / "checkpoint").iterdir()} == {"round-0002", "round-0003"}


def test_bytes_are_those_of_the_payloads(finished):
    run = RunDirectory(finished)
    spec_size, columns = 2 * 4 * (32 + 32), 33  # rank 2 on query and value of two layers
    classes = {"mood": 2, "animal": 3, "weather": 2}
    rows = run.table("updates").to_pylist()
    for row in rows:
        numbers = spec_size + classes[row["task"]] * columns
        assert row["bytes_up"] == row["bytes_down"] == HEADER.size + SHAPE.size + 4 * numbers
        assert row["bytes_up_heads"] == 4 * classes[row["task"]] * columns
    assert run.summary()["bytes_up"] == sum(row["bytes_up"] for row in rows)


def test_half_the_numbers_are_half_the_bytes(tiny_file, tmp_path, finished):
    out = tmp_path / "run"
    fltac.run(fltac.load(tiny_file, ["wire.up=float16", "wire.down=bfloat16", "rounds=1"]), out=out, runtime="local")
    short = RunDirectory(out).table("updates").to_pylist()
    full = [row for row in RunDirectory(finished).table("updates").to_pylist() if row["round"] == 1]
    header = HEADER.size + SHAPE.size
    assert [2 * (row["bytes_up"] - header) for row in short] == [row["bytes_up"] - header for row in full]
    assert [2 * (row["bytes_down"] - header) for row in short] == [row["bytes_down"] - header for row in full]


def test_the_profile_sums_to_the_time_that_passed(finished):
    summary, lines = RunDirectory(finished).summary(), RunDirectory(finished).lines()
    parts = ("train", "evaluate", "encode", "cluster", "merge", "record", "wait")
    for found in (summary, *lines):
        assert sum(found[f"seconds_{part}"] for part in parts) == pytest.approx(found["seconds"])
        assert all(found[f"seconds_{part}"] > 0 for part in parts if part != "wait")
    assert [line["seconds_start"] > 0 for line in lines] == [True, False, False]
    provenance = RunDirectory(finished).provenance()
    began, ended = (datetime.fromisoformat(provenance[name]).timestamp() for name in ("started", "finished"))
    assert summary["seconds_start"] + summary["seconds"] < ended - began + 30  # seconds of the start come before


def test_nobody_learns_and_nothing_is_kept_to_go_on_from(tiny_file, tmp_path):
    out = tmp_path / "run"
    summary = fltac.run(fltac.load(tiny_file, ["training.steps=0", "checkpoint.keep=0"]), out=out, runtime="local")
    assert summary.accuracy == summary.untuned
    run = RunDirectory(out)
    assert not (out / "checkpoint").exists()
    assert run.last_adapters()[0] == 2
    assert {row["train_loss"] for row in run.table("updates").to_pylist()} == {0.0}
    with pytest.raises(InputError, match=r"checkpoint\.keep: keeps no checkpoint"):
        run.last_slots()


@pytest.mark.parametrize("torn", [False, True])
def test_resumed_after_any_round_a_run_ends_as_if_never_stopped(tiny_file, tmp_path, finished, torn):
    class StoppedError(Exception):
        pass

    def stop(record):
        if record.round == 2:
            raise StoppedError

    out = tmp_path / "run"
    overrides = ["rounds=3"]
    with pytest.raises(StoppedError):
        fltac.run(fltac.load(tiny_file, overrides), out=out, runtime="local", tell=stop)
    (out / "updates.parquet" / "round-0003.parquet").write_bytes(b"half of it")  # a round that did not end
    (out / "rounds.jsonl").write_text("")  # a line that was lost
    if torn:
        (out / "checkpoint" / "round-0002" / "server.safetensors").write_bytes(b"half of it")
    said = []
    fltac.resume(out, say=said.append)
    assert said == torn * ["checkpoint round-0002 server.safetensors is not what was written: going on from round 1"]
    assert records(out) == records(finished)
    assert json.loads((out / "provenance.json").read_text())["restarts"] == 1


def test_a_finished_run_is_not_run_again(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    said = []
    assert fltac.resume(copy, say=said.append).rounds == 3
    assert said == [f"{copy} is finished"]


@pytest.mark.parametrize("runtime", ["local", "ray"])
def test_a_run_whose_experiment_was_changed_to_another_shape_does_not_go_on(finished, tmp_path, fltac, runtime):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (copy / "summary.json").unlink()
    file = copy / "experiment.json"
    changed = json.loads(file.read_text())
    changed["adapter"]["rank"] += 1
    changed["rounds"] += 1
    file.write_text(json.dumps(changed))
    code, _, err = fltac("resume", copy, "--runtime", runtime)
    what = "has adapters of another shape than the last round left; undo what was changed in it, or begin a new run"
    assert (code, err) == (2, f"{file}: {what}\n")


def test_an_out_in_use_is_refused_before_anything_starts(tiny_file, finished):
    with pytest.raises(InputError, match="--out: is there already"):
        fltac.run(fltac.load(tiny_file), out=finished)


def test_oracle_is_told_the_tasks_and_local_shares_nothing(tiny_file, tmp_path):
    _, _, _, oracle, _ = run(tiny_file, tmp_path / "oracle", "method=oracle", "rounds=1", runtime="local")
    assert (oracle["ari"], oracle["nmi"], oracle["matched_accuracy"], oracle["clusters"]) == (1.0, 1.0, 1.0, 3)
    lines, tables, _, local, _ = run(tiny_file, tmp_path / "local", "method=local", "rounds=1", runtime="local")
    assert local["clusters"] == len(tables["updates"]) == lines[0]["updates"]


def test_fedit_sends_one_adapter_a_client_with_a_head_a_task(tiny_file, tmp_path):
    _, tables, _, summary, _ = run(tiny_file, tmp_path / "run", "method=fedit", "rounds=1", runtime="local")
    assert [(row["client"], row["slot"], row["task"]) for row in tables["updates"]] == [(c, 0, None) for c in range(4)]
    assert (summary["ari"], summary["nmi"], summary["matched_accuracy"]) == (None, None, None)
    assert set(summary["accuracy"]) == {"mood", "animal", "weather"}


def test_inside_a_ray_job_relative_folders_lie_under_fltac_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.delenv("FLTAC_RUNS", raising=False)
    with pytest.raises(InputError, match="environment: FLTAC_RUNS: set it to an absolute folder"):
        out_folder("name", "here")
    monkeypatch.setenv("FLTAC_RUNS", str(tmp_path))
    assert out_folder("name", "here") == tmp_path / "here"
    assert out_folder("name", None).parent == tmp_path
    assert out_folder("name", "/there").as_posix() == "/there"


def test_runs_begun_in_the_same_second_have_folders_of_their_own():
    assert len({out_folder("name", None) for _ in range(5)}) == 5
