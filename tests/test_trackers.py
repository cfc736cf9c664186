"""What a run leaves in TensorBoard, MLflow and Weights & Biases, read back with their own readers, offline."""

import importlib.util
import json
import shutil
import struct
import time

import pytest

import fltac
from fltac.errors import InputError
from fltac.records.store import RunDirectory
from fltac.trackers import Tracks, missing, scalars
from tests.tiny import write_tiny

LINE = {"round": 3, "accuracy": {"a.b": 0.5, "c": 1.0}, "ari": None, "clusters": 2, "alerts": [{"rule": "noise"}]}


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three rounds under TensorBoard that was stopped after the second, and resumed."""

    def stop(record):
        if record.round == 2:
            raise StoppedError

    file, out = write_tiny(tmp_path_factory.mktemp("tiny")), tmp_path_factory.mktemp("runs") / "out"
    experiment = fltac.load(file, ["rounds=3", "trackers=[{type='tensorboard'}]"])
    with pytest.raises(StoppedError):
        fltac.run(experiment, out=out, runtime="local", tell=stop)
    fltac.resume(out, say=pytest.fail)
    return RunDirectory(out)


def asking(run, tracker):
    return fltac.load(run.experiment_file, [f"trackers=[{tracker}]"])


def told_again(run, tracker, before=2):
    """Its rounds to another tracker, with a stop that comes when it has been told of so many; returns all."""
    first, second, third = run.lines()
    for lines, failed in (([first, second][:before], True), ([third], False)):
        track = Tracks(run, asking(run, tracker), pytest.fail)
        for line in lines:
            track(line)
        track.close(failed)
        time.sleep(1.1)  # wandb names folders by seconds
    return [first, second, third]


def leveldb_log(content):
    """The records of a file: its own header of 7 bytes, then in blocks of 32 KiB chunks of crc, length, type, data."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        size, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def need(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install --constraint constraints.txt '.[{package}]'")


def test_a_line_as_figures():
    assert scalars(LINE) == {"round": 3, "accuracy/a.b": 0.5, "accuracy/c": 1.0, "clusters": 2, "alerts": 1}


def test_tensorboard_has_every_figure_of_every_round_once(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines, read = run.lines(), EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert sorted(read.Tags()["scalars"]) == sorted(set().union(*map(scalars, lines)))
    for name in ("accuracy/mood", "bytes_up", "train_loss"):
        told = [(event.step, event.value) for event in read.Scalars(name)]
        assert told == [(line["round"], pytest.approx(scalars(line)[name], rel=1e-6)) for line in lines]


def test_tensorboard_is_told_of_a_round_that_it_missed(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard"))
    lines = told_again(RunDirectory(tmp_path / "run"), "{type='tensorboard'}", before=1)
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in read.Scalars("accuracy/mood")] == [line["round"] for line in lines]


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its database
def test_mlflow_has_one_run_with_every_round_and_setting(run, tmp_path):
    need("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    lines = told_again(run, f'{{type="mlflow", uri="{uri}", experiment="tests"}}', before=1)
    client = MlflowClient(uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("out", "FINISHED")
    assert kept.data.params["adapter.rank"] == "2"
    assert kept.data.params["tasks.mood.inputs"] == "['text']"
    assert kept.data.tags["fltac.run"] == str(run.path)
    assert kept.data.metrics.keys() == scalars(lines[-1]).keys()
    told = [(one.step, one.value) for one in client.get_metric_history(kept.info.run_id, "accuracy/mood")]
    assert told == [(line["round"], line["accuracy"]["mood"]) for line in lines]


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_every_round_and_setting_in_files_for_a_later_sync(run):
    need("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    lines = told_again(run, '{type="wandb", mode="offline", project="tests"}')
    told, settings, ids = [], {}, set()
    for found in sorted((run.path / "wandb").glob("offline-run-*/*.wandb")):
        for data in leveldb_log(found.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("run"):
                ids.add(record.run.run_id)
                settings |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
            if record.HasField("history"):
                row = {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in record.history.item}
                told.append((record.history.step.num, row["accuracy/mood"]))
    assert told == [(line["round"], line["accuracy"]["mood"]) for line in lines]
    assert settings["adapter.rank"] == 2
    assert len(ids) == 1  # both parts are one run


def test_a_tracker_that_fails_is_told_of_once_and_left_out(run, tmp_path):
    said = []
    (tmp_path / "tensorboard").write_text("in the way")
    with Tracks(RunDirectory(tmp_path), asking(run, "{type='tensorboard'}"), said.append) as track:
        track(LINE)
        track(LINE)
    (line,) = said
    assert line.startswith("warning: trackers.0 (tensorboard): ")


def test_a_password_in_an_address_is_refused(run):
    with pytest.raises(InputError, match=r"trackers\.0\.uri: names a user"):
        asking(run, "{type='mlflow', uri='https://me:secret@host'}")


def test_a_package_that_is_not_installed_is_told_with_its_remedy(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = missing(asking(run, "{type='wandb'}").trackers)
    assert problem.key == "trackers.0.type"
    assert "pip install 'fltac[wandb]'" in problem.what
