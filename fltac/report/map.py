"""The figures of the map: accuracy against bytes, a marker a configuration, a front an arm, and bars across."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fltac.points import label
from fltac.report.bars import MEAN, Bar
from fltac.report.fronts import ARM, on_front, parameters, tasks
from fltac.report.style import GREY, SYMBOLS, colour, dots, plain, whiskers

BROKEN = ("dash", "dot")  # of what is no run
RUN_DASHES = ("longdash", "dashdot", "longdashdot")


def accuracy_against_bytes(rows: pd.DataFrame, points: pd.DataFrame, bars: Sequence[Bar]) -> go.Figure:
    """A marker a configuration with its interval and a dot for each of its points, a colour an arm, a line through the
    arm's own front; a line a bar."""
    figure = plain(go.Figure(), 460)
    for number, (arm, each) in enumerate(rows.groupby(ARM, sort=False)):
        _scatter(figure, each, points[points[ARM] == arm], number, str(arm), MEAN, {})
    _across(figure, bars, rows[ARM].nunique(), MEAN, {})
    _megabytes(figure, rows, bars).update_xaxes(title_text="MB up and down, all rounds")
    return figure.update_yaxes(title_text="mean accuracy").update_layout(showlegend=True)


def accuracy_by_task(rows: pd.DataFrame, points: pd.DataFrame, bars: Sequence[Bar]) -> go.Figure:
    """The same, a panel a task."""
    names = tasks(rows)
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    titles = [html.escape(name.removeprefix("accuracy.")) for name in names]
    figure = make_subplots(lines, columns, subplot_titles=titles, horizontal_spacing=0.07)
    plain(figure, 60 + 300 * lines).update_layout(showlegend=True, margin_t=70, meta={"stack": True})
    for panel, name in enumerate(names):
        place = {"row": panel // columns + 1, "col": panel % columns + 1}
        for number, (arm, each) in enumerate(rows.groupby(ARM, sort=False)):
            _scatter(figure, each, points[points[ARM] == arm], number, str(arm), name, place, shown=panel == 0)
        _across(figure, bars, rows[ARM].nunique(), name, place, names[:panel])
    return _megabytes(figure, rows, bars)


def _megabytes(figure: go.Figure, rows: pd.DataFrame, bars: Sequence[Bar]) -> go.Figure:
    """A logarithmic axis with 1, 2 and 5 of each power of ten written out."""
    sizes = [*rows["bytes"], *(bar.bytes for bar in bars if bar.bytes)]
    low, high = np.log10(min(sizes) / 1e6), np.log10(max(sizes) / 1e6)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def _across(
    figure: go.Figure, bars: Sequence[Bar], arms: int, name: str, place: dict[str, int], before: Sequence[str] = ()
) -> None:
    """A line at what each bar has on one panel, and a marker at its bytes where it sent any.

    In the legend where it was on no panel `before`.
    """
    for number, bar in enumerate(bars):
        if name not in bar.accuracy:
            continue
        height, text = bar.accuracy[name], html.escape(bar.name)
        line = {"color": GREY, "dash": BROKEN[number % len(BROKEN)], "width": 1}
        if bar.run:
            line = {"color": colour(arms + number), "dash": RUN_DASHES[number % len(RUN_DASHES)], "width": 1.5}
        key = {"name": text, "legendgroup": text, "showlegend": not bar.accuracy.keys() & set(before)}
        figure.add_hline(y=height, line=line, layer="below", **key, **place)
        marker = {"color": line["color"], "size": 10, "symbol": "x-thin-open"}
        figure.add_trace(
            go.Scatter(
                x=[bar.bytes / 1e6 if bar.bytes else None],
                y=[height],
                mode="markers",
                marker=marker,
                legendgroup=text,
                showlegend=False,
                hovertemplate=f"{text}<br>%{{y:.3f}} at %{{x:.3g}} MB<extra></extra>",
            ),
            **place,
        )


def _scatter(
    figure: go.Figure,
    each: pd.DataFrame,
    points: pd.DataFrame,
    number: int,
    arm: str,
    name: str,
    place: dict[str, int],
    shown: bool = True,
) -> None:
    size = each["bytes"] / 1e6
    figure.add_trace(dots(points["bytes"] / 1e6, points[name], number, arm), **place)
    keys = [key for key in parameters(each) if key != ARM]
    told = [label(dict(zip(keys, values, strict=True))) for values in each[keys].itertuples(index=False)]
    figure.add_trace(
        go.Scatter(
            x=size.tolist(),
            y=each[name].tolist(),
            error_y=whiskers(each, name),
            mode="markers",
            name=html.escape(arm),
            legendgroup=arm,
            showlegend=shown,
            marker={"color": colour(number), "size": 8, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            text=[html.escape(one) for one in told],
            hovertemplate="%{text}<br>%{y:.3f} at %{x:.3g} MB<extra></extra>",
        ),
        **place,
    )
    front = on_front(each["bytes"].to_numpy(), each[name].to_numpy())
    chosen = each[front].sort_values("bytes")
    figure.add_trace(
        go.Scatter(
            x=(chosen["bytes"] / 1e6).tolist(),
            y=chosen[name].tolist(),
            mode="lines",
            line={"color": colour(number), "width": 2, "shape": "hv"},
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        ),
        **place,
    )
