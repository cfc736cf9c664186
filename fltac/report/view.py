"""All that the page shows of one run: its figures, their tables, and where its alerts are seen."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from fltac.report import layers, ledger
from fltac.report.adapter_map import evolution_map, round_map
from fltac.report.confusion import clusters_by_task, counts
from fltac.report.lineage import Place, alluvial, events, slot_table
from fltac.report.reading import Run
from fltac.report.slots import Slot
from fltac.report.style import Framed

Rows = list[dict[Hashable, Any]]

# rule -> the sections whose figures show what it is about, the first first
SEEN = {
    "noise": ("map",),
    "conflicts": ("map", "confusion"),
    "bytes": ("bytes",),
    "left_out": ("bytes",),
    "outvoted": ("map",),
    "restarted": ("map", "lineage"),
}
ELSEWHERE = ("lineage", "map")  # born, split, merged, lone, moved, churn
PLACES = {"lineage": "lineage", "map": "map", "confusion": "clusters and tasks", "bytes": "bytes"}


@dataclass(frozen=True)
class View:
    """One run as the page shows it; figures that its records do not carry are None. `suffix` ends its ids."""

    run: Run
    suffix: str
    alerts: Rows
    lineage: go.Figure | None
    slots: tuple[list[tuple[Slot, str, list[Place]]], int]
    events: list[tuple[int, str, str]]
    evolution: tuple[Framed, str] | None
    map: Framed | None
    confusion: Framed | None
    counts: pd.DataFrame | None  # of the last round that has any
    clusters: Rows  # of the last round
    distances: go.Figure | None
    separation: go.Figure | None
    separations: pd.DataFrame
    carriers: str
    bytes: tuple[go.Figure, str]
    by_client: Rows
    stages: pd.DataFrame  # seconds, a row a round
    time: go.Figure
    clocks: Rows

    def rounds_seen(self, section: str) -> list[int]:
        """The rounds of which an alert is seen in this section."""
        return sorted({alert["round"] for alert in self.alerts if section in seen(alert["rule"])})


def view(run: Run, embedding: str, suffix: str) -> View:
    """Everything about a run."""
    tables = counts(run)
    return View(
        run=run,
        suffix=suffix,
        alerts=[alert for told in run.rounds["alerts"] for alert in told],
        lineage=alluvial(run),
        slots=slot_table(run),
        events=events(run),
        evolution=evolution_map(run, embedding),
        map=round_map(run),
        confusion=clusters_by_task(run),
        counts=tables[max(tables)] if tables else None,
        clusters=_last_clusters(run),
        distances=layers.distances_over_rounds(run),
        separation=layers.separation_by_layer(run),
        separations=layers.separations(run),
        carriers=layers.carriers(run),
        bytes=ledger.byte_ledger(run),
        by_client=ledger.bytes_by_client(run).to_dict("records"),
        stages=ledger.stages(run),
        time=ledger.time_profile(run),
        clocks=ledger.clocks(run),
    )


def seen(rule: str) -> tuple[str, ...]:
    """The sections where an alert of this rule is seen."""
    return SEEN.get(rule, ELSEWHERE)


def _last_clusters(run: Run) -> Rows:
    table = run.clusters[run.clusters["round"] == run.summary.rounds]
    return table.sort_values("cluster").to_dict("records")
