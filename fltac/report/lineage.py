"""The lineage of clusters: an alluvial figure of who is where over rounds, and the same as tables."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fltac.report.reading import Run
from fltac.report.slots import Flow, Slot, cluster_colours, flows, membership, of_task, who
from fltac.report.style import GREY, PALETTE, faint, plain

HALF = 0.07  # of a bar's width, in rounds
GAP = 0.07  # between clusters, of all slots
STEPS = 13  # points along the side of a band that is not straight
LABELLED = 12  # moves or clusters; more labels would bury each other
ROWS = 200  # slots or events in a table
LISTED = 12  # slots that a row of a table names
EVENTS = {"born": "is born", "split": "splits off", "merged": "takes in another", "died": "ends"}
EVENTS |= {"merged away": "is taken in by another"}
WORDS = {"born": "new", "split": "split off", "merged": "merged"}

Tops = dict[tuple[int, int], float]  # (round, cluster) -> where it begins, in slots from the top


class Place(NamedTuple):
    """Where a slot is in a round, for the table of slots."""

    cluster: int | None
    colour: str
    moved: bool


def alluvial(run: Run) -> go.Figure | None:
    """A column a round, a bar a cluster as high as it has slots, bands for the slots that stay and for those that move;
    None where nothing was merged. Slots that do not send are counted where they were last seen."""
    places = membership(run)
    if places.empty:
        return None
    colours, between = cluster_colours(run), flows(places)
    sizes = places.melt(var_name="round", value_name="cluster").dropna().astype(int).value_counts().sort_index()
    tops, bottom = _tops(sizes, len(places))
    bands = list(_bands(between, tops))
    figure = plain(go.Figure(), 460)
    for moved in (False, True):
        for colour in dict.fromkeys(colours.values()):
            each = [band for flow, band in bands if moved == _moves(flow) and colours[flow.source] == colour]
            if each:
                figure.add_trace(_filled(each, faint(colour, 0.8 if moved else 0.28)))
    for cluster, part in sizes.groupby(level="cluster"):
        figure.add_trace(_bars(run, int(str(cluster)), part, tops, colours))
    figure.add_traces([_hovers(bands), _events(run, tops), _moved(bands), _names(run, sizes, tops)])
    last = int(places.columns[-1])
    figure.update_xaxes(title_text="round", range=[0.75, last + 0.25], dtick=max(1, -(-last // 10)), showgrid=False)
    figure.update_yaxes(range=[bottom, -GAP * len(places)], visible=False)
    _world(figure, run)
    return figure.update_layout(barmode="overlay", margin={"r": 170, "t": 56}, meta={"rounds": True})


def slot_table(run: Run) -> tuple[list[tuple[Slot, str, list[Place]]], int]:
    """A row a slot (itself, its tasks, its place a round), those that moved first where not all fit; how many are left
    out."""
    places, colours = membership(run), cluster_colours(run)
    tasks = (
        run.merged.dropna(subset="task").groupby(["client", "slot"])["task"].agg(lambda one: list(dict.fromkeys(one)))
    )
    moved = places.ne(places.shift(axis=1)) & places.notna() & places.shift(axis=1).notna()
    chosen = places.assign(calm=~moved.any(axis=1)).sort_values("calm", kind="stable").index[:ROWS].sort_values()
    rows = []
    for key in chosen:
        each = [
            Place(None, "", False) if pd.isna(cluster) else Place(int(cluster), colours[int(cluster)], bool(now))
            for cluster, now in zip(places.loc[key], moved.loc[key], strict=True)
        ]
        rows.append((key, " → ".join(tasks.get(key, [])), each))
    return rows, len(places) - len(rows)


def events(run: Run) -> list[tuple[int, str, str]]:
    """After the first round: the round, what happened, and to whom."""
    table, places = run.clusters[run.clusters["round"] > 1], membership(run)
    found = []
    for row in table[table["event"].isin(EVENTS)].to_dict("records"):
        there = places[row["round"]] == row["cluster"] if row["round"] in places else pd.Series(dtype=bool)
        members = who(places.index[there].tolist(), LISTED) if row["size"] else "nobody is in it"
        found.append((row["round"], f"cluster {row['cluster']} {EVENTS[row['event']]}", members))
    for flow in flows(places):
        if _moves(flow):
            found.append((flow.round, f"from cluster {flow.source} to cluster {flow.target}", who(flow.slots, LISTED)))
    return sorted(found, key=lambda one: one[0])[:ROWS]


def _moves(flow: Flow) -> bool:
    return flow.source != flow.target


def _tops(sizes: pd.Series, slots: int) -> tuple[Tops, float]:
    """The clusters of a round below one another in the order of their numbers; and the lowest end of all."""
    tops, bottom = {}, 0.0
    for _, column in groupby(sizes.items(), key=lambda one: one[0][0]):  # type: ignore[index]
        top = 0.0
        for place, size in column:
            tops[place] = top
            bottom = max(bottom, top + size)
            top += size + GAP * slots
    return tops, bottom  # type: ignore[return-value]


def _bands(between: list[Flow], tops: Tops) -> Iterator[tuple[Flow, np.ndarray]]:
    """Each flow with the outline (n, 2) of its band: bands leave a bar in the order of where they go, and arrive in the
    order of where they come from."""
    left, right = dict(tops), dict(tops)
    for flow in between:  # by round, source, target
        height = len(flow.slots)
        out, to = (flow.round - 1, flow.source), (flow.round, flow.target)
        start, end = left[out], right[to]
        left[out] += height
        right[to] += height
        way = np.linspace(0, 1, 2 if start == end else STEPS)
        x = flow.round - 1 + HALF + way * (1 - 2 * HALF)
        y = start + (end - start) * way**2 * (3 - 2 * way)
        yield flow, np.column_stack([[*x, *x[::-1]], [*y, *(y + height)[::-1]]])


def _filled(bands: list[np.ndarray], fill: str) -> go.Scatter:
    rows = [row for band in bands for row in (*band.round(3).tolist(), (None, None))]
    x, y = zip(*rows, strict=True)
    line = {"width": 0}
    return go.Scatter(
        x=x, y=y, mode="lines", fill="toself", fillcolor=fill, line=line, hoverinfo="skip", showlegend=False
    )


def _bars(run: Run, cluster: int, sizes: pd.Series, tops: Tops, colours: dict[int, str]) -> go.Bar:
    rounds = [int(number) for number, _ in sizes.index]
    rows = run.clusters[run.clusters["cluster"] == cluster].set_index("round")["event"]
    return go.Bar(
        x=rounds,
        y=sizes.tolist(),
        base=[tops[number, cluster] for number in rounds],
        width=2 * HALF,
        marker={"color": colours[cluster], "line": {"width": 0}},
        name=f"cluster {cluster}",
        text=[rows.get(number, "") for number in rounds],
        textposition="none",
        hovertemplate=f"round %{{x}}, cluster {cluster}<br>%{{text}}, %{{y}} slots<extra></extra>",
        showlegend=False,
    )


def _hovers(bands: list[tuple[Flow, np.ndarray]]) -> go.Scatter:
    """What is told where the pointer is over the middle of a band: nothing is drawn."""
    told = []
    for flow, _ in bands:
        way = f"cluster {flow.source} to {flow.target}" if _moves(flow) else f"stay in cluster {flow.source}"
        told.append(f"round {flow.round - 1} to {flow.round}, {way}<br>{who(flow.slots)}")
    return _texts(
        [_middle(band) for _, band in bands], hovertext=told, mode="markers", marker={"size": 16, "opacity": 0}
    )


def _events(run: Run, tops: Tops) -> go.Scatter:
    """A word above the bars of clusters that are new or took in another."""
    rows = run.clusters[(run.clusters["round"] > 1) & run.clusters["event"].isin(WORDS)]
    there = [row for row in rows.to_dict("records") if (row["round"], row["cluster"]) in tops]
    words = [f"<b>{WORDS[row['event']]}</b>, {row['size']} slots" for row in there]
    places = [(row["round"] - HALF, tops[row["round"], row["cluster"]]) for row in there]
    return _texts(places, text=words, textposition="top right")


def _moved(bands: list[tuple[Flow, np.ndarray]]) -> go.Scatter:
    """Who moved, behind the bar where the band arrives, where few did."""
    moves = [(who(flow.slots), band) for flow, band in bands if _moves(flow)]
    moves = moves if len(moves) <= LABELLED else []
    ends = [band[len(band) // 2 - 1 : len(band) // 2 + 1] for _, band in moves]  # the right side of the outline
    places = [(float(end[0, 0]) + 2 * HALF, float(end[:, 1].mean())) for end in ends]
    return _texts(places, text=[f"<b>{told}</b>" for told, _ in moves], textposition="middle right")


def _names(run: Run, sizes: pd.Series, tops: Tops) -> go.Scatter:
    """Cluster and the task that it mostly holds, behind its last bar."""
    ends = {int(cluster): int(number) for number, cluster in sizes.index}
    ends = ends if len(ends) <= LABELLED else {}
    tasks = of_task(run)
    places = [(number + HALF, tops[number, one] + sizes[number, one] / 2) for one, number in ends.items()]
    names = [f" cluster {cluster} · {html.escape(tasks[cluster])}" for cluster in ends]
    return _texts(places, text=names, textposition="middle right", cliponaxis=False)


def _texts(places: list[tuple[float, float]], **style: Any) -> go.Scatter:
    x, y = [place[0] for place in places], [round(place[1], 3) for place in places]
    look = {"mode": "text", "textfont": {"color": GREY, "size": 12}, "showlegend": False}
    return go.Scatter(x=x, y=y, hoverinfo="text" if "hovertext" in style else "skip", **{**look, **style})


def _middle(band: np.ndarray) -> tuple[float, float]:
    return float(band[:, 0].mean()), float(band[:, 1].mean())


def _world(figure: go.Figure, run: Run) -> None:
    """A line before each round in which the world changed, and what did."""
    for number, told in groupby(run.changes, key=lambda one: one[0]):
        figure.add_vline(x=number - 0.5, line={"color": PALETTE[1], "width": 1, "dash": "dot"})
        words = "<br>".join(html.escape(words) for _, words in told)
        look = {"font": {"size": 12, "color": GREY}, "showarrow": False, "xanchor": "right", "yanchor": "bottom"}
        figure.add_annotation(x=number - 0.5, y=1, yref="paper", text=words, **look)
