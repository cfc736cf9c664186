"""The page about a sweep and the recommendation, of a real sweep: its points run in this process."""

import pandas as pd
import pytest

import fltac
from fltac.errors import InputError
from fltac.layers import read
from fltac.points import Study
from fltac.records.sweeps import SweepDirectory
from fltac.report.fronts import configurations, parameters, trajectories
from fltac.report.recommend import recommend, write_recommended
from fltac.report.sweep_page import write_sweep_report
from tests.tiny import write_tiny

VALIDATION = [f"tasks.{task}.validation=0.2" for task in ("mood", "animal", "weather")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    space = ["sweep.space.method.grid=['fltac','fedit']", "sweep.space.adapter.rank.grid=[1,2]"]
    study = Study(read(write_tiny(folder), [*VALIDATION, *space, "training.steps=2"]))
    directory = SweepDirectory(folder / "sweep")
    directory.create(study)
    for number, params in enumerate(study.points()):
        directory.note(number, params)
        fltac.run(study.experiment(params), out=directory.run(number).path, runtime="local")
    return directory


def test_trajectories_are_the_records(swept):
    table = trajectories([swept.path])
    assert len(table) == 8
    assert table["method"].tolist() == ["fltac"] * 4 + ["fedit"] * 4
    last = table[table["last"]].iloc[0]
    summary = swept.run(0).summary()
    assert last["bytes"] == summary["bytes_up"] + summary["bytes_down"]
    assert last["accuracy"] == summary["accuracy_mean"]
    assert last["accuracy.mood"] == summary["accuracy"]["mood"]
    assert last["validation"] == pytest.approx(sum(summary["accuracy_validation"].values()) / 3)


def test_the_page_and_its_tables_are_written(swept, tmp_path):
    page = write_sweep_report([swept.path], tmp_path / "page.html")
    text = page.read_text()
    assert "4 points, 4 configurations of 1 seed: no interval" in text
    table = pd.read_csv(tmp_path / "map.csv")
    assert len(table) == 4
    assert table["front"].any()
    assert (table["bytes"] == pd.read_parquet(tmp_path / "map.parquet")["bytes"]).all()


def test_what_is_recommended_can_be_run(swept, tmp_path):
    choice = recommend(trajectories([swept.path]), tolerance=100)
    assert choice.chosen["bytes"] == min(row["bytes"] for row in [choice.chosen, choice.best])
    write_recommended(choice, tmp_path / "recommended.json")
    experiment = fltac.load(tmp_path / "recommended.json")
    assert experiment.adapter.rank == choice.chosen["adapter.rank"] == 1
    assert experiment.method == choice.chosen["method"] == "fedit"
    assert experiment.clustering.type == "single"
    assert experiment.sweep is None


def test_sweeps_side_by_side_differ_in_what_their_files_differ(swept, tmp_path):
    """int8 is swept in neither: it must be a configuration of its own all the same."""
    file = swept.study().layers.path
    space = ["sweep.space.adapter.rank.grid=[1]", "wire.up=int8", "training.steps=2", *VALIDATION]
    study, other = Study(read(file, space)), SweepDirectory(tmp_path / "other")
    other.create(study)
    other.note(0, {"adapter.rank": 1})
    fltac.run(study.experiment({"adapter.rank": 1}), out=other.run(0).path, runtime="local")
    table = trajectories([swept.path, other.path])
    assert parameters(table) == ["method", "adapter.rank", "wire.up"]
    rows = configurations(table)
    assert len(rows) == 5
    choice = recommend(table, tolerance=100)
    write_recommended(choice, tmp_path / "best.json")  # whichever sweep it is of
    assert fltac.load(tmp_path / "best.json").wire.up == choice.chosen["wire.up"]
    assert fltac.load(tmp_path / "best.json").method == choice.chosen["method"]
    small = rows[rows["wire.up"] == "int8"].iloc[0]
    assert (small["method"], small["adapter.rank"]) == ("fltac", 1)
    assert small["bytes"] < rows[(rows["method"] == "fltac") & (rows["adapter.rank"] == 1)]["bytes"].max()


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        write_sweep_report([tmp_path])
