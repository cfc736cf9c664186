"""Clusters against the true tasks, a frame a round: what the server found beside what it was never told."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from fltac.report.reading import Run
from fltac.report.slots import named_updates, present_tasks
from fltac.report.style import LIGHT, Framed, framed


def counts(run: Run) -> dict[int, pd.DataFrame]:
    """Round -> how many slots of each task (rows) that sent an update lie in each cluster (columns)."""
    tasks = present_tasks(run)
    return {
        int(str(number)): pd.crosstab(part["task"], part["cluster"]).reindex(tasks, fill_value=0)
        for number, part in named_updates(run).groupby("round")
    }


def clusters_by_task(run: Run) -> Framed | None:
    """The counts as a heat map; None where nothing was merged."""
    tables = counts(run)
    if not tables:
        return None
    most = max(int(table.to_numpy().max()) for table in tables.values())
    frames = [{"name": str(number), "data": [_heat(table, most)]} for number, table in tables.items()]
    drawn = framed(frames, height=110 + 44 * len(present_tasks(run)))
    drawn.figure.update_xaxes(type="category", title_text="cluster", showgrid=False, ticks="")
    drawn.figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")
    return drawn


def _heat(table: pd.DataFrame, most: int) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": [str(cluster) for cluster in table],
        "y": [html.escape(str(task)) for task in table.index],
        "z": [[count or None for count in row] for row in table.to_numpy().tolist()],  # an empty cell stays bare
        "zmin": 0,
        "zmax": most,
        "colorscale": LIGHT,
        "showscale": False,
        "texttemplate": "%{z}",
        "textfont": {"color": "black"},
        "hovertemplate": "%{y} in cluster %{x}: %{z} slots<extra></extra>",
        "hoverongaps": False,
        "xgap": 3,
        "ygap": 3,
    }
