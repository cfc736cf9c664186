"""The figures over rounds: accuracy, bytes and clustering, one panel a quantity, one line a run (or a task)."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fltac.report.reading import MEAN, Run, accuracy, all_tasks, cumulative_bytes
from fltac.report.style import GREY, colour, plain, run_line

Curve = Callable[[Run], pd.Series]  # index: round
PANEL_HEIGHT = 270


def accuracy_over_rounds(runs: Sequence[Run]) -> go.Figure:
    """One run: a line a task. Several: a panel a task and one for the mean, a line a run. Dashed: majority class."""
    if len(runs) == 1:
        return _accuracy_of_tasks(runs[0])
    tasks = all_tasks(runs)
    figure = _curves(runs, {task: _accuracy_of(task) for task in [*tasks, MEAN]})
    for panel, task in enumerate(tasks):
        for value in sorted({run.summary.majority[task] for run in runs if task in run.summary.majority}):
            _reference(figure, value, GREY, **_place(panel, len(tasks) + 1))
    return figure


def accuracy_over_bytes(runs: Sequence[Run]) -> go.Figure:
    """Mean accuracy against the bytes sent up and down so far, a line a run, a marker a round."""
    totals = [cumulative_bytes(run)["total"] for run in runs]
    unit, size = byte_unit(max(float(total.max()) for total in totals))
    figure = plain(go.Figure(), 400)
    for number, (run, total) in enumerate(zip(runs, totals, strict=True)):
        reached = accuracy(run)[MEAN].reindex(total.index)
        figure.add_trace(_line(total / size, reached, run.label, run_line(number)))
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text=f"{unit}, up and down", rangemode="tozero")
    return figure.update_yaxes(title_text="mean accuracy")


def bytes_over_rounds(runs: Sequence[Run]) -> go.Figure:
    """Bytes sent so far, a panel for up and one for down, a line a run."""
    unit, size = byte_unit(max(float(cumulative_bytes(run)[["up", "down"]].max().max()) for run in runs))
    figure = _curves(runs, {f"{unit} {way}": _bytes_of(way, size) for way in ("up", "down")})
    figure.update_layout(meta={"rounds": True})
    return figure.update_yaxes(rangemode="tozero").update_yaxes(matches="y", col=2)


def clustering_over_rounds(runs: Sequence[Run]) -> go.Figure:
    """A panel a score, a line a run; dashed among the clusters: as many as there are true tasks."""
    scores = {
        "ARI": "ari",
        "NMI": "nmi",
        "matched accuracy": "matched_accuracy",
        "clusters": "clusters",
        "noise": "noise",
    }
    curves = {**{title: _score_of(name) for title, name in scores.items()}, "aggregation error": _aggregation_error}
    places = {title: _place(panel, len(curves)) for panel, title in enumerate(curves)}
    figure = _curves(runs, curves).update_yaxes(rangemode="tozero")
    for title in ("clusters", "noise"):
        most = max(int(run.rounds[scores[title]].max()) for run in runs)
        figure.update_yaxes(dtick=max(1, math.ceil(most / 5)), **places[title])  # whole numbers
    for count in sorted({run.true_clusters for run in runs}):
        _reference(figure, count, GREY, **places["clusters"])
    return figure


def _accuracy_of_tasks(run: Run) -> go.Figure:
    table = accuracy(run)
    figure = _rounds_axis(plain(go.Figure(), 400), int(table.index.max()))
    for number, task in enumerate(run.tasks):
        figure.add_trace(_line(table.index, table[task], task, {"color": colour(number), "width": 2}))
        if task in run.summary.majority:
            _reference(figure, run.summary.majority[task], colour(number))
    for round, _ in run.changes:
        figure.add_vline(x=round, line={"color": GREY, "width": 1, "dash": "dot"}, layer="below")
    figure.update_layout(showlegend=True, meta={"rounds": True})
    return figure.update_xaxes(title_text="round").update_yaxes(title_text="accuracy")


def _curves(runs: Sequence[Run], curves: Mapping[str, Curve]) -> go.Figure:
    """A panel a curve and in each a line a run; a panel that no run has values for says so."""
    columns = _columns(len(curves))
    rows = math.ceil(len(curves) / columns)
    titles = [html.escape(title) for title in curves]
    spacing = {"horizontal_spacing": 0.07, "vertical_spacing": 0.28 / rows}
    figure = make_subplots(rows, columns, subplot_titles=titles, **spacing)
    plain(figure, 60 + PANEL_HEIGHT * rows).update_layout(showlegend=len(runs) > 1)
    figure.update_layout(margin_t=70 if len(runs) > 1 else 40)
    for panel, curve in enumerate(curves.values()):
        place = _place(panel, len(curves))
        drawn = [(number, run, curve(run).astype(float)) for number, run in enumerate(runs)]
        for number, run, values in drawn:
            line = _line(values.index, values, run.label, run_line(number))
            figure.add_trace(line.update(showlegend=panel == 0, legendgroup=str(number)), **place)
        if all(values.isna().all() for _, _, values in drawn):
            middle = {"x": 0.5, "y": 0.5, "xref": "x domain", "yref": "y domain"}
            figure.add_annotation(text="not defined", showarrow=False, **middle, **place)
            figure.update_xaxes(visible=False, **place).update_yaxes(visible=False, **place)
    return _rounds_axis(figure, max(run.summary.rounds for run in runs))


def _line(x: Any, y: pd.Series, name: str, line: Mapping[str, Any]) -> go.Scatter:
    """Values as numbers and not as plotly's packed bytes, for whoever reads the page's source."""
    style = {"line": line, "marker": {"size": 6, "symbol": "circle"}, "mode": "lines+markers"}
    name = html.escape(name)  # plotly reads names as HTML
    return go.Scatter(
        x=_numbers(x), y=_numbers(y), name=name, hovertemplate=f"{name}: %{{y:.4g}}<extra></extra>", **style
    )


def _numbers(values: Any) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in values]


def _reference(figure: go.Figure, value: float, colour: str, **place: int) -> None:
    figure.add_hline(y=value, line={"color": colour, "dash": "dash", "width": 1}, **place)


def _rounds_axis(figure: go.Figure, last: int) -> go.Figure:
    return figure.update_xaxes(dtick=max(1, math.ceil(last / 8)), range=[-0.04 * last, 1.04 * last])


def _columns(panels: int) -> int:
    """Rows without holes: 4 panels are 2 x 2, 6 are 2 x 3."""
    return 2 if panels in (2, 4) else min(3, panels)


def _place(panel: int, panels: int) -> dict[str, int]:
    row, column = divmod(panel, _columns(panels))
    return {"row": row + 1, "col": column + 1}


def _accuracy_of(task: str) -> Curve:
    return lambda run: accuracy(run).get(task, pd.Series(dtype=float))


def _bytes_of(way: str, size: float) -> Curve:
    return lambda run: cumulative_bytes(run)[way] / size


def _score_of(name: str) -> Curve:
    return lambda run: run.rounds.set_index("round")[name]


def _aggregation_error(run: Run) -> pd.Series:
    """The clusters' mean, weighted by their size."""
    known = run.clusters.dropna(subset="aggregation_error")
    known = known.assign(weighted=known["aggregation_error"].astype(float) * known["size"])
    sums = known.groupby("round")[["weighted", "size"]].sum()
    return (sums["weighted"] / sums["size"]).reindex(run.rounds["round"])


def byte_unit(largest: float) -> tuple[str, float]:
    """The unit that keeps an axis' numbers short, and its size in bytes."""
    return next(
        unit for unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)) if largest >= unit[1] or unit[1] == 1
    )
