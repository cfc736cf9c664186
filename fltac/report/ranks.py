"""How much rank a task needs, and whether a larger model or another method needs less: accuracy against rank."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fltac.points import label
from fltac.report.fronts import parameters, tasks
from fltac.report.style import SYMBOLS, colour, dots, plain, run_line, whiskers

RANK = "adapter.rank"
LINES = 12  # more would bury each other


def accuracy_against_rank(rows: pd.DataFrame, points: pd.DataFrame, chosen: Sequence[str] = ()) -> go.Figure | None:
    """A panel for the mean and each task: accuracy on test with its interval and a dot a point against the adapter's
    rank, a line for each value of all other parameters but those in `chosen`, whose best may be another at each rank.

    None where fewer than two ranks were run, or where the lines would be too many.
    """
    if RANK not in rows or rows[RANK].nunique() < 2:
        return None
    others = [name for name in parameters(rows) if name not in (RANK, *chosen) and rows[name].nunique(dropna=False) > 1]
    lines = [((), rows)] if not others else list(rows.groupby(others, sort=False, dropna=False))
    if len(lines) > LINES:
        return None
    names = ["accuracy", *tasks(rows)]
    columns = min(3, len(names))
    high = math.ceil(len(names) / columns)
    titles = ["mean", *(html.escape(name.removeprefix("accuracy.")) for name in names[1:])]
    figure = make_subplots(high, columns, subplot_titles=titles, horizontal_spacing=0.07)
    legend = 24 * (math.ceil(len(lines) / 2) - 1)  # its names are long, two a line
    layout = {"showlegend": bool(others), "margin_t": 70 + legend, "meta": {"stack": True}}
    plain(figure, 60 + legend + 300 * high).update_layout(layout)
    for panel, name in enumerate(names):
        place = {"row": panel // columns + 1, "col": panel % columns + 1}
        for number, (values, each) in enumerate(lines):
            each = each.sort_values(RANK)
            what = html.escape(label(dict(zip(others, values, strict=True)))) if others else "all"
            behind = points.merge(each[others].drop_duplicates()) if others else points
            figure.add_trace(dots(behind[RANK], behind[name], number, what), **place)
            trace = go.Scatter(
                x=each[RANK].tolist(),
                y=each[name].tolist(),
                error_y=whiskers(each, name),
                mode="lines+markers",
                name=what,
                legendgroup=what,
                showlegend=panel == 0,
                line=run_line(number),
                marker={"color": colour(number), "size": 7, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                hovertemplate=f"{what}<br>rank %{{x}}: %{{y:.3f}}<extra></extra>",
            )
            figure.add_trace(trace, **place)
    ranks = sorted(rows[RANK].unique().tolist())
    return figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(rank) for rank in ranks], title_text="rank")
