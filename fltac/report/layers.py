"""Which layers carry the task: distances within and between clusters over rounds, and by layer how much they differ."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from fltac.report.reading import Run
from fltac.report.style import LIGHT, colour, plain

KINDS = ("within", "between")
ROW = 24  # pixels a layer
NUMBERED = 12  # rounds: with more, the numbers in the cells would touch


def distances_over_rounds(run: Run) -> go.Figure | None:
    """Mean distance of pairs within a cluster and between two: thick the mean of layers, thin each; None: no record."""
    if run.layers.empty:
        return None
    figure = plain(go.Figure(), min(_height(run), 480))
    for number, kind in enumerate(KINDS):
        rows = run.layers.dropna(subset=kind)
        if rows.empty:
            continue
        line = {"color": colour(number), "width": 1}
        style = {"mode": "lines+markers", "hovertemplate": "%{text}<extra></extra>"}
        names = short_names(rows["layer"].drop_duplicates().tolist())
        for layer, part in rows.groupby("layer", sort=False):
            text = [f"{html.escape(names[str(layer)])}, {kind}: {value:.3f}" for value in part[kind]]
            thin = {"line": line, "marker": {"size": 3}, "opacity": 0.4, "showlegend": False}
            figure.add_trace(go.Scatter(x=_whole(part["round"]), y=_rounded(part[kind]), text=text, **style, **thin))
        means = rows.groupby("round")[kind].mean()
        text = [f"mean of layers, {kind}: {value:.3f}" for value in means]
        thick = {"line": {**line, "width": 3}, "marker": {"size": 8}, "name": f"{kind} clusters"}
        figure.add_trace(go.Scatter(x=_whole(means.index), y=_rounded(means), text=text, **style, **thick))
    last = int(run.layers["round"].max())
    figure.update_xaxes(title_text="round", dtick=max(1, -(-last // 8)), range=[0.5, last + 0.5])
    figure.update_yaxes(title_text="1 - cosine", rangemode="tozero")
    return figure.update_layout(showlegend=True)


def separation_by_layer(run: Run) -> go.Figure | None:
    """Layers x rounds of 1 - within / between; None where no round has a pair of either kind."""
    table = separations(run)
    if table.empty:
        return None
    figure = go.Figure(
        go.Heatmap(
            x=[str(number) for number in table],
            y=[html.escape(layer) for layer in table.index],
            z=[_rounded(row) for _, row in table.iterrows()],
            zmin=min(0.0, float(table.min().min())),
            zmax=float(table.max().max()),
            colorscale=LIGHT,
            showscale=False,
            textfont={"color": "black"},
            texttemplate="%{z:.2f}" if len(table.columns) <= NUMBERED else None,
            hovertemplate="%{y}, round %{x}: %{z:.3f}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
        )
    )
    plain(figure, _height(run))
    figure.update_xaxes(type="category", title_text="round", showgrid=False, ticks="", nticks=NUMBERED)
    return figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="", dtick=1)


def separations(run: Run) -> pd.DataFrame:
    """Layers by their short names, as in the model, x rounds; empty where no round has pairs of both kinds."""
    known = run.layers.dropna(subset="separation")
    order = known["layer"].drop_duplicates().tolist()
    table = known.pivot(index="layer", columns="round", values="separation").reindex(order)
    return table.rename(index=short_names(order))


def carriers(run: Run) -> str:
    """In a sentence: which layers tell the clusters apart most and least, on the mean of rounds."""
    if run.layers.empty:
        return "This run did not record its layers."
    known = run.layers.dropna(subset="separation")
    if known.empty:
        return "No layer can be told to carry the task: no round had pairs both within a cluster and between two."
    ranked = known.groupby("layer", sort=False)["separation"].mean().sort_values(ascending=False, kind="stable")
    names = short_names(known["layer"].drop_duplicates().tolist())
    told = [f"{names[str(layer)]} ({value:.2f})" for layer, value in ranked.items()]
    if len(told) == 1:
        return f"The only layer that is adapted, {told[0]}, carries the task."
    most = told[: min(3, len(told) - 1)]
    listed = most[0] if len(most) == 1 else f"{', '.join(most[:-1])} and {most[-1]}"
    return f"The task is carried most by {listed}, least by {told[-1]}: separation, the mean of {_rounds(known)}."


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Layer -> what of its dotted name differs from the others', and the word before a number: `layer.3.query`."""
    parts = [name.split(".") for name in names]
    if len(names) < 2 or len({len(one) for one in parts}) > 1:
        return {name: name for name in names}
    columns = [{one[at] for one in parts} for at in range(len(parts[0]))]
    numbers = [len(words) > 1 and all(map(str.isdigit, words)) for words in columns]
    kept = [at for at, words in enumerate(columns) if len(words) > 1 or numbers[at + 1 : at + 2] == [True]]
    return {name: ".".join(one[at] for at in kept) for name, one in zip(names, parts, strict=True)}


def _rounds(table: pd.DataFrame) -> str:
    count = table["round"].nunique()
    return "one round" if count == 1 else f"{count} rounds"


def _height(run: Run) -> int:
    return max(340, 90 + ROW * run.layers["layer"].nunique())


def _whole(values: Sequence[int] | pd.Series | pd.Index) -> list[int]:
    return [int(value) for value in values]


def _rounded(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.4g}") for value in values]
