"""A round counts when its checkpoint is renamed into place; whatever a crash leaves beside it is cut or restored."""

import json
import resource
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from fltac.errors import InputError, StoppedError
from fltac.records.rounds import TABLES
from fltac.records.store import RunDirectory

ROUND_2 = {"server.safetensors": b"state 2", "cluster-0.safetensors": b"zero", "cluster-7.safetensors": b"seven"}
STATES = {3: {"head-0": np.array([[1.5, 2]], np.float32)}, 10: {"head-1": np.zeros((2, 1), np.float32)}}
PROVENANCE = {"runtime": "local", "started": "2026-01-01T00:00:00+00:00", "restarts": 0}
FOLDERS = [f"{name}.parquet" for name in TABLES]


def taken(run):
    """The checkpoint that is gone on from, whatever it holds."""
    return run.checkpoint(lambda found: None)[0]


@pytest.fixture
def run(tmp_path, record, judged):
    """A run with two finished rounds."""
    run = RunDirectory(tmp_path / "runs" / "one")
    run.create("{}", PROVENANCE)
    run.write_bars([judged("news", None, "test", "majority", 0.4)])
    run.finish_round(record(1), {"server.safetensors": b"state 1", "cluster-0.safetensors": b"0"}, {})
    run.finish_round(record(2), ROUND_2, STATES)
    return run


def contents(run) -> dict[str, bytes]:
    files = [file for file in run.path.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(run.path)): file.read_bytes() for file in files}


def test_files_of_a_run(run, record):
    rounds = [f"{table}.parquet/round-{round:04d}.parquet" for table in record(1).tables for round in (1, 2)]
    sealed = ["rounds.jsonl", "clients.bin", "manifest.json"]
    checkpoint = [f"checkpoint/round-0002/{name}" for name in (*ROUND_2, *sealed)]
    checkpoint += [f"checkpoint/round-0001/{name}" for name in ("server.safetensors", "cluster-0.safetensors", *sealed)]
    adapters = [f"adapters/round-000{r}/cluster-{c}.safetensors" for r, c in ((1, 0), (2, 0), (2, 7))]
    expected = {
        "experiment.json",
        "provenance.json",
        "rounds.jsonl",
        "alerts.jsonl",
        "evaluations.parquet/round-0000.parquet",
    }
    assert set(contents(run)) == expected | {*rounds, *checkpoint, *adapters}


def test_what_is_written_is_read_back(run, record):
    assert run.lines() == [record(1).line, record(2).line]
    updates = [row for round in (1, 2) for row in record(round).tables["updates"]]
    assert run.table("updates").to_pylist() == updates
    assert [row["round"] for row in run.table("evaluations").to_pylist()] == [0] + [1] * 5 + [2] * 5
    assert run.has_bars()
    assert run.provenance() == PROVENANCE
    assert run.summary() is None
    run.write_summary({"rounds": 2})
    assert run.summary() == {"rounds": 2}
    assert RunDirectory.open(run.path).lines() == run.lines()


def test_a_checkpoint_is_the_last_round_with_all_private_states(run):
    before = contents(run)
    done, files, states = taken(run)
    assert (done, files) == (2, ROUND_2)
    assert {client: list(kept) for client, kept in states.items()} == {3: ["head-0"], 10: ["head-1"]}
    np.testing.assert_array_equal(states[3]["head-0"], STATES[3]["head-0"])
    assert contents(run) == before  # nothing to cut, nothing to restore


def test_the_last_adapters_are_those_of_the_last_finished_round(run, tmp_path):
    round, files = run.last_adapters()
    assert (round, {cluster: file.read_bytes() for cluster, file in files.items()}) == (2, {0: b"zero", 7: b"seven"})
    with pytest.raises(InputError, match="no finished round"):
        RunDirectory(tmp_path / "new").last_adapters()


def test_a_new_run_has_no_round(tmp_path):
    run = RunDirectory(tmp_path / "new")
    run.create("{}", {})
    assert taken(run) == (0, {}, {})
    assert run.lines() == []
    assert not run.has_bars()
    assert run.table("clusters").schema == TABLES["clusters"]
    assert len(run.table("clusters")) == 0


# -- crashes: a third round was begun, and only some of what it writes is there -----------------------------


