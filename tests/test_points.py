"""Points of a sweep: which there are, and the experiment that each is."""

import math

import pytest

from fltac.errors import InputError
from fltac.layers import read
from fltac.points import Study, label
from tests.test_layers import MINIMAL


@pytest.fixture
def study(tmp_path):
    def study(tables: str, *overrides: str) -> Study:
        file = tmp_path / "experiment.toml"
        file.write_text(f"{MINIMAL}\n{tables}", encoding="utf-8")
        return Study(read(file, overrides))

    return study


SPACE = """
[sweep]
samples = 3
seed = 5
[sweep.space]
seed = { grid = [0, 1] }
"training.learning_rate" = { loguniform = [1e-4, 1e-2] }
"adapter.rank" = { ints = [1, 4] }
"tasks.news.max_train" = { choice = [10, 20] }
"clients.fraction" = { uniform = [0.25, 0.75] }
"""


def test_grids_are_combined_in_order(study):
    points = study('[sweep.space]\nmethod = { grid = ["fltac", "fedit"] }\n"adapter.rank" = { grid = [1, 2] }').points()
    assert points == [
        {"method": "fltac", "adapter.rank": 1},
        {"method": "fltac", "adapter.rank": 2},
        {"method": "fedit", "adapter.rank": 1},
        {"method": "fedit", "adapter.rank": 2},
    ]


def test_ranks_and_seeds_are_swept_where_nothing_is_named(study):
    points = study("").points()
    assert points[0] == {"adapter.rank": 1, "seed": 0}
    assert points[-1] == {"adapter.rank": 16, "seed": 2}
    assert len(points) == 15


def test_draws_are_the_same_for_each_combination_and_each_time(study):
    points = study(SPACE).points()
    assert [point["seed"] for point in points] == [0, 0, 0, 1, 1, 1]
    assert [{**point, "seed": 1} for point in points[:3]] == points[3:]
    assert points == study(SPACE).points()
    assert points != study(SPACE, "sweep.seed=6").points()
    rates = [point["training.learning_rate"] for point in points[:3]]
    assert len(set(rates)) == 3


def test_draws_keep_to_their_bounds(study):
    points = study(SPACE, "sweep.samples=200", "sweep.space.seed.grid=[0]").points()
    values = {key: {point[key] for point in points} for key in points[0]}
    assert values["adapter.rank"] == {1, 2, 3, 4}
    assert values["tasks.news.max_train"] == {10, 20}
    assert 0.25 <= min(values["clients.fraction"]) < 0.3 < 0.7 < max(values["clients.fraction"]) < 0.75
    logs = sorted(math.log10(rate) for rate in values["training.learning_rate"])
    assert -4 <= logs[0] < logs[-1] < -2
    assert logs[100] == pytest.approx(-3, abs=0.2)  # the median of a uniform logarithm


def test_a_point_is_the_last_layer(study):
    asked = study(SPACE, "adapter.rank=7", "tasks.news.max_test=9", "tasks.sst2.max_train=3")
    experiment = asked.experiment({"adapter.rank": 2, "tasks.news.max_train": 20, "method": "fedit"})
    assert experiment.adapter.rank == 2
    assert experiment.clustering.type == "single"
    news, sst2 = experiment.tasks[1], experiment.tasks[0]
    assert (news.max_train, news.max_test, sst2.max_train) == (20, 9, 3)
    assert experiment.sweep is None


def test_a_mistake_is_told_once_with_the_points_that_make_it(study):
    asked = study('[sweep.space]\n"adapter.rank" = { grid = [0, 1] }\nseed = { grid = [1, 2, -3] }')
    with pytest.raises(InputError) as raised:
        asked.points()
    assert [(problem.key, problem.got) for problem in raised.value.problems] == [("adapter.rank", 0), ("seed", -3)]
    assert "at adapter.rank=0, seed=1 and 2 other points" in raised.value.problems[0].what


def test_a_search_by_results_tries_what_it_may_choose(study):
    search = '[sweep]\nsearch = { type = "optuna", maximise = "accuracy_mean" }\nsamples = 4\n[sweep.space]\n'
    assert study(search + '"adapter.rank" = { ints = [1, 4] }').points() == []
    with pytest.raises(InputError) as raised:
        study(search + '"adapter.rank" = { ints = [0, 4] }').points()
    assert raised.value.problems[0].got == 0


def test_a_point_is_read_by_people():
    assert (
        label({"adapter.rank": 4, "training.learning_rate": 0.00123456})
        == "adapter.rank=4, training.learning_rate=0.001235"
    )


def test_swept_paths_are_those_of_the_layer_that_names_them(tmp_path, monkeypatch):
    """Trials resolve their points in folders of their own."""
    (tmp_path / "file").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "file" / "experiment.toml"
    text = MINIMAL.replace('{ type = "hub", path = "some/model" }', '{ type = "path", path = "model" }')
    space = '[sweep.space]\n"model.source.path" = { grid = ["a", "b"] }\n"data.root" = { choice = ["data"] }\n'
    file.write_text(text + space, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    swept = Study(read(file, ["sweep.space.data.root.choice=['mine']"]))
    points = swept.points()
    monkeypatch.chdir("/")
    assert [point["model.source.path"] for point in points] == [str(tmp_path / "file" / name) for name in "ab"]
    assert {point["data.root"] for point in points} == {str(tmp_path / "here" / "mine")}
    assert swept.experiment(points[1]).model.source.path == str(tmp_path / "file" / "b")


def test_a_key_inside_another_is_refused(study):
    with pytest.raises(InputError, match=r"holds adapter\.rank, which is swept too"):
        study('[sweep.space]\n"adapter" = { grid = [{ rank = 8 }] }\n"adapter.rank" = { grid = [1, 2] }').points()


def test_a_point_without_what_the_search_goes_by_is_refused(study):
    tables = '[sweep]\nstop = { metric = "ari" }\n[sweep.space]\nmethod = { grid = ["fltac", "fedit"] }'
    with pytest.raises(InputError, match=r"is not there where one adapter serves all tasks.*at method=fedit"):
        study(tables).points()


def test_draws_that_coincide_are_one_point(study):
    asked = study('[sweep]\nsamples = 9\n[sweep.space]\n"wire.up" = { choice = ["int8", "int4"] }')
    assert sorted(point["wire.up"] for point in asked.points()) == ["int4", "int8"]


def test_optuna_that_is_not_installed_is_said(study, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        study('[sweep]\nsearch = { type = "optuna", maximise = "accuracy_mean" }\n').points()
