"""The evolution of adapters on hand-written sketches and layers, and what is said where there are none."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from fltac.errors import InputError
from fltac.records.store import RunDirectory
from fltac.report import adapter_map, embedding
from fltac.report.embedding import NEIGHBOURS, pca, require, umap
from fltac.report.layers import short_names
from fltac.report.page import write_report
from tests.report.test_report import Kind, figures, own_text, update, write_run

WAYS = np.array([[3.0, 0, 0, 0], [0, 4, 0, 0]])  # of the slots, from v0 on: a plane in four dimensions
LAYERS = {"enc.layer.0.query": 0.25, "enc.layer.0.value": 0.5, "enc.layer.1.query": 0.125, "enc.layer.1.value": 0.75}


def evolve(folder, rounds, slots=((0, 0), (0, 1), (1, 0), (1, 1)), layers=LAYERS, kind="both"):
    """Each slot goes its way's length a round, client 1 half as far; layer by layer a separation plus round / 100."""
    run = RunDirectory(folder)
    experiment = json.loads(run.experiment_file.read_text())
    experiment["clients"]["count"] = 1 + max(client for client, _ in slots)
    run.experiment_file.write_text(json.dumps(experiment))
    for round in range(1, rounds + 1):
        updates = [
            update(round, client, slot, ("news", "tweets")[slot])
            | {"cluster": slot, "sketch": (round * WAYS[slot] / (1 + client)).tolist()}
            for client, slot in slots
        ]
        rows = []
        for layer, share in layers.items():
            found = {"within": 1 - share - round / 100, "between": 1.0, "separation": share + round / 100}
            rows.append({"round": round, "layer": layer} | {n: v for n, v in found.items() if kind in ("both", n)})
        run._write_table("updates", round, updates)
        run._write_table("layers", round, rows)
    return folder


def test_a_name_keeps_away_from_the_nearest_cluster(tmp_path):
    """Two that are close, both above the mean of all: the lower one's name would lie on the higher one."""
    folder = write_run(tmp_path / "run", Kind(rounds=1, planned=1))
    heights = {0: 1.0, 1: 0.9, 2: -5.0}
    rows = [
        update(1, client, slot, "news") | {"x": 0.01 * client, "y": y, "cluster": slot}
        for client in (0, 1)
        for slot, y in heights.items()
    ]
    RunDirectory(folder)._write_table("updates", 1, rows)
    names = figures(own_text(write_report([folder])))["sight"]["data"][2]
    sides = dict(zip([one.replace("<br>", "").strip() for one in names["text"]], names["textposition"], strict=True))
    assert sides == {"cluster 0": "top center", "cluster 1": "bottom center", "cluster 2": "bottom center"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return own_text(write_report([evolve(write_run(tmp_path_factory.mktemp("runs") / "tiny"), 2)]))


def test_all_rounds_lie_in_one_plane(page):
    drawn = figures(page)["map"]
    assert [frame["name"] for frame in drawn["frames"]] == ["1", "2", "all"]
    tails, points, names, _, _, start = drawn["data"]
    rows = [round * WAYS[slot] / (1 + client) for client in (0, 1) for slot in (0, 1) for round in (1, 2)]
    places = np.column_stack([points["x"] + start["x"], points["y"] + start["y"]])  # v0 last
    np.testing.assert_allclose(pdist(places), pdist([*rows, np.zeros(4)]), rtol=1e-3)
    assert points["marker"]["symbol"][:4] == ["circle", "circle", "square", "square"]
    assert len(set(points["marker"]["color"])) == 2
    assert points["meta"]["colours"] == dict.fromkeys(("cluster", "task"), points["marker"]["color"])  # no mistake
    assert points["marker"]["opacity"][:2] == [0.5, 0.85]  # older rounds are fainter
    assert points["customdata"][:2] == [[1, 0, 0, 0, "", 0.5], [2, 0, 0, 0, "", 0.5]]
    assert sorted(name.strip() for text in names["text"] for name in text.split("<br>")) == [
        "",
        "",
        "cluster 0",
        "cluster 1",
    ]
    assert tails["x"][:6] == [*points["x"][0:2], None, *points["x"][2:4], None]


def test_one_round_shows_its_points_and_where_they_came_from(page):
    first, second, every = (frame["data"] for frame in figures(page)["map"]["frames"])
    assert first[0]["x"] == []  # round 1 has no lines yet
    assert len(second[0]["x"]) == 3 * 4
    assert first[1]["x"] == every[1]["x"][0::2]
    assert second[1]["x"] == every[1]["x"][1::2]


def test_layers_that_carry_the_task_are_named(page):
    assert (
        "The task is carried most by layer.1.value (0.77), layer.0.value (0.52) and layer.0.query (0.27), "
        "least by layer.1.query (0.14): separation, the mean of 2 rounds." in page
    )
    distances, separation = (figures(page)[name] for name in ("distances", "layers"))
    (heat,) = separation["data"]
    assert heat["y"] == ["layer.0.query", "layer.0.value", "layer.1.query", "layer.1.value"]
    assert heat["x"] == ["1", "2"]
    assert heat["z"] == [[0.26, 0.27], [0.51, 0.52], [0.135, 0.145], [0.76, 0.77]]
    within, between = (line for line in distances["data"] if line.get("name"))
    assert (within["name"], within["y"]) == ("within clusters", [0.5837, 0.5737])
    assert (between["name"], between["y"]) == ("between clusters", [1, 1])
    assert len(distances["data"]) == 2 * (len(LAYERS) + 1)


def test_a_box_chooses_all_rounds_where_there_are_several(page, tmp_path):
    assert page.count('<input type="checkbox" checked>') == 1
    alone = own_text(write_report([evolve(write_run(tmp_path / "one", Kind(rounds=1, planned=1)), 1)]))
    assert '<input type="checkbox"' not in alone
    assert [frame["name"] for frame in figures(alone)["map"]["frames"]] == ["1"]
    assert "the mean of one round" in alone


@pytest.mark.parametrize("kind", ["within", "between"])
def test_without_pairs_of_either_kind_no_layer_is_named(tmp_path, kind):
    text = own_text(write_report([evolve(write_run(tmp_path / "run"), 2, kind=kind)]))
    assert "No layer can be told to carry the task" in text
    assert "layers" not in figures(text)
    assert [line["name"] for line in figures(text)["distances"]["data"] if line.get("name")] == [f"{kind} clusters"]


def test_a_single_layer_is_said_to_be_it(tmp_path):
    text = own_text(write_report([evolve(write_run(tmp_path / "run"), 2, layers={"enc.query": 0.5})]))
    assert "The only layer that is adapted, enc.query (0.52), carries the task." in text


def test_a_run_of_an_older_fltac_says_what_it_lacks(tmp_path):
    folders = [write_run(tmp_path / "old"), evolve(write_run(tmp_path / "new"), 2)]
    text = own_text(write_report(folders, tmp_path / "page.html"))
    assert text.count("This run did not record sketches of its adapters.") == 1
    assert text.count("This run did not record its layers.") == 1
    assert "The task is carried most by layer.1.value" in text


def test_of_many_slots_some_are_drawn_and_all_make_the_plane(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter_map, "SLOTS_DRAWN", 3)
    slots = [(client, slot) for client in range(10) for slot in (0, 1)]
    text = own_text(write_report([evolve(write_run(tmp_path / "run"), 2, slots)]))
    assert "3 of 20 slots are drawn." in text
    assert [one[1:3] for one in figures(text)["map"]["frames"][0]["data"][1]["customdata"]] == [[0, 0], [5, 0], [9, 1]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 9), (5, 1), (50, 4)])
