"""One self-contained HTML page about one run or several: opens from disk, asks no network."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from fltac.errors import InputError, Problem
from fltac.report import embedding as embeddings
from fltac.report import figures, layers, snapshots
from fltac.report.cost import dollars, of_runs
from fltac.report.evolution import evolution_map
from fltac.report.reading import Run, all_tasks, differences, other_metrics, read_runs, results
from fltac.report.tiers import network_of

NOTHING = "—"
MINUS = "\N{MINUS SIGN}"

Rows = list[dict[Hashable, Any]]


def write_report(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    embedding: str = "pca",
    overrides: Sequence[str] = (),
) -> Path:
    """Writes the page and returns its place: `out`, or `report.html` in the only run's folder, else in the present one.

    Runs may be unfinished; `embedding` is one of EMBEDDINGS; costs are reckoned by `[network]` of the first run, with
    `overrides`. Raises InputError where a folder is no run directory or has no finished round, where the embedding is
    not installed, or where the page cannot be written.
    """
    embeddings.require(embedding)
    runs = read_runs(paths)
    folder = Path(paths[0]) if len(runs) == 1 else Path()
    out = folder / "report.html" if out is None else Path(out)
    write_page(out, render(runs, embedding, overrides))
    return out


def write_page(out: Path, page: str) -> None:
    """Raises InputError where it cannot be written."""
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        what = f"cannot be written: {error.strerror}; name a file in a folder that exists"
        raise InputError(Problem("-o", what, str(out)), "command line") from None


def render(runs: Sequence[Run], embedding: str = "pca", overrides: Sequence[str] = ()) -> str:
    """The page as HTML, the same for the same records."""
    template = environment().get_template("page.html.j2")
    return template.render(
        title=", ".join(dict.fromkeys(run.experiment["name"] for run in runs)),
        runs=runs,
        plotly=Markup(get_plotlyjs()),  # noqa: S704, plotly's own text
        results=_results(runs),
        metrics=other_metrics(runs).to_dict("records"),
        accuracy=figures.accuracy_over_rounds(runs),
        accuracy_bytes=figures.accuracy_over_bytes(runs) if len(runs) > 1 else None,
        bytes=figures.bytes_over_rounds(runs),
        ledger=of_runs(runs, network_of(runs[0], overrides)),
        clustering=figures.clustering_over_rounds(runs),
        by_task=[snapshots.clusters_by_task(run) for run in runs],
        clusters=[_last_clusters(run) for run in runs],
        alerts=[(run.label, alert) for run in runs for told in run.rounds["alerts"] for alert in told],
        maps=[snapshots.adapter_map(run) for run in runs],
        evolution=[evolution_map(run, embedding) for run in runs],
        distances=[layers.distances_over_rounds(run) for run in runs],
        separation=[layers.separation_by_layer(run) for run in runs],
        carriers=[layers.carriers(run) for run in runs],
        differences=[(key, row.tolist()) for key, row in differences(runs).iterrows()],
    )


def fixed(value: float | None) -> str:
    """Three decimals."""
    return NOTHING if pd.isna(value) else f"{value:.3f}"


def whole(value: float | None) -> str:
    """A whole number, which pandas keeps as a float where some are missing."""
    return NOTHING if pd.isna(value) else f"{value:.0f}"


def signed(value: float | None) -> str:
    """Three decimals with a sign, a true minus."""
    return NOTHING if pd.isna(value) else f"{value:+.3f}".replace("-", MINUS)


def human_bytes(count: float) -> str:
    """Bytes in powers of 1000, at three or more digits: `2.59 MB`."""
    if pd.isna(count):
        return NOTHING
    if count < 0:
        return MINUS + human_bytes(-count)
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            digits = 2 if count < 10 * size else 1 if count < 100 * size else 0
            return f"{count / size:.{digits}f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """`57 s`, `2 min 05 s` or `3 h 07 min`."""
    if pd.isna(seconds):
        return NOTHING
    if seconds < 0:
        return MINUS + duration(-seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def times(value: float) -> str:
    """How many times as much, at three digits: `12.5`, `1,250`."""
    if pd.isna(value):
        return NOTHING
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", MINUS)


def _dollars(amount: float) -> str:
    return NOTHING if pd.isna(amount) else dollars(amount).replace("-$", f"{MINUS}$")


def share(part: float, whole: float) -> str:
    """`part` as percent of `whole`."""
    return NOTHING if not whole else f"{100 * part / whole:.1f} %"


def status(run: Run) -> Markup:
    """How far the run is."""
    done, planned = run.summary.rounds, run.experiment["rounds"]
    if run.finished:
        return Markup("{} {}, finished").format(done, "round" if done == 1 else "rounds")
    return Markup('<span class="running">running, {} of {} rounds</span>').format(done, planned)


@cache
def environment() -> Environment:
    """Templates with the filters that the pages share."""
    loader = PackageLoader("fltac.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    filters = {"fixed": fixed, "whole": whole, "signed": signed, "bytes": human_bytes, "duration": duration}
    filters |= {"times": times, "dollars": _dollars}
    environment.filters |= {**filters, "pretty": _pretty, "figure_json": _figure_json}
    environment.globals |= {"share": share, "status": status}
    return environment


def _results(runs: Sequence[Run]) -> Rows:
    """The rows of the accuracy table, task by task, the mean last, with the best run of each."""
    table = results(runs)
    best = table.groupby("task")["accuracy"].transform("max")
    places = {task: place for place, task in enumerate(all_tasks(runs))}
    table = table.assign(best=table["accuracy"] == best, order=table["task"].map(places).fillna(len(places)))
    return table.sort_values("order", kind="stable").to_dict("records")


def _last_clusters(run: Run) -> Rows:
    table = run.clusters[run.clusters["round"] == run.summary.rounds]
    return table.sort_values("cluster").to_dict("records")


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _figure_json(figure: go.Figure) -> Markup:
    """JSON that no script element ends in: every < is written as its code."""
    return Markup(figure.to_json().replace("<", "\\u003c"))  # noqa: S704
