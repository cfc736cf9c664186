"""The map of adapters: a frame a round, which the controls of its section step through, coloured by cluster or task."""

from __future__ import annotations

import html
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fltac.report.embedding import EMBEDDINGS
from fltac.report.reading import Run
from fltac.report.slots import cluster_colours, named_updates, present_tasks, task_colours, task_symbols, who
from fltac.report.style import GREY, Framed, framed

ALL = "all"  # the frame that holds every round
SLOTS_DRAWN = 200  # more would bury each other; all of them make the plane
CROWD = 1000  # points; more are drawn smaller
NAMED = 5  # slots that moved in a round; with more of them none is named


Row = Mapping[Hashable, Any]


class Look(NamedTuple):
    """What all frames of a map share."""

    clusters: dict[int, str]  # -> colour
    tasks: dict[str, str]  # -> colour
    symbols: dict[str, str]  # task -> marker
    start: tuple[float, float] | None  # v0, from which all set out


def evolution_map(run: Run, embedding: str = "pca") -> tuple[Framed, str] | None:
    """The sketches of all rounds in one plane, and what that plane is; None where the run has no sketches.

    A frame a round, in which a line leads to each slot from where it was when it last sent; then one of all rounds,
    older ones fainter.
    """
    table = named_updates(run)
    table = table[table["sketch"].notna()]
    if table.empty:
        return None
    rows = np.vstack([np.zeros(len(table["sketch"].iloc[0])), *table["sketch"]]).astype(float)  # v0 is zero
    plane = EMBEDDINGS[embedding](rows)
    places = plane.xy[1:]
    table = (
        table.drop(columns="sketch")
        .assign(x=places[:, 0], y=places[:, 1])
        .sort_values(["client", "slot", "round"], kind="stable")
    )
    table[["x_before", "y_before"]] = table.groupby(["client", "slot"])[["x", "y"]].shift()
    table, note = _thinned(table)
    start = float(plane.xy[0, 0]), float(plane.xy[0, 1])
    look = _look(run, start)
    frames = _frames(table, look)
    last = int(table["round"].max())
    if len(frames) > 1:
        small, large = (7, 12) if len(table) <= CROWD else (4, 8)
        sizes = [large if one == last else small for one in table["round"]]
        faded = (0.15 + 0.7 * table["round"] / last).round(2).tolist()
        frames.append(_frame(ALL, table, look, table[table["round"] == last], size=sizes, opacity=faded))
    drawn = framed(frames, 580, [*_key(run, look), _start(start)])
    (left, right), (bottom, top) = (_span(plane.xy[:, axis]) for axis in (0, 1))
    drawn.figure.update_layout(showlegend=True).update_xaxes(range=[left, right], zeroline=False)  # in all frames
    drawn.figure.update_yaxes(range=[bottom, top], scaleanchor="x", zeroline=False)
    return drawn, plane.meaning + note


def round_map(run: Run) -> Framed | None:
    """What the clusterer saw: two principal components of the similarity's points, drawn anew each round; None where
    nothing was merged."""
    table, _ = _thinned(named_updates(run).assign(x_before=np.nan, y_before=np.nan))
    if table.empty:
        return None
    look = _look(run, None)
    drawn = framed(_frames(table, look), 460, _key(run, look))
    drawn.figure.update_layout(showlegend=True).update_xaxes(zeroline=False)
    drawn.figure.update_yaxes(scaleanchor="x", zeroline=False)
    return drawn


def _look(run: Run, start: tuple[float, float] | None) -> Look:
    return Look(cluster_colours(run), task_colours(run), task_symbols(run), start)


def _frames(table: pd.DataFrame, look: Look) -> list[dict[str, Any]]:
    return [_frame(str(number), part, look, part) for number, part in table.groupby("round")]


def _frame(name: str, table: pd.DataFrame, look: Look, named: pd.DataFrame, **style: Any) -> dict[str, Any]:
    return {"name": name, "data": [_tails(table), _points(table, look, **style), _names(named, look)]}


def _points(table: pd.DataFrame, look: Look, size: Any = 12, opacity: Any = 0.85) -> dict[str, Any]:
    """A marker an update; both its colours are in `meta`, and the page's control chooses one."""
    rows = table.to_dict("records")
    colours = {
        "cluster": [look.clusters[row["cluster"]] for row in rows],
        "task": [look.tasks[row["task"]] for row in rows],
    }
    return {
        "type": "scatter",
        "x": _short(table["x"]),
        "y": _short(table["y"]),
        "mode": "markers",
        "marker": {
            "size": size,
            "opacity": opacity,
            "color": colours["cluster"],
            "symbol": [look.symbols[row["task"]] + ("-open" if row["is_noise"] else "") for row in rows],
            "line": {"width": [2 if row["is_noise"] else 0 for row in rows]},
        },
        "meta": {"colours": colours},
        "text": [html.escape(row["task"]) for row in rows],
        "customdata": [
            [row["round"], row["client"], row["slot"], row["cluster"], noise, float(f"{row['train_loss']:.4g}")]
            for row in rows
            for noise in [" (noise)" if row["is_noise"] else ""]
        ],
        "hovertemplate": "round %{customdata[0]}, client %{customdata[1]}, slot %{customdata[2]}<br>task %{text}<br>"
        "cluster %{customdata[3]}%{customdata[4]}<br>train loss %{customdata[5]}<extra></extra>",
        "showlegend": False,
    }


