"""The figures of single rounds: one plotly frame a round, which the sliders of the page step through."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from fltac.report.reading import Run
from fltac.report.style import GREY, LIGHT, SYMBOLS, colour, plain

SHARED = "all tasks"  # one adapter serves all tasks of its client


def clusters_by_task(run: Run) -> go.Figure:
    """How many slots of each task lie in each cluster, a frame a round."""
    table = named_updates(run)
    tasks = _present_tasks(run, table)
    most = int(table.groupby(["round", "task", "cluster"]).size().max())
    frames = [go.Frame(name=str(number), data=[_heat(part, tasks, most)]) for number, part in table.groupby("round")]
    figure = framed(frames, height=110 + 44 * len(tasks))
    figure.update_xaxes(type="category", title_text="cluster", showgrid=False, ticks="")
    return figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")


def adapter_map(run: Run) -> go.Figure:
    """Two principal components of a round's adapters, a frame a round: colour cluster, symbol task, hollow noise."""
    table = named_updates(run)
    symbols = task_symbols(run, table)
    frames = [
        go.Frame(name=str(number), data=[points(part, symbols), cluster_names(part), *symbol_key(symbols)])
        for number, part in table.groupby("round")
    ]
    figure = framed(frames, height=520).update_layout(showlegend=True)
    return figure.update_xaxes(zeroline=False).update_yaxes(scaleanchor="x", zeroline=False)


def named_updates(run: Run) -> pd.DataFrame:
    """The updates that were merged, none without a name for its task."""
    return run.merged.assign(task=run.merged["task"].fillna(SHARED))


def task_symbols(run: Run, table: pd.DataFrame) -> dict[str, str]:
    """Task -> its marker, in the order of the experiment file."""
    return {task: SYMBOLS[number % len(SYMBOLS)] for number, task in enumerate(_present_tasks(run, table))}


def _present_tasks(run: Run, table: pd.DataFrame) -> list[str]:
    return [task for task in [*run.tasks, SHARED] if (table["task"] == task).any()]


def _heat(updates: pd.DataFrame, tasks: list[str], most: int) -> go.Heatmap:
    counts = pd.crosstab(updates["task"], updates["cluster"]).reindex(tasks, fill_value=0)
    return go.Heatmap(
        x=[str(cluster) for cluster in counts],
        y=[html.escape(task) for task in tasks],
        z=[[count or None for count in row] for row in counts.to_numpy().tolist()],  # an empty cell stays bare
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


def points(updates: pd.DataFrame, symbols: dict[str, str], size: Any = 12, opacity: Any = 0.85) -> go.Scatter:
    """A marker an update, at its x and y; sizes and opacities are one number, or one each."""
    rows = updates.to_dict("records")
    return go.Scatter(
        x=[float(f"{row['x']:.5g}") for row in rows],
        y=[float(f"{row['y']:.5g}") for row in rows],
        mode="markers",
        marker={
            "size": size,
            "opacity": opacity,
            "color": [colour(row["cluster"]) for row in rows],
            "symbol": [symbols[row["task"]] + ("-open" if row["is_noise"] else "") for row in rows],
            "line": {"width": [2 if row["is_noise"] else 0 for row in rows]},
        },
        hovertext=[_hover(row) for row in rows],
        hoverinfo="text",
        showlegend=False,
    )


def cluster_names(updates: pd.DataFrame) -> go.Scatter:
    """A name above every cluster of two or more; those of one would bury the points."""
    shared = updates.groupby("cluster").filter(lambda members: len(members) > 1)
    above = shared.loc[shared.groupby("cluster")["y"].idxmax()].to_dict("records")
    return go.Scatter(
        x=[row["x"] for row in above],
        y=[row["y"] for row in above],
        mode="text",
        text=[f"cluster {row['cluster']}<br> " for row in above],
        textposition="top center",
        textfont={"color": GREY, "size": 13},
        hoverinfo="skip",
        showlegend=False,
    )


def symbol_key(symbols: dict[str, str]) -> Iterable[go.Scatter]:
    """The tasks' markers: traces without points, for the legend only."""
    for task, symbol in symbols.items():
        marker = {"symbol": symbol, "color": GREY, "size": 12}
        yield go.Scatter(x=[None], y=[None], mode="markers", name=html.escape(task), marker=marker)


def _hover(row: dict[Any, Any]) -> str:
    noise = " (noise)" if row["is_noise"] else ""
    who = f"round {row['round']}, client {row['client']}, slot {row['slot']}<br>task {html.escape(row['task'])}"
    return f"{who}<br>cluster {row['cluster']}{noise}<br>train loss {row['train_loss']:.3f}"


def framed(frames: list[go.Frame], height: int) -> go.Figure:
    """The last frame is what is shown first."""
    return plain(go.Figure(data=frames[-1].data, frames=frames), height)