@pytest.fixture
def crash(run, record):
    """Leaves of the third round what `kept` names, and gives the run's contents after two and three rounds."""

    def crash(*kept: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        two = contents(run)
        run.finish_round(record(3), {"server.safetensors": b"state 3", "cluster-8.safetensors": b"8"}, STATES)
        three = contents(run)
        left = {name: content for name, content in two.items() if name.split("/")[0] not in kept}
        left |= {name: content for name, content in three.items() if name.split("/")[0] in kept}
        shutil.rmtree(run.path)
        for name, content in left.items():
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (run.path / name).write_bytes(content)
        return two, three

    return crash


@pytest.mark.parametrize(
    "kept",
    [
        ["updates.parquet"],
        FOLDERS,
        [*FOLDERS, "adapters"],
        ["rounds.jsonl"],
    ],
    ids=["one table", "tables", "adapters", "a later line"],
)
def test_traces_of_an_unfinished_round_are_cut(run, crash, kept):
    two, _ = crash(*kept)
    assert contents(run) != two
    assert taken(run).round == 2
    assert contents(run) == two


TABLES_AND_MORE = [*FOLDERS, "adapters", "checkpoint"]


def test_the_renamed_checkpoint_makes_the_round_count_and_its_line_is_restored(run, crash):
    _, three = crash(*TABLES_AND_MORE)
    assert len(run.lines()) == 2
    assert taken(run).round == 3
    assert contents(run) == three


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["begun", "torn", "without its end"])
def test_a_torn_line_does_not_count_and_is_restored(run, crash, share):
    two, three = crash(*TABLES_AND_MORE)
    line = three["rounds.jsonl"].removeprefix(two["rounds.jsonl"]).rstrip(b"\n")
    with (run.path / "rounds.jsonl").open("ab") as lines:
        lines.write(line[: max(1, round(share * len(line)))])
    assert [one["round"] for one in run.lines()] == [1, 2]
    assert taken(run).round == 3
    assert contents(run) == three


def test_lost_lines_are_all_restored(run):
    before = contents(run)
    (run.path / "rounds.jsonl").unlink()
    taken(run)
    assert contents(run) == before


def test_half_written_files_under_temporary_names_do_not_count(run):
    (run.path / "checkpoint" / ".round-0003.tmp").mkdir()
    (run.path / "checkpoint" / ".round-0003.tmp" / "rounds.jsonl").write_text("{")
    (run.path / "updates.parquet" / ".round-0003.parquet.tmp").write_text("PAR")
    assert taken(run).round == 2
    assert len(run.table("updates")) == 6


def test_a_cut_round_done_again_leaves_the_same_run(run, crash, record):
    _, three = crash("updates.parquet", "adapters")
    taken(run)
    run.finish_round(record(3), {"server.safetensors": b"state 3", "cluster-8.safetensors": b"8"}, STATES)
    assert contents(run) == three


def test_a_crash_before_the_first_round_leaves_a_new_run_with_its_bars(run):
    shutil.rmtree(run.path / "checkpoint")
    (run.path / "rounds.jsonl").unlink()
    assert taken(run) == (0, {}, {})
    assert run.lines() == []
    assert {name.split("/")[-1] for name in contents(run)} == {
        *("experiment.json", "provenance.json", "alerts.jsonl", "round-0000.parquet")
    }


# -- what lies in the way -----------------------------------------------------------------------------------


def test_an_out_in_use_is_refused_and_left_alone(run):
    before = contents(run)
    with pytest.raises(InputError, match="--out: is there already"):
        run.create("{}", {})
    assert contents(run) == before


def test_an_out_that_is_a_file_or_under_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="--out"):
            RunDirectory(path).create("{}", {})


def test_an_empty_out_is_taken(tmp_path):
    RunDirectory(tmp_path).create(json.dumps({"name": "x"}), {})
    assert json.loads(RunDirectory.open(tmp_path).experiment_file.read_text()) == {"name": "x"}


def test_a_folder_without_an_experiment_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no run directory"):
        RunDirectory.open(tmp_path)


def test_a_run_for_which_there_is_no_room_leaves_nothing_in_the_way_of_another_try(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # the provenance fits, the experiment does not
    try:
        with pytest.raises(StoppedError, match=r"make room, then fltac resume .*, or fltac run where it had not begun"):
            RunDirectory(tmp_path / "run").create("x" * 2000, PROVENANCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    RunDirectory(tmp_path / "run").create("{}", PROVENANCE)


def test_without_a_checkpoint_there_is_nothing_to_go_on_from_and_no_round_is_lost(run):
    shutil.rmtree(run.path / "checkpoint")
    before = contents(run)
    with pytest.raises(InputError, match=r"has no checkpoint to go on from .* 2 finished rounds to read"):
        taken(run)
    assert contents(run) == before


def test_alerts_are_those_of_the_lines_again_after_a_crash(tmp_path, record):
    run = RunDirectory(tmp_path / "run")
    run.create("{}", {})
    told = record(1)
    told.line["alerts"] = [{"round": 1, "rule": "noise"}]
    run.finish_round(told, ROUND_2, {})
    (run.path / "alerts.jsonl").write_text('{"round": 1, "rule": "noise"}\n{"round": 2, "rul')
    taken(run)
    assert (run.path / "alerts.jsonl").read_text() == '{"round": 1, "rule": "noise"}\n'


def test_a_table_of_an_older_fltac_is_read_with_nulls(run):
    file = run.path / "updates.parquet" / "round-0001.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["sketch"]), file)
    shutil.rmtree(run.path / "layers.parquet")
    assert [row["sketch"] for row in run.table("updates").to_pylist()] == [None] * 3 + [[0.5, -2.0]] * 3
    assert run.table("layers").schema == TABLES["layers"]