def _tails(table: pd.DataFrame) -> dict[str, Any]:
    """Lines to each point from where its slot was before."""
    rows = table.dropna(subset="x_before")
    none = [None] * len(rows)
    x, y = (
        [one for each in zip(_short(rows[f"{axis}_before"]), _short(rows[axis]), none, strict=True) for one in each]
        for axis in "xy"
    )
    line = {"color": GREY, "width": 1}
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines",
        "line": line,
        "opacity": 0.4,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _names(table: pd.DataFrame, look: Look) -> dict[str, Any]:
    """The name of every cluster of two or more, where it is farthest from the middle: there clusters are most apart;
    and, where few slots moved, theirs. A name is on the side away from v0, or else from the nearest other cluster."""
    middle = look.start or (float(table["x"].mean()), float(table["y"].mean()))
    far = table.assign(far=np.hypot(table["x"] - middle[0], table["y"] - middle[1]))
    shared = far.groupby("cluster").filter(lambda members: len(members) > 1)
    rows = shared.loc[shared.groupby("cluster")["far"].idxmax()].to_dict("records")
    told = [(row, *_beyond(f"cluster {row['cluster']}", row["y"] >= _below(row, rows, look, middle))) for row in rows]
    moved = table[table["moved_from"].notna()].to_dict("records")
    for row in moved if len(moved) <= NAMED else []:
        name = who([(row["client"], row["slot"])])
        told.append((row, f"\u00a0 <b>{name}</b>, from cluster {row['moved_from']:.0f}", "middle right"))
    return {
        "type": "scatter",
        "x": [float(f"{row['x']:.5g}") for row, _, _ in told],
        "y": [float(f"{row['y']:.5g}") for row, _, _ in told],
        "mode": "text",
        "text": [text for _, text, _ in told],
        "textposition": [where for _, _, where in told],
        "textfont": {"color": GREY, "size": 13},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _below(row: Row, rows: Sequence[Row], look: Look, middle: tuple[float, float]) -> float:
    """The height from which a name is to keep away."""
    others = [one for one in rows if one is not row and not look.start]
    near = min(others, key=lambda one: np.hypot(one["x"] - row["x"], one["y"] - row["y"]), default=None)
    return float(near["y"]) if near else middle[1]


def _beyond(text: str, above: bool) -> tuple[str, str]:
    """A name clear of its marker, and on which side of it."""
    return (f"{text}<br> ", "top center") if above else (f" <br>{text}", "bottom center")


def _key(run: Run, look: Look) -> Iterator[go.Scatter]:
    """The tasks' markers: traces without points, for the legend only."""
    for task in present_tasks(run):
        marker = {"symbol": look.symbols[task], "color": look.tasks[task], "size": 11}
        yield go.Scatter(x=[None], y=[None], mode="markers", name=html.escape(task), marker=marker)


def _start(place: tuple[float, float]) -> go.Scatter:
    """A mark where all set out from."""
    return go.Scatter(
        x=[float(f"{place[0]:.5g}")],
        y=[float(f"{place[1]:.5g}")],
        mode="markers+text",
        marker={"symbol": "cross-thin", "size": 14, "line": {"width": 2, "color": GREY}},
        text=["v0 \u00a0"],
        textposition="middle left",
        textfont={"color": GREY, "size": 13},
        hovertext="v0: what every slot set out from",
        hoverinfo="text",
        showlegend=False,
    )


def _thinned(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of SLOTS_DRAWN slots at most, evenly through all, and a sentence where some are left out."""
    if table.empty:
        return table, ""
    slots = table.groupby(["client", "slot"]).ngroup()
    count = int(slots.max()) + 1
    if count <= SLOTS_DRAWN:
        return table, ""
    chosen = np.linspace(0, count - 1, SLOTS_DRAWN).round().astype(int)
    return table[slots.isin(chosen)], f" {SLOTS_DRAWN} of {count} slots are drawn."


def _short(values: pd.Series) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _span(values: np.ndarray) -> tuple[float, float]:
    """From least to most and some room for names."""
    room = 0.08 * float(np.ptp(values)) or 1.0
    return float(values.min() - room), float(values.max() + room)
