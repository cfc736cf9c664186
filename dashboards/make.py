"""Writes the Grafana boards from the tables below: `python dashboards/make.py`.

In a query `{@}` stands for the filter by session, cluster and run; `{@@}` for that by session and cluster alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SESSION = 'SessionName=~"$SessionName",ray_io_cluster=~"$Cluster"'
RUN = f'{SESSION},run=~"$run"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Graph(NamedTuple):
    """A figure over time; `queries` are legend -> query."""

    title: str
    help: str
    unit: str
    queries: dict[str, str]
    stacked: bool = False
    top: float | None = None  # of the axis
    width = 12
    height = 8
    type = "timeseries"

    def field(self) -> dict[str, Any]:
        custom = {"lineWidth": 2, "showPoints": "auto", "spanNulls": True, "fillOpacity": 30 if self.stacked else 0}
        custom["stacking"] = {"group": "A", "mode": "normal" if self.stacked else "none"}
        bounds = {} if self.top is None else {"max": self.top}
        return {"unit": self.unit, "min": 0, "custom": custom, **bounds}

    def options(self) -> dict[str, Any]:
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


class Figure(NamedTuple):
    """A figure as it is now; from `red` on it is red."""

    title: str
    help: str
    unit: str
    queries: dict[str, str]
    red: float | None = None
    width = 4
    height = 4
    type = "stat"

    def field(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
        if self.red is not None:
            steps.append({"color": "red", "value": self.red})
        return {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}

    def options(self) -> dict[str, Any]:
        calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"colorMode": "value", "graphMode": "none", "textMode": "auto", "reduceOptions": calculated}


Panel = Graph | Figure
BOARDS: dict[str, tuple[str, list[Panel]]] = {  # file -> title, panels
    "run": (
        "fltac: run",
        [
            Figure("Round", "The last finished round.", "none", {"{{run}}": "max by (run) (ray_fltac_round{@})"}),
            Figure(
                "Done",
                "Finished rounds of those that are planned.",
                "percentunit",
                {"{{run}}": "max by (run) (ray_fltac_round{@}) / max by (run) (ray_fltac_rounds_planned{@})"},
            ),
            Figure(
                "Without a round since",
                "Time since the last round ended, or the run began.",
                "s",
                {"{{run}}": "max by (run) (run:fltac_progress_age:seconds{@})"},
            ),
            Figure(
                "Accuracy",
                "Mean of the tasks on test.",
                "percentunit",
                {"{{run}}": 'avg by (run) (ray_fltac_accuracy_ratio{@,split="test"})'},
            ),
            Figure("Clusters", "Once settled.", "none", {"{{run}}": "max by (run) (ray_fltac_clusters{@})"}),
            Figure(
                "Alerts, 15 minutes",
                "Those of [alerts], as in the report of the run.",
                "none",
                {"{{run}}": "round(sum by (run) (run:fltac_alerts:increase15m{@}))"},
                red=1,
            ),
            Graph(
                "Accuracy on test",
                "Of each task, the mean of its holders.",
                "percentunit",
                {"{{run}} {{task}}": 'max by (run, task) (ray_fltac_accuracy_ratio{@,split="test"})'},
                top=1,
            ),
            Graph(
                "Accuracy on validation",
                "Of the tasks that set some aside: choose by it.",
                "percentunit",
                {"{{run}} {{task}}": 'max by (run, task) (ray_fltac_accuracy_ratio{@,split="validation"})'},
                top=1,
            ),
            Graph("Training loss", "Mean of the round.", "none", {"{{run}}": "avg by (run) (ray_fltac_train_loss{@})"}),
            Graph(
                "Clients and updates",
                "Clients of the last round; updates of the last 15 minutes.",
                "none",
                {
                    "{{run}} clients": "max by (run) (ray_fltac_clients{@})",
                    "{{run}} {{result}}": "sum by (run, result) (increase(ray_fltac_updates_total{@}[15m]))",
                },
            ),
            Graph(
                "Bytes of a round",
                "Both ways, without the frozen base, and the budget where there is one.",
                "decbytes",
                {
                    "{{run}} {{direction}}": "max by (run, direction) (ray_fltac_round_bytes{@})",
                    "{{run}} budget": 'max by (run) (ray_fltac_alert_bound{@,rule="bytes"})',
                },
            ),
            Graph(
                "Bytes by kind",
                "Since the process began.",
                "decbytes",
                {"{{direction}} {{kind}}": "sum by (direction, kind) (ray_fltac_bytes_total{@})"},
                stacked=True,
            ),
            Graph(
                "Seconds of a round",
                "Mean by stage.",
                "s",
                {"{{run}} {{stage}}": "run:fltac_round_seconds:mean{@}"},
                stacked=True,
            ),
            Graph(
                "Rounds",
                "An hour, by the last 15 minutes.",
                "none",
                {"{{run}}": "3600 * sum by (run) (rate(ray_fltac_rounds_total{@}[15m]))"},
            ),
        ],
    ),
    "clusters": (
        "fltac: clusters and drift",
        [
            Graph("Clusters", "Once settled.", "none", {"{{run}}": "max by (run) (ray_fltac_clusters{@})"}),
            Graph(
                "Births, splits, merges, deaths",
                "Of clusters, after round 1; in 15 minutes.",
                "none",
                {"{{run}} {{event}}": "sum by (run, event) (increase(ray_fltac_cluster_events_total{@}[15m]))"},
            ),
            Graph(
                "Left out as noise",
                "Share of the adapters, and the bound of [alerts].",
                "percentunit",
                {
                    "{{run}}": "max by (run) (ray_fltac_noise_ratio{@})",
                    "{{run}} bound": 'max by (run) (ray_fltac_alert_bound{@,rule="noise"})',
                },
                top=1,
            ),
            Graph(
                "Churn",
                "Share of the slots that changed their cluster, and the bound of [alerts].",
                "percentunit",
                {
                    "{{run}}": "max by (run) (ray_fltac_churn_ratio{@})",
                    "{{run}} bound": 'max by (run) (ray_fltac_alert_bound{@,rule="churn"})',
                },
                top=1,
            ),
            Graph(
                "Pairs of one client's slots put together",
                "Different tasks that the clusterer took for one (cannot-link violations).",
                "none",
                {"{{run}}": "max by (run) (ray_fltac_cannot_link_violations{@})"},
            ),
            Graph(
                "Persistence",
                "Of the least persistent cluster: low is where the next split comes from.",
                "none",
                {"{{run}}": "min by (run) (ray_fltac_cluster_persistence_ratio{@})"},
            ),
            Graph(
                "Error of aggregation",
                "What averaging B and A apart misses of the mean of BA, of the cluster where it is most.",
                "percentunit",
                {"{{run}}": "max by (run) (ray_fltac_aggregation_error_ratio{@})"},
            ),
            Graph(
                "Alerts by rule",
                "Of [alerts], in 15 minutes: the report of the run says where.",
                "none",
                {"{{run}} {{rule}}": "sum by (run, rule) (run:fltac_alerts:increase15m{@})"},
            ),
        ],
    ),
    "sweep": (
        "fltac: sweep",
        [
            Figure(
                "Points finished",
                "",
                "none",
                {"{{run}}": 'max by (run) (ray_fltac_sweep_points{@,status="finished"})'},
            ),
            Figure(
                "Points failed",
                "",
                "none",
                {"{{run}}": 'max by (run) (ray_fltac_sweep_points{@,status="failed"})'},
                red=1,
            ),
            Figure("Points left", "", "none", {"{{run}}": 'max by (run) (ray_fltac_sweep_points{@,status="left"})'}),
            Figure(
                "Best, validation",
                "Mean accuracy of the best finished point.",
                "percentunit",
                {"{{run}}": 'max by (run) (ray_fltac_sweep_best_accuracy_ratio{@,split="validation"})'},
            ),
            Figure(
                "Best, test",
                "Choose by validation where there is some.",
                "percentunit",
                {"{{run}}": 'max by (run) (ray_fltac_sweep_best_accuracy_ratio{@,split="test"})'},
            ),
            Figure(
                "On the front",
                "Points that no other beats in accuracy and bytes.",
                "none",
                {"{{run}}": "max by (run) (ray_fltac_sweep_front_points{@})"},
            ),
            Graph(
                "Points",
                "",
                "none",
                {"{{run}} {{status}}": "max by (run, status) (ray_fltac_sweep_points{@})"},
                stacked=True,
            ),
            Graph(
                "Best accuracy",
                "Of the finished points.",
                "percentunit",
                {"{{run}} {{split}}": "max by (run, split) (ray_fltac_sweep_best_accuracy_ratio{@})"},
                top=1,
            ),
            Graph(
                "Points under way: accuracy",
                "Mean of the tasks on test; a line is a process, which runs one point after another.",
                "percentunit",
                {"{{run}} {{WorkerId}}": 'avg by (run, WorkerId) (ray_fltac_accuracy_ratio{@,split="test"})'},
                top=1,
            ),
            Graph(
                "Points under way: training loss",
                "A line is a process.",
                "none",
                {"{{run}} {{WorkerId}}": "max by (run, WorkerId) (ray_fltac_train_loss{@})"},
            ),
            Graph(
                "Points under way: round",
                "A line is a process.",
                "none",
                {"{{run}} {{WorkerId}}": "max by (run, WorkerId) (ray_fltac_round{@})"},
            ),
            Graph(
                "Bytes of all points",
                "Since their processes began, without the frozen base.",
                "decbytes",
                {"{{run}} {{direction}}": 'sum by (run, direction) (ray_fltac_bytes_total{@,kind!="base"})'},
            ),
        ],
    ),
    "cluster": (
        "fltac: cluster resources",
        [
            Graph(
                "Processors",
                "Share in use, by node.",
                "percent",
                {"{{instance}}": "max by (instance) (ray_node_cpu_utilization{@@})"},
                top=100,
            ),
            Graph(
                "Memory",
                "Share in use, by node.",
                "percentunit",
                {
                    "{{instance}}": "max by (instance) (ray_node_mem_used_host{@@})"
                    " / max by (instance) (ray_node_mem_total_host{@@})"
                },
                top=1,
            ),
            Graph(
                "GPU memory",
                "Share in use, by device: client actors that share one are capped at their fraction.",
                "percentunit",
                {"{{instance}} GPU {{GpuIndex}}": "node:ray_gpu_memory:used_ratio{@@}"},
                top=1,
            ),
            Graph(
                "GPUs",
                "Share of time at work, by device.",
                "percent",
                {"{{instance}} GPU {{GpuIndex}}": "max by (instance, GpuIndex) (ray_node_gpus_utilization{@@})"},
                top=100,
            ),
            Graph(
                "Memory by process",
                "Of actors and drivers, without what they share.",
                "bytes",
                {
                    "{{Component}}": "sum by (Component) (ray_component_rss_bytes{@@})"
                    " - sum by (Component) (ray_component_shared_bytes{@@})"
                },
                stacked=True,
            ),
            Graph(
                "Object store",
                "The frozen base lies here once a node.",
                "bytes",
                {"{{Location}}": "sum by (Location) (ray_object_store_memory{@@})"},
                stacked=True,
            ),
            Graph(
                "Resources taken",
                "Of what actors ask for in the experiment.",
                "none",
                {
                    "{{Name}} {{State}}": 'sum by (Name, State) (ray_resources{@@,Name=~"CPU|GPU"})',
                },
            ),
            Graph(
                "Actors",
                "By state.",
                "none",
                {"{{State}}": 'sum by (State) (ray_actors{@@,Source="gcs"})'},
                stacked=True,
            ),
            Graph(
                "Network",
                "Between nodes; what fltac counts as sent is in the board of the run.",
                "Bps",
                {
                    "{{instance}} received": "max by (instance) (ray_node_network_receive_speed{@@})",
                    "{{instance}} sent": "max by (instance) (ray_node_network_send_speed{@@})",
                },
            ),
            Graph(
                "Disk",
                "Share in use where Ray keeps its files, by node.",
                "percentunit",
                {
                    "{{instance}}": "max by (instance) (ray_node_disk_usage{@@})"
                    " / (max by (instance) (ray_node_disk_usage{@@}) + max by (instance) (ray_node_disk_free{@@}))"
                },
                top=1,
            ),
        ],
    ),
}
VARIABLES = {  # name -> where its values come from, and what All means
    "SessionName": ("ray_node_cpu_count, SessionName", ".*"),
    "Cluster": ('ray_node_cpu_count{SessionName=~"$SessionName"}, ray_io_cluster', ".*"),  # a label that KubeRay sets
    "run": (f'{{__name__=~"ray_fltac_.+",{SESSION}}}, run', ".+"),
}


def board(name: str) -> dict[str, Any]:
    """A board as Grafana reads it, its panels in rows of 24 columns."""
    title, panels = BOARDS[name]
    placed, x, y = [], 0, 0
    for number, panel in enumerate(panels):
        placed.append(_panel(number + 1, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x += panel.width
        if x == 24:
            x, y = 0, y + panel.height
    runs = any("{@" in query.replace("{@@", "") for panel in panels for query in panel.queries.values())
    return {
        "uid": f"fltac-{name}",
        "title": title,
        "tags": ["fltac"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["fltac"], "title": "fltac", "keepTime": True, "includeVars": True}],
        "templating": {"list": [_source(), *(_variable(one) for one in VARIABLES if one != "run" or runs)]},
        "panels": placed,
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query.replace("{@@", f"{{{SESSION}").replace("{@", f"{{{RUN}"),
            "legendFormat": legend,
            "range": panel.type == "timeseries",
            "instant": panel.type == "stat",
        }
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": panel.field(), "overrides": []},
        "options": panel.options(),
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(name: str) -> dict[str, Any]:
    series, every = VARIABLES[name]
    query = f"label_values({series})"
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 2,
        "includeAll": True,
        "allValue": every,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def text(name: str) -> str:
    return json.dumps(board(name), indent=1) + "\n"


if __name__ == "__main__":
    for name in BOARDS:
        (HERE / "grafana" / f"fltac-{name}.json").write_text(text(name))
