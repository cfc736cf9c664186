"""Who is where over rounds, by hand: the band of each slot, the colours of clusters, and the tables beside them."""

import pytest

from fltac.records.store import RunDirectory
from fltac.report.confusion import counts
from fltac.report.lineage import GAP, HALF, alluvial, events, slot_table
from fltac.report.reading import read_runs
from fltac.report.slots import cluster_colours, flows, membership, task_colours, who
from tests.report.test_report import TASKS, Kind, update, write_run

FIRST = {(0, 0): 1, (0, 1): 0, (1, 0): 1, (1, 1): 0}  # slot 0 holds news: cluster 1
WORLD = [FIRST, FIRST | {(1, 1): 1}, {(0, 0): 1, (0, 1): 0}, FIRST | {(1, 1): 1, (2, 0): 7}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Client 1's tweets go over to the cluster of news; then it is away; then a client comes that is one alone."""
    path = write_run(tmp_path_factory.mktemp("lineage") / "run", Kind(rounds=4, planned=4))
    records = RunDirectory(path)
    for round, places in enumerate(WORLD, 1):
        rows = [update(round, *key, TASKS[key[1]]) | {"cluster": cluster} for key, cluster in places.items()]
        records._write_table("updates", round, rows)
        born = [{"round": round, "cluster": 7, "size": 1, "event": "born"}] * (round == 4)
        records._write_table("clusters", round, [{"round": round, "cluster": 0, "size": 2, "event": "kept"}, *born])
    return read_runs([path])[0]


def test_slots_stay_where_they_were_last_seen(run):
    places = membership(run)
    assert places.loc[(1, 1)].tolist() == [0, 1, 1, 1]
    assert places.loc[(2, 0)].isna().tolist() == [True, True, True, False]
    ways = [(one.round, one.source, one.target, one.slots) for one in flows(places)]
    assert ways[:3] == [(2, 0, 0, [(0, 1)]), (2, 0, 1, [(1, 1)]), (2, 1, 1, [(0, 0), (1, 0)])]
    assert ways[3:] == [(n, c, c, s) for n in (3, 4) for c, s in ((0, [(0, 1)]), (1, [(0, 0), (1, 0), (1, 1)]))]


def test_bars_are_as_high_as_clusters_and_bands_as_wide_as_flows(run):
    figure = alluvial(run)
    bars = {bar.name: bar for bar in figure.data if bar.type == "bar"}
    assert [bars[f"cluster {n}"].y for n in (0, 1, 7)] == [(2, 1, 1, 1), (2, 3, 3, 3), (1,)]
    gap = GAP * 5  # of five slots
    assert bars["cluster 1"].base == pytest.approx((2 + gap, 1 + gap, 1 + gap, 1 + gap))
    assert bars["cluster 7"].base == pytest.approx((4 + 2 * gap,))
    bands = [trace for trace in figure.data if trace.type == "scatter" and trace.fill == "toself"]
    (moved,) = [band for band in bands if band.fillcolor.endswith("0.8)")]
    x, y = list(moved.x), list(moved.y)
    assert (x[0], y[0], x[25], y[25]) == pytest.approx((1 + HALF, 1, 1 + HALF, 2))  # the second slot of cluster 0
    assert (x[12], y[12], x[13], y[13]) == pytest.approx((2 - HALF, 1 + gap, 2 - HALF, 2 + gap), abs=1e-3)
    words = [text for trace in figure.data if trace.type == "scatter" and trace.mode == "text" for text in trace.text]
    assert "<b>client 1, slot 1</b>" in words
    assert "<b>new</b>, 1 slots" in words
    assert any("cluster 1 · news" in text for text in words)


def test_a_cluster_has_the_colour_of_its_task(run):
    tasks, clusters = task_colours(run), cluster_colours(run)
    assert (clusters[0], clusters[1]) == (tasks["tweets"], tasks["news"])
    assert clusters[7] not in tasks.values()


def test_what_happened_is_told_in_rows(run):
    assert events(run) == [
        (2, "from cluster 0 to cluster 1", "client 1, slot 1"),
        (4, "cluster 7 is born", "client 2, slot 0"),
    ]
    rows, left = slot_table(run)
    assert left == 0
    told = {
        key: (task, [place.cluster for place in places], [place.moved for place in places])
        for key, task, places in rows
    }
    assert told[1, 1] == ("tweets", [0, 1, 1, 1], [False, True, False, False])
    assert told[2, 0] == ("news", [None, None, None, 7], [False] * 4)


def test_of_many_slots_those_that_moved_are_kept(run, monkeypatch):
    monkeypatch.setattr("fltac.report.lineage.ROWS", 2)
    rows, left = slot_table(run)
    assert ([key for key, _, _ in rows], left) == ([(0, 0), (1, 1)], 3)


def test_counts_are_of_those_that_sent(run):
    assert counts(run)[3].to_dict() == {0: {"news": 0, "tweets": 1}, 1: {"news": 1, "tweets": 0}}


def test_who_is_in_a_new_cluster_is_named(tmp_path):
    path = write_run(tmp_path / "run", Kind(rounds=2, planned=2))
    records = RunDirectory(path)
    records._write_table("updates", 2, [update(2, client, 0, "news") | {"cluster": 5} for client in range(2, 7)])
    records._write_table("clusters", 2, [{"round": 2, "cluster": 5, "size": 5, "event": "born"}])
    (told,) = events(read_runs([path])[0])
    assert told == (2, "cluster 5 is born", "; ".join(f"client {n}, slot 0" for n in range(2, 7)))


def test_few_are_named_and_many_are_counted():
    assert who([(0, 1), (2, 3)]) == "client 0, slot 1; client 2, slot 3"
    assert who([(n, 0) for n in range(9)]) == "9 slots"


def test_a_run_of_which_nothing_was_merged_has_no_lineage(tmp_path):
    path = write_run(tmp_path / "run", Kind(rounds=1, planned=1))
    RunDirectory(path)._write_table("updates", 1, [update(1, 0, 0, "news") | {"cluster": None, "refused": "norm"}])
    (run,) = read_runs([path])
    assert alluvial(run) is None
    from fltac.report.page import render

    assert render([run]).count("No update was merged.") == 3
