"""Where the bytes and the seconds went: by client and kind, by round and stage."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fltac.report.figures import byte_unit
from fltac.report.reading import Run
from fltac.report.style import GREY, PALETTE, plain

WAYS = {"up": "sent by clients", "down": "sent to clients"}
KINDS = {"adapter": PALETTE[0], "heads": PALETTE[4], "headers": GREY}
CLIENTS = 40  # bars; of more clients those with the most bytes are drawn
# these make a round, with what is left of the server's time; all else a run tells is a part of one of them
STAGES = {"training": PALETTE[0], "cluster": PALETTE[1], "merge": PALETTE[3], "evaluation": PALETTE[2]}
REST = "rest of the server"

Rows = list[dict[Hashable, Any]]


def bytes_by_client(run: Run) -> pd.DataFrame:
    """A row a client, most bytes first: `rounds` in which it was drawn, `updates`, of them `refused`, and bytes by way
    and kind (`up.adapter`, .., `down.headers`) and in all (`sum`)."""
    rows = run.updates.assign(refused=run.updates["cluster"].isna())
    for way in WAYS:
        for kind, name in (("heads", f"bytes_{way}_heads"), ("headers", f"bytes_{way}_header")):
            rows[f"{way}.{kind}"] = rows[name].fillna(0).astype(int) if name in rows else 0  # newer than some runs
        rows[f"{way}.adapter"] = rows[f"bytes_{way}"] - rows[f"{way}.heads"] - rows[f"{way}.headers"]
    kinds = [f"{way}.{kind}" for way in WAYS for kind in KINDS]
    each = rows.groupby("client")
    table = each[kinds].sum()
    table.insert(0, "refused", each["refused"].sum())
    table.insert(0, "updates", each.size())
    table.insert(0, "rounds", each["round"].nunique())
    table["sum"] = table[kinds].sum(axis=1)
    return table.sort_values("sum", ascending=False, kind="stable").reset_index()


def byte_ledger(run: Run) -> tuple[go.Figure, str]:
    """Bytes of all rounds, a bar a client and way, a part a kind; and a sentence where some clients are left out."""
    table = bytes_by_client(run)
    note = f" The {CLIENTS} clients of {len(table)} that sent and were sent most." if len(table) > CLIENTS else ""
    table = table.head(CLIENTS).sort_values("client")
    unit, size = byte_unit(float(table["sum"].max()))
    figure = make_subplots(1, 2, subplot_titles=list(WAYS.values()), shared_yaxes=True, horizontal_spacing=0.04)
    plain(figure, 130 + 22 * len(table)).update_layout(barmode="stack", showlegend=True, margin_t=70, bargap=0.3)
    names = [f"client {client}" for client in table["client"]]
    for column, way in enumerate(WAYS, 1):
        for kind, colour in KINDS.items():
            bar = go.Bar(
                x=(table[f"{way}.{kind}"] / size).tolist(),
                y=names,
                orientation="h",
                name=kind,
                legendgroup=kind,
                showlegend=column == 1,
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate=f"%{{y}}, {kind} {way}: %{{x:.4g}} {unit}<extra></extra>",
            )
            figure.add_trace(bar, row=1, col=column)
    figure.update_xaxes(title_text=unit).update_xaxes(matches="x", col=2)
    return figure.update_yaxes(type="category", autorange="reversed", ticks="", dtick=1, showgrid=False), note


def stages(run: Run) -> pd.DataFrame:
    """Seconds, a row a round, a column a stage; they sum to the round's."""
    table = run.rounds.set_index("round")
    found = pd.DataFrame({stage: table[f"seconds_{stage}"] for stage in STAGES})
    found[REST] = (table["seconds_server"] - found["cluster"] - found["merge"]).clip(lower=0)
    return found[["training", "cluster", "merge", REST, "evaluation"]]


def time_profile(run: Run) -> go.Figure:
    """A bar a round, a part a stage."""
    table = stages(run)
    figure = plain(go.Figure(), 340).update_layout(
        barmode="stack", showlegend=True, bargap=0.35, legend_traceorder="normal"
    )
    for stage in table:
        bar = go.Bar(
            x=table.index.tolist(),
            y=table[stage].round(4).tolist(),
            name=str(stage),
            marker={"color": STAGES.get(str(stage), GREY), "line": {"width": 0}},
            hovertemplate=f"round %{{x}}, {stage}: %{{y:.3g}} s<extra></extra>",
        )
        figure.add_trace(bar)
    figure.update_xaxes(title_text="round", dtick=max(1, -(-len(table) // 10)), showgrid=False)
    return figure.update_yaxes(title_text="seconds").update_layout(meta={"rounds": True})


def clocks(run: Run) -> Rows:
    """Everything that the run measured in seconds: `name`, `seconds` of all rounds, `share` of the rounds' time."""
    whole = run.clocks["seconds"]
    rows: Rows = [
        {"name": name.removeprefix("seconds_").replace("_", " "), "seconds": value, "share": value / whole}
        for name, value in run.clocks.items()
        if name != "seconds"
    ]
    return sorted(rows, key=lambda row: -row["seconds"])
