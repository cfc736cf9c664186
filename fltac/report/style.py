"""What all figures share: colours that colour-blind readers tell apart, on light and on dark ground."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from fltac.report.fronts import ENOUGH_SEEDS

# Okabe and Ito, Color Universal Design, without black and yellow, which are lost on dark and on light; and two more
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A63D2", "#999933")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x", "hexagon", "pentagon")
LIGHT = ((0, "#E4EFF7"), (1, "#56B4E9"))  # of heat maps, light throughout: black numbers on either ground
GREY = "#808080"
FAINT = "rgba(128,128,128,0.25)"
CLEAR = "rgba(0,0,0,0)"
_LINES = {"gridcolor": FAINT, "linecolor": FAINT, "zerolinecolor": FAINT}
_AXIS = {**_LINES, "automargin": True, "title": {"font": {"size": 13}, "standoff": 10}}
LOOK = go.layout.Template(
    layout={
        "margin": {"l": 48, "r": 16, "t": 40, "b": 40},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": GREY},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "yref": "container"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def colour(number: int) -> str:
    """The colour of the n-th task, cluster or run; they repeat."""
    return PALETTE[number % len(PALETTE)]


def run_line(number: int) -> dict[str, Any]:
    """The line of the n-th run: the dash pattern tells runs apart where they lie on one another."""
    return {"color": colour(number), "dash": DASHES[number % len(DASHES)], "width": 2}


def faint(colour: str, opacity: float) -> str:
    """`#0072B2` as `rgba(0,114,178,0.3)`."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def whiskers(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """The intervals NAME.low to NAME.high of rows of `seeds` each, as plotly takes them; none of too few."""
    shown = rows["seeds"] >= ENOUGH_SEEDS
    up, down = ((rows[end] - rows[name]).abs().where(shown).fillna(0) for end in (f"{name}.high", f"{name}.low"))
    return {"array": up.tolist(), "arrayminus": down.tolist(), "thickness": 1, "width": 3}


def dots(x: pd.Series, y: pd.Series, number: int, group: str) -> go.Scatter:
    """What lies behind a mean: one dot a seed, in the colour of the n-th, shown and hidden with its group."""
    marker = {"color": colour(number), "size": 5, "opacity": 0.4, "symbol": SYMBOLS[number % len(SYMBOLS)]}
    told = {"legendgroup": group, "showlegend": False, "hovertemplate": "one seed: %{y:.3f}<extra></extra>"}
    return go.Scatter(x=list(x), y=list(y), mode="markers", marker=marker, **told)


def plain(figure: go.Figure, height: int) -> go.Figure:
    """The figure in the look of the page instead of plotly's own, `height` pixels high and as wide as the page."""
    return figure.update_layout(template=LOOK, height=height)


@dataclass(frozen=True)
class Framed:
    """A figure with a frame a round. A frame holds what takes the place of the figure's first traces, as plotly's JSON:
    plotly's classes would check each of them, which takes a hundred times as long."""

    figure: go.Figure
    frames: list[dict[str, Any]]  # name, data

    @property
    def layout(self) -> Any:
        return self.figure.layout

    def to_json(self) -> str:
        """The figure's JSON with its frames."""
        return str(self.figure.to_json())[:-1] + f', "frames": {json.dumps(self.frames)}}}'


def framed(frames: list[dict[str, Any]], height: int, fixed: Iterable[Any] = ()) -> Framed:
    """The last frame is what is shown first; `fixed` traces are in all."""
    return Framed(plain(go.Figure(data=[*frames[-1]["data"], *fixed]), height), frames)
