"""Every experiment that ships is read, and the ones whose data can be had here are run."""

import os
from pathlib import Path

import pytest

import fltac
from fltac.records.store import RunDirectory

FOLDER = Path(__file__).parents[1] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))
DATA = os.environ.get("FLTAC_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="FLTAC_TEST_DATA names no folder of data sets")


def test_there_are_experiments():
    assert {file.name for file in FILES} >= {"quickstart.toml", "text_five.toml"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_read_and_named_after_its_file(file):
    assert fltac.load(file).name == file.stem.replace("_", "-")


@pytest.mark.slow
def test_the_quickstart_runs_on_real_text_with_two_layers_of_the_real_model(tmp_path):
    overrides = ["model.num_hidden_layers=2", "rounds=2", "training.steps=15", "training.learning_rate=5e-3"]
    overrides += [f"tasks.{task}.max_test=60" for task in ("news", "tweets", "replies")]
    summary = fltac.run(fltac.load(FOLDER / "quickstart.toml", overrides), out=tmp_path / "run", runtime="local")
    assert set(summary.accuracy) == {"news", "tweets", "replies"}
    assert summary.ari is not None
    assert summary.ari > 0.5
    run = RunDirectory(tmp_path / "run")
    assert run.lines()[1]["train_loss"] < run.lines()[0]["train_loss"]
    news = {"task": "news", "split": "test", "metric": "loss", "cluster": None}
    untuned, first, second = (
        row["value"] for row in run.table("evaluations").to_pylist() if news.items() <= row.items()
    )
    assert second < first < untuned


@needs_data
@pytest.mark.slow
def test_five_real_tasks_are_told_apart_without_being_named(tmp_path):
    overrides = [f"data.root={DATA}", "model.num_hidden_layers=3", "rounds=1", "training.steps=10"]
    overrides += [f"tasks.{task}.max_test=40" for task in ("sst2", "subj", "trec", "snli", "sms_spam")]
    summary = fltac.run(fltac.load(FOLDER / "text_five.toml", overrides), out=tmp_path / "run", runtime="local")
    assert summary.ari is not None
    assert summary.ari > 0.6
