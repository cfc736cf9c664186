"""The page of hand-written runs: what it says, what it refuses, and that it asks no network."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from fltac.errors import InputError
from fltac.records.rounds import RoundRecord
from fltac.records.store import RunDirectory
from fltac.records.summary import summarise
from fltac.report.page import write_report
from fltac.report.reading import read_runs, results
from fltac.report.writing import duration, human_bytes, share, signed

TASKS = ("news", "tweets")


@dataclass(frozen=True)
class Kind:
    """What differs between the runs below."""

    rounds: int = 2
    planned: int = 2
    method: str = "fltac"
    shared: bool = False  # one adapter for all tasks, as FedIT: null task, null scores
    gain: float = 0.1
    alert: str = ""  # told in the last round
    provenance: dict = field(default_factory=lambda: {"command": ["fltac", "run"], "finished": None})


def write_run(path: Path, kind: Kind = Kind(), name: str = "tiny") -> Path:
    """Two clients with a slot a task; task t lies in cluster t, and gains `gain` a round above a majority of 0.5."""
    run = RunDirectory(path)
    tasks = [{"name": task, "truth": None} for task in TASKS]
    experiment = {"name": name, "method": kind.method, "seed": 7, "rounds": kind.planned, "adapter": {"rank": 4}}
    run.create(json.dumps({**experiment, "clients": {"count": 2}, "tasks": tasks}), kind.provenance)
    run.write_bars(
        [judged(task, 0.5) | {"metric": metric} for task in reversed(TASKS) for metric in ("majority", "accuracy")]
    )
    for round in range(1, kind.rounds + 1):
        run.finish_round(record(round, kind), {"server.safetensors": b""}, {})
    if kind.rounds == kind.planned:
        run.write_summary(summarise(run).asdict())
    return path


def record(round: int, kind: Kind) -> RoundRecord:
    accuracy = dict.fromkeys(TASKS, 0.5 + kind.gain * round)
    score = None if kind.shared else 1.0
    seconds = {f"seconds{part}": 2.0 for part in ("_training", "_server", "_cluster", "_merge", "_evaluation")}
    wire = {"bytes_up": 3_000_000, "bytes_up_heads": 30_000, "bytes_down": 1_000_000, "bytes_down_heads": 10_000}
    line = {"round": round, "accuracy": accuracy, "accuracy_mean": 0.5 + kind.gain * round, "accuracy_validation": {}}
    found = {
        "clusters": 1 if kind.shared else 2,
        "noise": 0,
        "conflicts": 0,
        "churn": 0.0,
        "alerts": [{"round": round, "rule": "born", "what": kind.alert, "look_at": "it"}]
        * (bool(kind.alert) and round == kind.rounds),
        "ari": score,
        "nmi": score,
        "matched_accuracy": score,
    }
    slots = (0,) if kind.shared else (0, 1)
    updates = [update(round, client, slot, None if kind.shared else TASKS[slot]) for client in (0, 1) for slot in slots]
    clusters = [
        {"round": round, "cluster": slot, "size": 2, "persistence": None, "event": "born", "spread": 0.25}
        | {"aggregation_error": None, "silhouette": 0.5, "rival": 1 - slot, "rival_distance": 2.0}
        | {"arrived": 0, "left": 0}
        for slot in slots
    ]
    evaluations = [{"round": round, **judged(task, value)} for task, value in accuracy.items()]
    tables = {"updates": updates, "clusters": clusters, "evaluations": evaluations}
    return RoundRecord(round, {**line, **wire, **found, **seconds, "seconds": 8.0}, tables)


def update(round: int, client: int, slot: int, task: str | None) -> dict:
    wire = {"bytes_up": 10, "bytes_up_heads": 1, "bytes_down": 10, "bytes_down_heads": 1, "seconds_train": 1.0}
    place = {
        "x": float(slot),
        "y": float(client),
        "norm": 1.0,
        "cluster": slot,
        "restarted": False,
        "is_noise": client == 1,
        "membership": None,
        "moved_from": None,
    }
    return {
        "round": round,
        "client": client,
        "slot": slot,
        "task": task,
        "num_examples": 5,
        "train_loss": 0.5,
        **wire,
        **place,
    }


def judged(task: str, value: float) -> dict:
    return {"task": task, "cluster": None, "split": "test", "metric": "accuracy", "value": value, "num_examples": 10}


def own_text(page: Path) -> str:
    """The page without the plotly library, whose text must be there once."""
    library, text = get_plotlyjs(), page.read_text(encoding="utf-8")
    assert text.count(library) == 1
    return text.replace(library, "")


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows."""
    found = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    return [[re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in found]


def figures(text: str) -> dict[str, dict]:
    """Name -> figure, in the order of the page."""
    found = re.findall(r'<figure id="figure-(.*?)">.*?<script type="application/json">(.*?)</script>', text, re.DOTALL)
    return {name: json.loads(block) for name, block in found}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The page of one finished run, without the plotly library."""
    return own_text(write_report([write_run(tmp_path_factory.mktemp("runs") / "tiny")]))


def test_one_run_is_told_in_numbers(tiny):
    assert "2 rounds, finished" in tiny
    assert ["news", "0.500", "0.500", "0.700", "(0.397, 0.892)", "+0.200", ""] in rows(tiny)  # 7 of 10
    assert ["mean of tasks", "0.500", "0.500", "0.700", "", "+0.200", ""] in rows(tiny)
    assert ["6.00 MB", "2.00 MB", "1.0 %", "—"] in rows(tiny)
    assert ["16 s", "25.0 %", "25.0 %", "25.0 %"] in rows(tiny)
    assert ["2", "2", "0", "0", "1.000", "1.000", "1.000"] in rows(tiny)
    assert ["0", "2", "born", "0", "0", "—", "0.250", "0.500", "1", "2.000", "—"] in rows(tiny)
    assert ["1", "3.00 MB", "1.00 MB", *["2.0 s"] * 3, "0.0 s", "2.0 s"] in rows(tiny)
    assert "None. The rules of the experiment" in tiny


def test_figures_hold_the_records(tiny):
    drawn = figures(tiny)
    assert [(line["name"], line["y"]) for line in drawn["accuracy"]["data"]] == [
        (task, [0.5, 0.6, 0.7]) for task in TASKS
    ]
    assert [line["y"] for line in drawn["bytes"]["data"]] == [[0, 3, 6], [0, 1, 2]]  # MB
    assert drawn["scores"]["data"][0]["y"] == [1, 1]
    assert [frame["name"] for frame in drawn["confusion"]["frames"]] == ["1", "2"]
    assert drawn["confusion"]["data"][0]["z"] == [[2, None], [None, 2]]
    points = drawn["sight"]["data"][1]
    assert (points["x"], points["y"]) == ([0, 1, 0, 1], [0, 0, 1, 1])
    assert points["marker"]["symbol"] == ["circle", "square", "circle-open", "square-open"]


def test_several_runs_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [
        write_run(tmp_path / "good", Kind(gain=0.2)),
        write_run(tmp_path / "poor", Kind(gain=0.1, method="local")),
    ]
    page = write_report(folders)
    assert page.resolve() == tmp_path / "report.html"
    text = own_text(page)
    assert ["good", "tiny", "fltac", "4", "7", "2", "2 rounds, finished", "0.900", "2", "1.000", "8.00 MB"] in rows(
        text
    )
    assert ["news", "good", "0.500", "0.500", "0.900", "(0.596, 0.982)", "+0.400", ""] in rows(text)
    assert ["poor", "0.500", "0.500", "0.700", "(0.397, 0.892)", "+0.200", ""] in rows(text)
    assert text.count('class="best">0.900') == len(TASKS) + 1
    assert [cell.replace("&#34;", '"') for cell in rows(text)[-1]] == ["method", '"fltac"', '"local"']


def test_labels_tell_runs_apart(tmp_path):
    kind = Kind(rounds=1, planned=1)
    first, second, third = (write_run(tmp_path / name, kind) for name in ("a/run", "b/run", "other"))
    runs = read_runs([first, second, first / ".", third])
    assert [run.label for run in runs] == ["a/run", "b/run", "other"]


def test_unfinished_run(tmp_path):
    folder = write_run(tmp_path / "run", Kind(rounds=1, planned=5))
    # the tables of a round lie there before its checkpoint and its line do
    RunDirectory(folder)._write_table("updates", 2, [update(2, 0, 0, "news")])
    page = write_report([folder])
    assert page == folder / "report.html"
    text = own_text(page)
    assert "running, 1 of 5 rounds" in text
    assert [frame["name"] for frame in figures(text)["sight"]["frames"]] == ["1"]


def test_a_shared_adapter_has_no_task_and_no_score(tmp_path):
    folders = [write_run(tmp_path / "shared", Kind(shared=True, method="fedit")), write_run(tmp_path / "own")]
    alone = own_text(write_report(folders[:1]))
    assert ["2", "1", "0", "0", "—", "—", "—"] in rows(alone)
    drawn = figures(alone)
    assert [note["text"] for note in drawn["scores"]["layout"]["annotations"]].count("not defined") == 4
    assert drawn["confusion"]["data"][0]["y"] == ["all tasks"]
    assert drawn["sight"]["data"][1]["text"][0] == "all tasks"
    both = own_text(write_report(folders, tmp_path / "page.html"))
    assert ["own", "2", "2", "0", "0", "1.000", "1.000", "1.000"] in rows(both)
    assert "NaN" not in both


def test_the_page_asks_no_network(tiny):
    assert not re.search(r"(src|action)\s*=|href=[^#]{2}|url\(|@import|https?://", tiny)
    assert len(tiny) < 75_000


def test_names_are_escaped(tmp_path):
    evil = "</script><b>evil</b>"
    provenance = {"command": ["fltac", evil]}
    folders = [write_run(tmp_path / f"{n}<i>x", Kind(provenance=provenance), name=evil) for n in "ab"]
    text = own_text(write_report(folders, tmp_path / "page.html"))
    assert "<b>evil" not in text
    assert "<i>x" not in text
    assert "&lt;b&gt;evil" in text
    assert "a&lt;i&gt;x" in figures(text)["accuracy"]["data"][0]["name"]  # plotly reads names as HTML


def test_every_folder_that_is_no_run_is_named(tmp_path):
    empty = RunDirectory(tmp_path / "empty")
    empty.create("{}", {})
    with pytest.raises(InputError) as caught:
        write_report([tmp_path, empty.path, write_run(tmp_path / "run")])
    nothing, unborn = caught.value.lines()
    assert "is no run directory" in nothing
    assert "name the folder that fltac run wrote" in nothing
    assert "has no finished round yet" in unborn
    assert str(empty.path) in unborn


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_report([write_run(tmp_path / "run")], tmp_path / "nowhere" / "page.html")


def test_no_folder_at_all():
    with pytest.raises(InputError, match="name at least one"):
        write_report([])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (human_bytes(999), "999 B"),
        (human_bytes(1_000), "1.00 kB"),
        (human_bytes(31_800_000), "31.8 MB"),
        (human_bytes(123_456_789_000), "123 GB"),
        (duration(0.414), "0.4 s"),
        (duration(125), "2 min 05 s"),
        (duration(3600 * 3 + 60 * 7), "3 h 07 min"),
        (share(1, 3), "33.3 %"),
        (share(0, 0), "—"),
        (signed(-0.05), "\N{MINUS SIGN}0.050"),
        (signed(None), "—"),
    ],
)
def test_numbers_are_written_for_people(written, expected):
    assert written == expected


def test_alerts_are_told_with_their_round_and_run(tmp_path):
    folders = [write_run(tmp_path / "loud", Kind(alert="cluster 5 is <new>")), write_run(tmp_path / "quiet")]
    assert ["2", "born", "cluster 5 is &lt;new&gt;", "it", "lineage, map"] in rows(own_text(write_report(folders[:1])))
    both = own_text(write_report(folders, tmp_path / "both.html"))
    assert ["loud", "2", "born", "cluster 5 is &lt;new&gt;", "it", "lineage, map"] in rows(both)


def test_a_world_that_changed_is_told_and_the_mean_is_of_the_tasks_that_are_left(tmp_path):
    path = write_run(tmp_path / "changed")
    file = path / "experiment.json"
    changes = [
        {"type": "task-ends", "round": 2, "task": "tweets"},
        {"type": "client-drifts", "round": 2, "task": "news", "becomes": "tweets", "client": None, "share": None},
        {"type": "client-leaves", "round": 1, "client": 1},
    ]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"changes": changes}))
    (run,) = read_runs([path])
    summary = replace(run.summary, accuracy={"news": 0.7}, majority={"news": 0.5, "tweets": 0.9})
    table = results([replace(run, summary=summary)]).set_index("task")
    assert table.loc["mean of tasks", "difference"] == pytest.approx(0.2)
    page = own_text(write_report([path]))
    assert (
        "from round 1 on client 1 leaves; from round 2 on task tweets ends; from round 2 on a client&#39;s news" in page
    )
    assert [
        shape["x0"] for shape in figures(page)["accuracy"]["layout"]["shapes"] if shape["line"]["dash"] == "dot"
    ] == [
        1,
        2,
        2,
    ]
