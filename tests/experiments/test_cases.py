"""What the commands behind the tables share, by hand."""

import argparse
import tomllib

from experiments.cases import interval, runs, seeds
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


def test_a_value_is_written_as_toml_reads_it():
    value = [{"name": "sst2", "max": 3, "source": {"type": "files", "train": "a b.parquet"}, "inputs": ["one", "two"]}]
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def test_an_interval_by_hand():
    assert interval([0.5]) == "0.50"
    assert interval([0.4, 0.6], most=1) == "0.50 (-0.77, 1.00)"  # 12.71 * 0.1 to either side, cut at 1
    assert interval([0.5, 0.5, 0.5]) == "0.50 (0.50, 0.50)"
