"""The page about one sweep or several: the map of accuracy against bytes, its fronts, and what an accuracy costs."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from fltac.errors import InputError, Problem
from fltac.points import label
from fltac.records.sweeps import SweepDirectory
from fltac.report.fronts import ARM, bytes_to_reach, chosen, configurations, on_front, parameters, tasks, trajectories
from fltac.report.page import environment, write_page
from fltac.report.style import GREY, SYMBOLS, colour, plain

TARGETS = 6  # accuracies of which the table tells what they cost


def write_sweep_report(paths: Sequence[Path], out: Path | None = None, choose: Sequence[str] = ()) -> Path:
    """Writes the page, and `map.csv` and `map.parquet` beside it, and returns its place.

    Of the keys in `choose` only the best values are shown, see `fronts.chosen`.

    Raises InputError where a folder holds no sweep with a finished round, or the page cannot be written.
    """
    table = chosen(trajectories(paths), choose)
    rows = front_rows(table)
    out = (paths[0] if len(paths) == 1 else Path()) / "report.html" if out is None else out
    names = dict.fromkeys(SweepDirectory(path).study().base.name for path in paths)
    page = environment().get_template("sweep.html.j2")
    text = page.render(
        title=f"{', '.join(names)}: sweep",
        plotly=Markup(get_plotlyjs()),  # noqa: S704, plotly's own text
        points=int(table.groupby(["sweep", "point"]).ngroups),
        left_out=int((~table.groupby(["sweep", "point"])["last"].any()).sum()),
        parameters=parameters(table),
        rows=rows.sort_values(["bytes", "accuracy"]).to_dict("records"),
        seeds=sorted(rows["seeds"].unique()),
        map=accuracy_against_bytes(rows, majority(paths)),
        by_task=accuracy_by_task(rows),
        costs=costs(table).to_dict("records"),
    )
    flat = rows.astype(dict.fromkeys(parameters(table), str))  # values of several types in one column
    write_page(out, text)
    try:
        flat.to_csv(out.with_name("map.csv"), index=False)
        flat.to_parquet(out.with_name("map.parquet"), index=False)
    except OSError as error:
        what = f"cannot be written: {error.strerror}; name a page in another folder with -o"
        raise InputError(Problem("-o", what, str(out.with_name("map.csv"))), "command line") from None
    return out


def front_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The configurations, with `front`: none of all is as good for fewer bytes; and `own_front`: none of its arm."""
    rows = configurations(table)
    rows["front"] = on_front(rows["bytes"].to_numpy(), rows["accuracy"].to_numpy())
    rows["own_front"] = False
    for _, each in rows.groupby(ARM):
        rows.loc[each.index, "own_front"] = on_front(each["bytes"].to_numpy(), each["accuracy"].to_numpy())
    return rows


def majority(paths: Sequence[Path]) -> float:
    """The mean over tasks of always answering the most frequent class, mean over the points."""
    means = []
    for path in paths:
        directory = SweepDirectory(path)
        summaries = (directory.run(number).summary() for number in directory.noted())
        means += [float(np.mean(list(one["majority"].values()))) for one in summaries if one]
    return float(np.mean(means)) if means else math.nan


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Bytes to reach accuracies from the lowest to the highest on the map, and each arm's own best."""
    best = configurations(table, at="round").groupby(ARM)["accuracy"].max()
    low = configurations(table, at="round")["accuracy"].min()
    steps = np.unique(np.floor(100 * np.linspace(low, best.max(), TARGETS + 1)[1:]) / 100)
    return bytes_to_reach(table, sorted({*steps, *(math.floor(1000 * one) / 1000 for one in best)}))


def accuracy_against_bytes(rows: pd.DataFrame, bar: float) -> go.Figure:
    """A marker a configuration with its interval, a colour an arm, a line through the arm's own front."""
    figure = plain(go.Figure(), 460)
    for number, (arm, each) in enumerate(rows.groupby(ARM, sort=False)):
        _scatter(figure, each, number, str(arm), "accuracy", {})
    if not math.isnan(bar):
        figure.add_hline(y=bar, line={"color": GREY, "dash": "dash", "width": 1})
    _megabytes(figure, rows).update_xaxes(title_text="MB up and down, all rounds")
    return figure.update_yaxes(title_text="mean accuracy").update_layout(showlegend=True)


def accuracy_by_task(rows: pd.DataFrame) -> go.Figure:
    """The same, a panel a task."""
    names = tasks(rows)
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    titles = [html.escape(name.removeprefix("accuracy.")) for name in names]
    figure = make_subplots(lines, columns, subplot_titles=titles, horizontal_spacing=0.07)
    plain(figure, 60 + 300 * lines).update_layout(showlegend=True, margin_t=70)
    for panel, name in enumerate(names):
        place = {"row": panel // columns + 1, "col": panel % columns + 1}
        for number, (arm, each) in enumerate(rows.groupby(ARM, sort=False)):
            _scatter(figure, each, number, str(arm), name, place, shown=panel == 0)
    return _megabytes(figure, rows)


def _megabytes(figure: go.Figure, rows: pd.DataFrame) -> go.Figure:
    """A logarithmic axis with 1, 2 and 5 of each power of ten written out."""
    low, high = np.log10(rows["bytes"].min() / 1e6), np.log10(rows["bytes"].max() / 1e6)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def _scatter(
    figure: go.Figure, each: pd.DataFrame, number: int, arm: str, name: str, place: dict[str, int], shown: bool = True
) -> None:
    size = each["bytes"] / 1e6
    keys = [key for key in parameters(each) if key != ARM]
    told = [label(dict(zip(keys, values, strict=True))) for values in each[keys].itertuples(index=False)]
    half = (each[f"{name}.high"] - each[name]).fillna(0)
    figure.add_trace(
        go.Scatter(
            x=size.tolist(),
            y=each[name].tolist(),
            error_y={"array": half.tolist(), "thickness": 1, "width": 3},
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
