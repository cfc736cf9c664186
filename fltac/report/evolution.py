"""How the adapters of a run evolve: one map of all rounds, which the slider and the box of its section step through."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fltac.report.embedding import EMBEDDINGS
from fltac.report.reading import Run
from fltac.report.snapshots import framed, named_updates, points, symbol_key, task_symbols
from fltac.report.style import GREY, PALETTE

ALL = "all"  # the frame that holds every round
SLOTS_DRAWN = 200  # more would bury each other; all of them make the plane
CROWD = 1000  # points; more are drawn smaller


def evolution_map(run: Run, embedding: str = "pca") -> tuple[go.Figure, str] | None:
    """The sketches of all rounds in one plane, and what that plane is; None where the run has no sketches.

    A frame a round, in which a line leads to each slot from where it was when it last sent; then one of all rounds,
    older ones fainter. Colours, symbols and hollow markers are those of the map of adapters.
    """
    table = named_updates(run)
    table = table[table["sketch"].notna()]
    if table.empty:
        return None
    rows = np.vstack([np.zeros(len(table["sketch"].iloc[0])), *table["sketch"]]).astype(float)  # v0 is zero
    plane = EMBEDDINGS[embedding](rows)
    start, places = plane.xy[0], plane.xy[1:]
    table = table.assign(x=places[:, 0], y=places[:, 1]).sort_values(["client", "slot", "round"], kind="stable")
    table[["x_before", "y_before"]] = table.groupby(["client", "slot"])[["x", "y"]].shift()
    table, note = _thinned(table)
    symbols = task_symbols(run, table)
    fixed = [_start(start), *symbol_key(symbols)]
    frames = [
        go.Frame(name=str(number), data=[*_tails(part, 1.5), points(part, symbols), _names(part, start), *fixed])
        for number, part in table.groupby("round")
    ]
    last = int(table["round"].max())
    if len(frames) > 1:
        small, large = (7, 12) if len(table) <= CROWD else (4, 8)
        sizes = [large if one == last else small for one in table["round"]]
        every = points(table, symbols, sizes, opacity=(0.15 + 0.7 * table["round"] / last).round(2).tolist())
        names = _names(table[table["round"] == last], start)
        frames.append(go.Frame(name=ALL, data=[*_tails(table, 1), every, names, *fixed]))
    figure = framed(frames, height=560).update_layout(showlegend=True)
    (left, right), (bottom, top) = (_span(plane.xy[:, axis]) for axis in (0, 1))
    figure.update_xaxes(range=[left, right], zeroline=False)  # the same in all frames
    figure.update_yaxes(range=[bottom, top], scaleanchor="x", zeroline=False)
    return figure, plane.meaning + note


def _thinned(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of SLOTS_DRAWN slots at most, evenly through all, and a sentence where some are left out."""
    slots = table.groupby(["client", "slot"]).ngroup()
    count = int(slots.max()) + 1
    if count <= SLOTS_DRAWN:
        return table, ""
    chosen = np.linspace(0, count - 1, SLOTS_DRAWN).round().astype(int)
    return table[slots.isin(chosen)], f" {SLOTS_DRAWN} of {count} slots are drawn."


def _tails(table: pd.DataFrame, width: float) -> Iterator[go.Scatter]:
    """Lines to each row from where its slot was before, in the colour of its cluster; a trace a colour."""
    moved = table.dropna(subset="x_before")
    for number, part in moved.groupby(moved["cluster"] % len(PALETTE)):
        ends = part[["x_before", "x", "y_before", "y"]].to_numpy()
        yield go.Scatter(
            x=_broken(ends[:, :2]),
            y=_broken(ends[:, 2:]),
            mode="lines",
            line={"color": PALETTE[int(str(number))], "width": width},
            opacity=0.35,
            hoverinfo="skip",
            showlegend=False,
        )


def _broken(pairs: np.ndarray) -> list[float | None]:
    """Pairs (n, 2) as one list with a gap after each."""
    return [value for one in pairs for value in (float(f"{one[0]:.5g}"), float(f"{one[1]:.5g}"), None)]


def _names(updates: pd.DataFrame, start: np.ndarray) -> go.Scatter:
    """A name beyond the member of every cluster of two or more that went farthest: there clusters are most apart."""
    far = updates.assign(far=np.hypot(updates["x"] - start[0], updates["y"] - start[1]))
    shared = far.groupby("cluster").filter(lambda members: len(members) > 1)
    tips = shared.loc[shared.groupby("cluster")["far"].idxmax()].to_dict("records")
    above = [row["y"] >= start[1] for row in tips]
    return go.Scatter(
        x=[row["x"] for row in tips],
        y=[row["y"] for row in tips],
        mode="text",
        text=[
            f"cluster {row['cluster']}<br> " if up else f" <br>cluster {row['cluster']}"
            for row, up in zip(tips, above, strict=True)
        ],
        textposition=["top center" if up else "bottom center" for up in above],
        textfont={"color": GREY, "size": 13},
        hoverinfo="skip",
        showlegend=False,
    )


def _start(place: np.ndarray) -> go.Scatter:
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


def _span(values: np.ndarray) -> tuple[float, float]:
    """From least to most and some room for names."""
    room = 0.08 * float(np.ptp(values)) or 1.0
    return float(values.min() - room), float(values.max() + room)
