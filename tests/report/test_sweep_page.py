"""The page about a sweep and the recommendation, of a real sweep: its points run in this process."""

import json
from dataclasses import replace

import pandas as pd
import pytest

import fltac
from fltac.config import Network
from fltac.errors import InputError
from fltac.layers import read
from fltac.points import Study
from fltac.records.sweeps import SweepDirectory
from fltac.report.bars import bars_of_runs
from fltac.report.cost import costs, of_sweeps
from fltac.report.fronts import configurations, parameters, tasks, trajectories
from fltac.report.map import accuracy_against_bytes
from fltac.report.reading import read_runs
from fltac.report.recommend import by_tier_of, recommend, write_recommended
from fltac.report.sweep_page import write_sweep_report
from fltac.report.tiers import by_tier, network_of
from fltac.screen import sweeps as told_of
from tests.browser import browser, chromium
from tests.report.test_report import figures, own_text, rows
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
    assert "4 points. 4 configurations of 1 seed: no interval" in text
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


@pytest.mark.skipif(chromium() is None, reason="no chromium is found")
def test_panels_are_one_below_another_on_a_phone(swept, tmp_path):
    pytest.importorskip("playwright", reason="playwright is not installed")
    file, heard = write_sweep_report([swept.path], tmp_path / "page.html"), []
    ask = """name => ["", 2, 3].map((n) => {
        const { layout } = document.querySelector(`#figure-${name} .plot`);
        return [...layout[`xaxis${n}`].domain, ...layout[`yaxis${n}`].domain];
    })"""
    with browser() as opened:
        for width, narrow in ((400, True), (1200, False)):
            page = opened.new_page(viewport={"width": width, "height": 800})
            page.on("pageerror", lambda error: heard.append(str(error)))
            page.goto(file.as_uri())
            for name in ("by-task", "by-rank"):  # of the second are two lines of three where it is wide
                places = page.evaluate(ask, name)
                assert all((left, right) == (0, 1) for left, right, *_ in places) is narrow
                tops, bottoms = [place[3] for place in places], [place[2] for place in places]
                assert all(top < bottom for bottom, top in zip(bottoms, tops[1:], strict=False)) is narrow
    assert heard == []


def test_runs_beside_a_sweep_are_bars_of_its_map(swept, tmp_path):
    file = swept.study().layers.path
    for name, overrides in {"same": [], "other": ["tasks.mood.name=temper"]}.items():
        fltac.run(fltac.load(file, ["method=local", *overrides]), out=tmp_path / name, runtime="local")
    page = write_sweep_report([swept.path], tmp_path / "page.html", beside=[tmp_path / "same", tmp_path / "other"])
    summary = json.loads((tmp_path / "same" / "summary.json").read_text())
    whole, by_task, *_ = figures(own_text(page)).values()
    first = swept.run(0).summary()
    lines = {line["name"]: line["y0"] for line in whole["layout"]["shapes"]}
    assert lines == {
        "majority class": pytest.approx(sum(first["majority"].values()) / 3),
        "untuned model": pytest.approx(sum(first["untuned"].values()) / 3),
        "same (local)": summary["accuracy_mean"],  # the other's tasks are not those of the map
    }
    sent = summary["bytes_up"] + summary["bytes_down"]
    markers = [(trace["x"], trace["y"]) for trace in whole["data"] if trace["mode"] == "markers"]
    assert ([sent / 1e6], [summary["accuracy_mean"]]) in markers
    heights = [(line["name"], line["yref"]) for line in by_task["layout"]["shapes"]]
    assert [name for name, _ in heights].count("same (local)") == 3
    assert [name for name, _ in heights].count("other (local)") == 2
    keys = [line["name"] for line in by_task["layout"]["shapes"] if line["showlegend"]]
    assert sorted(keys) == ["majority class", "other (local)", "same (local)", "untuned model"]
    text = own_text(page)
    assert "Runs beside the map" in text
    assert [row[0] for row in rows(text) if row].count("same") == 2  # there, and among the costs
    assert text.count('<tr><th class="name">other</th>') == 1
    with pytest.raises(InputError, match="DIR: has other tasks than the sweep"):
        costs([swept.path, tmp_path / "other"], [])


def test_a_run_that_sent_nothing_is_a_line_alone(swept, tmp_path):
    run = read_runs([swept.run(0).path])[0]
    still = replace(run, summary=replace(run.summary, bytes_up=0, bytes_down=0))
    table = trajectories([swept.path])
    (bar,) = bars_of_runs([still], tasks(table))
    drawn = accuracy_against_bytes(configurations(table), table[table["last"]], [bar])
    assert drawn.data[-1].x == (None,)
    assert drawn.layout.shapes[0].y0 == run.summary.accuracy_mean


def test_each_arm_is_told_at_an_accuracy_that_all_reached(swept):
    table = trajectories([swept.path])
    ledger = of_sweeps(table, Network())
    assert [one.run.split(":")[0] for one in ledger.equal] == ["fltac", "fedit"]
    for one in ledger.equal:
        assert one.accuracy >= ledger.target
        arm = table[(table["method"] == one.run.split(":")[0]) & (table["accuracy"] >= ledger.target)]
        assert one.bytes_up + one.bytes_down == arm["bytes"].min()
    assert ledger.target == table.groupby("method")["accuracy"].max().min()


def test_a_cost_takes_what_a_report_takes(swept, capsys):
    run = swept.run(0).path
    told_of.costs(*costs([swept.path, run], ["usd_per_gb=1"]))
    told = capsys.readouterr().out
    ledger = of_sweeps(trajectories([swept.path]), Network(), read_runs([run]))
    assert [one.run.split(":")[0] for one in ledger.equal] == ["fltac", "fedit", "0000"]
    assert all(one.run in told for one in ledger.equal)
    assert f"to accuracy {ledger.target:.3f}" in told
    assert "assumed: $ 1 a GB of traffic" in told
    with pytest.raises(InputError, match="--choose: is not swept"):
        costs([swept.path], [], ["rank"])


def test_the_choice_is_told_for_each_tier(swept):
    table = trajectories([swept.path])
    choice = recommend(table, tolerance=100)
    assert by_tier_of(table, choice) == []
    tiers = ["tiers=[{name='phone', share=0.5, up_mbps=1, down_mbps=4}]"]
    rows = by_tier_of(table, choice, tiers)
    assert [(row["which"], row["tier"]) for row in rows][:2] == [("recommended", "phone"), ("recommended", "others")]
    run = read_runs([swept.run(int(choice.chosen["point"])).path])[0]
    (phone, _) = by_tier(run, network_of(run, tiers)).to_dict("records")
    assert {"which": "recommended", **phone} == rows[0]


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        write_sweep_report([tmp_path])
