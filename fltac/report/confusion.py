"""Clusters against the true tasks, a frame a round: what the server found beside what it was never told."""

from __future__ import annotations

import html

import pandas as pd
import plotly.graph_objects as go

from fltac.report.reading import Run
from fltac.report.slots import named_updates, present_tasks
from fltac.report.style import LIGHT, framed


def counts(run: Run) -> dict[int, pd.DataFrame]:
    """Round -> how many slots of each task (rows) that sent an update lie in each cluster (columns)."""
    tasks = present_tasks(run)
    return {
        int(str(number)): pd.crosstab(part["task"], part["cluster"]).reindex(tasks, fill_value=0)
        for number, part in named_updates(run).groupby("round")
    }


def clusters_by_task(run: Run) -> go.Figure | None:
    """The counts as a heat map; None where nothing was merged."""
    tables = counts(run)
    if not tables:
        return None
    most = max(int(table.to_numpy().max()) for table in tables.values())
    frames = [go.Frame(name=str(number), data=[_heat(table, most)]) for number, table in tables.items()]
    figure = framed(frames, height=110 + 44 * len(present_tasks(run)))
    figure.update_xaxes(type="category", title_text="cluster", showgrid=False, ticks="")
    return figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")


def _heat(table: pd.DataFrame, most: int) -> go.Heatmap:
    return go.Heatmap(
        x=[str(cluster) for cluster in table],
        y=[html.escape(str(task)) for task in table.index],
        z=[[count or None for count in row] for row in table.to_numpy().tolist()],  # an empty cell stays bare
        zmin=0,
        zmax=most,
        colorscale=LIGHT,
        showscale=False,
        texttemplate="%{z}",
        textfont={"color": "black"},
        hovertemplate="%{y} in cluster %{x}: %{z} slots<extra></extra>",
        hoverongaps=False,
        xgap=3,
        ygap=3,
    )
