"""What all figures share: colours that colour-blind readers tell apart, on light and on dark ground."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

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


def plain(figure: go.Figure, height: int) -> go.Figure:
    """The figure in the look of the page instead of plotly's own, `height` pixels high and as wide as the page."""
    return figure.update_layout(template=LOOK, height=height)


def framed(frames: list[go.Frame], height: int) -> go.Figure:
    """A figure of which the last frame is what is shown first."""
    return plain(go.Figure(data=frames[-1].data, frames=frames), height)
