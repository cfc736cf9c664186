"""Bytes by client and kind, and seconds by stage, of hand-written runs."""

import json
from dataclasses import replace

import pytest

from fltac.records.store import RunDirectory
from fltac.report.ledger import byte_ledger, bytes_by_client, clocks, stages, time_profile
from fltac.report.over_seeds import over_seeds
from fltac.report.page import write_report
from fltac.report.reading import read_runs
from tests.report.test_evolution import evolve
from tests.report.test_report import Kind, figures, own_text, rows, update, write_run


def test_bytes_are_counted_by_client_way_and_kind(tmp_path):
    path = write_run(tmp_path / "run")
    odd = {"bytes_up": 30, "bytes_up_heads": 4, "bytes_up_header": 6, "cluster": None, "refused": "norm"}
    RunDirectory(path)._write_table("updates", 2, [update(2, 1, 0, "news") | odd])
    (run,) = read_runs([path])
    first, second = bytes_by_client(run).to_dict("records")  # client 1: two updates in round 1, the odd one in round 2
    assert first == {
        **{"client": 1, "rounds": 2, "updates": 3, "refused": 1, "sum": 80},
        **{"up.adapter": 2 * 9 + 20, "up.heads": 2 + 4, "up.headers": 6},
        **{"down.adapter": 3 * 9, "down.heads": 3, "down.headers": 0},
    }
    assert (second["client"], second["sum"], second["refused"]) == (0, 40, 0)
    figure, note = byte_ledger(run)
    assert note == ""
    heads = [bar for bar in figure.data if bar.name == "heads"]
    assert [(bar.y, bar.x) for bar in heads] == [(("client 0", "client 1"), (2, 6)), (("client 0", "client 1"), (2, 3))]


def test_stages_make_the_round(tmp_path):
    (run,) = read_runs([write_run(tmp_path / "run")])
    lines = run.rounds.assign(seconds_server=5.0, seconds=9.0)  # clustering 2, merging 2: 1 is left
    found = stages(replace(run, rounds=lines))
    assert found.loc[1].tolist() == [2, 2, 2, 1, 2]
    assert found.sum(axis=1).tolist() == [9, 9]
    assert len(time_profile(run).data) == 5


def test_whatever_a_run_measured_in_seconds_is_told(tmp_path):
    path = write_run(tmp_path / "run")
    summary = json.loads((path / "summary.json").read_text()) | {"seconds_of_something_new": 4.0}
    (path / "summary.json").write_text(json.dumps(summary))
    (run,) = read_runs([path])
    shares = {row["name"]: row["share"] for row in clocks(run)}
    assert shares["of something new"] == pytest.approx(4 / 16)
    assert shares["training"] == pytest.approx(4 / 16)


def test_seeds_are_taken_together(tmp_path):
    folders = [write_run(tmp_path / name, Kind(gain=gain)) for name, gain in {"a": 0.1, "b": 0.11}.items()]
    for seed, folder in enumerate(folders):
        file = folder / "experiment.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": seed}))
    runs = read_runs([*folders, write_run(tmp_path / "other", Kind(method="local"))])
    table = over_seeds(runs).set_index("task")
    assert table["runs"].unique().tolist() == ["a, b"]
    row = table.loc["news"]  # .7 and .72: half a width of 12.706 * .01414 / sqrt(2)
    assert (row["accuracy"], row["high"] - row["accuracy"]) == pytest.approx((0.71, 0.12706), abs=1e-4)
    text = own_text(write_report(folders, tmp_path / "page.html"))
    assert "95 % interval over three seeds or more" in text
    assert ["a, b", "fltac", "news", "0.710", "", ""] in rows(text)  # of two it would say nothing
    more = write_run(tmp_path / "c", Kind(gain=0.12))
    three = own_text(write_report([*folders, more], tmp_path / "page.html"))  # seed 7
    assert ["a, b, c", "fltac", "news", "0.720", "(0.670, 0.770)", ""] in rows(three)  # 4.303 * .02 / sqrt(3)
    assert over_seeds(read_runs(folders[:1])).empty


def test_a_page_of_fifty_rounds_is_small(tmp_path):
    """Forty slots, twelve layers: what is not the library is below 5 MB."""
    slots = [(client, slot) for client in range(20) for slot in (0, 1)]
    layers = {f"enc.layer.{n}.{one}": 0.1 + 0.05 * n for n in range(6) for one in ("query", "value")}
    folder = evolve(write_run(tmp_path / "long", Kind(rounds=50, planned=50)), 50, slots, layers)
    text = own_text(write_report([folder]))
    assert len(figures(text)["map"]["frames"]) == 51
    assert len(text.encode()) < 2_500_000