def test_principal_components_are_two_numbers_a_row(shape):
    plane = pca(np.random.default_rng(0).normal(size=shape))
    assert plane.xy.shape == (shape[0], 2)
    assert np.isfinite(plane.xy).all()


def test_principal_components_tell_how_much_they_hold():
    rows = np.diag([2.0, 1, 1, 0])[np.repeat(np.arange(4), 2)] * np.array([1, -1] * 4)[:, None]
    assert "hold 83% of the variance" in pca(rows).meaning  # (4 + 1) / (4 + 1 + 1)


def test_umap_that_is_not_installed_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    require("pca")
    with pytest.raises(InputError, match=r"--embedding: needs umap-learn, .* pip install 'fltac\[umap\]'") as caught:
        write_report([write_run(tmp_path / "run")], embedding="umap")
    assert len(caught.value.lines()) == 1


@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_umap_keeps_groups_apart_and_is_the_same_again():
    pytest.importorskip("umap")
    rows = np.repeat([[0.0] * 8, [9.0] * 8], 20, axis=0) + np.random.default_rng(0).normal(size=(40, 8))
    one, other = umap(rows), umap(rows)
    np.testing.assert_array_equal(one.xy, other.xy)
    near = np.linalg.norm(one.xy[:, None] - one.xy, axis=2)
    assert near[:20, :20].max() < near[:20, 20:].min()


def test_a_few_rows_have_no_neighbourhoods():
    rows = np.random.default_rng(0).normal(size=(NEIGHBOURS, 3))
    np.testing.assert_array_equal(umap(rows).xy, pca(rows).xy)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a.layer.0.att.q", "a.layer.1.att.q"], ["layer.0", "layer.1"]),
        (["a.layer.0.att.q", "a.layer.0.att.v"], ["q", "v"]),
        (["a.b.q"], ["a.b.q"]),
        (["a.q", "a.b.q"], ["a.q", "a.b.q"]),
    ],
)
def test_names_are_short_and_tell_layers_apart(names, short):
    assert list(short_names(names).values()) == short
