"""What the commands behind the tables share, by hand."""

import argparse
import tomllib

import pytest

from experiments.cases import finished, interval, runs, seeds
from experiments.one_task import toml
from tests.tiny import write_tiny


def test_each_case_and_seed_is_run_once(tmp_path):
    options = argparse.Namespace(out=tmp_path / "out", data=tmp_path, seeds=2, first_seed=7, workers=1)
    assert list(seeds(options)) == [7, 8]
    file, cases = write_tiny(tmp_path), {"all": ["rounds=1"], "a part, few": ["rounds=1", "clients.fraction=0.5"]}
    done = runs(file, cases, options)
    assert set(done) == {("all", 7), ("all", 8), ("a part, few", 7), ("a part, few", 8)}
    drawn = {key: run.lines()[0]["clients"] for key, run in done.items()}
    assert drawn["all", 7] > drawn["a part, few", 7]
    before = {key: (run.path / "summary.json").stat().st_mtime_ns for key, run in done.items()}
    again = runs(file, cases, options)
    assert before == {key: (run.path / "summary.json").stat().st_mtime_ns for key, run in again.items()}


def test_a_run_of_another_experiment_is_not_taken_for_this_one(tmp_path):
    file, folder = write_tiny(tmp_path), tmp_path / "run"
    finished(file, folder, ["rounds=1"])
    assert finished(file, folder, ["rounds=1"]).summary()
    with pytest.raises(ValueError, match="holds a run of another experiment"):
        finished(file, folder, ["rounds=1", "seed=1"])
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "provenance.json").touch()
    assert finished(file, tmp_path / "torn", ["rounds=1"]).summary()


def test_a_value_is_written_as_toml_reads_it():
    value = [{"name": "sst2", "max": 3, "source": {"type": "files", "train": "a b.parquet"}, "inputs": ["one", "two"]}]
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def test_an_interval_by_hand():
    assert interval([0.5]) == "0.50"
    assert interval([0.4, 0.6], most=1) == "0.50 (-0.77, 1.00)"  # 12.71 * 0.1 to either side, cut at 1
    assert interval([0.5, 0.5, 0.5]) == "0.50 (0.50, 0.50)"
