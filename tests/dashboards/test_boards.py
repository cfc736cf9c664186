"""Boards, rules and registry belong together: no query of what is not there, no metric that nobody looks at."""

import re
import subprocess

import pytest
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from fltac.monitoring import METRICS
from tests.dashboards.boards import DASHBOARDS, GPU, boards, maker, queries, rules, tool

RECORDED = {name for kind, name, _ in rules() if kind == "record"}
EXPRESSIONS = [*queries(), *((name, expression) for _, name, expression in rules())]


def names(query):
    """The metrics and recorded series of a query: what stands before a selector or is no word of the language."""
    bare = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\bray_[a-z_0-9]+|\b(?:run|node):[a-z_:0-9]+", bare))


def test_the_boards_are_what_the_script_writes():
    made = maker()
    assert {f"fltac-{name}" for name in made.BOARDS} == boards().keys()
    for name in made.BOARDS:
        assert (DASHBOARDS / "grafana" / f"fltac-{name}.json").read_text() == made.text(name)


@pytest.mark.parametrize(("name", "board"), boards().items(), ids=boards())
def test_panels_fill_their_rows_and_filter_by_the_variables(name, board):
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert len(cells) == 24 * (1 + max(y for _, y in cells))
    variables = {one["name"] for one in board["templating"]["list"]}
    assert {"datasource", "SessionName", "Cluster"} <= variables
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) == variables - {"datasource"}
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize(("where", "query"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_what_is_asked_for_is_registered_recorded_or_rays_own(where, query):
    assert names(query)
    for name in names(query):
        if name.startswith("ray_fltac_"):
            assert name.removeprefix("ray_") in METRICS
        elif name.startswith("ray_node_gpu") or "gram" in name.split(":")[0]:
            assert name.removeprefix("ray_") in METRICS_GAUGES  # no test here has a GPU
        elif ":" in name:
            assert name in RECORDED


def test_every_registered_metric_is_on_a_board():
    recorded = {name: names(expression) for kind, name, expression in rules() if kind == "record"}
    shown = set().union(*(names(query) for _, query in queries()))
    for _ in recorded:  # what a shown series is recorded from is shown
        shown |= set().union(*(recorded[name] for name in shown & recorded.keys()))
    assert {f"ray_{name}" for name in METRICS} <= shown


def test_every_recorded_series_is_asked_for():
    asked = set().union(*(names(query) for _, query in EXPRESSIONS))
    assert asked >= RECORDED


def test_rules_and_configuration_are_right_for_prometheus():
    folder = DASHBOARDS / "prometheus"
    for command in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"]):
        done = subprocess.run([tool("promtool"), *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_is_due_and_only_then():
    folder = DASHBOARDS / "prometheus"
    tests = (folder / "rules_test.yml").read_text()
    for kind, name, _ in rules():
        if kind == "alert":
            assert re.search(rf"alertname: {name}, eval_time: \w+, exp_alerts: \[\]", tests)
            assert re.search(rf"- alertname: {name}\n\s+eval_time: \w+\n\s+exp_alerts:\n\s+- exp_labels", tests)
    command = [tool("promtool"), "test", "rules", "rules_test.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_what_takes_a_gpu_is_excused_from_the_live_test():
    excused = [where for where, query in EXPRESSIONS if GPU.search(query)]
    assert excused == [
        "fltac-cluster: GPU memory",
        "fltac-cluster: GPUs",
        "node:ray_gpu_memory:used_ratio",
        "FltacGpuMemoryNearCap",
    ]
