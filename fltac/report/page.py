"""One self-contained HTML page about one run or several: opens from disk, asks no network."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from fltac.errors import InputError, Problem
from fltac.report import embedding as embeddings
from fltac.report import figures, writing
from fltac.report.cost import of_runs
from fltac.report.fronts import ENOUGH_SEEDS
from fltac.report.over_seeds import over_seeds
from fltac.report.reading import Run, accuracy, all_tasks, differences, other_metrics, read_runs, results
from fltac.report.style import Framed
from fltac.report.tiers import network_of
from fltac.report.view import PLACES, seen, view

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
    several = len(runs) > 1
    return template.render(
        title=", ".join(dict.fromkeys(run.experiment["name"] for run in runs)),
        views=[view(run, embedding, f"-{number}" if several else "") for number, run in enumerate(runs, 1)],
        plotly=plotly(),
        results=_results(runs),
        over_seeds=over_seeds(runs).to_dict("records"),
        metrics=other_metrics(runs).to_dict("records"),
        accuracy=figures.accuracy_over_rounds(runs),
        by_round=[(run.label, accuracy(run)) for run in runs],
        accuracy_bytes=figures.accuracy_over_bytes(runs) if several else None,
        bytes=figures.bytes_over_rounds(runs),
        ledger=of_runs(runs, network_of(runs[0], overrides)),
        clustering=figures.clustering_over_rounds(runs),
        differences=[(key, row.tolist()) for key, row in differences(runs).iterrows()],
    )


def plotly() -> Markup:
    """The library, which each page carries."""
    return Markup(get_plotlyjs())  # noqa: S704, plotly's own text


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
    filters = {"fixed": writing.fixed, "whole": writing.whole, "signed": writing.signed, "bytes": writing.human_bytes}
    filters |= {"times": writing.times, "dollars": writing.money, "duration": writing.duration}
    environment.filters |= {**filters, "pretty": _pretty, "figure_json": _figure_json}
    environment.globals |= {
        "share": writing.share,
        "status": status,
        "seen": seen,
        "PLACES": PLACES,
        "ENOUGH_SEEDS": ENOUGH_SEEDS,
    }
    return environment


def _results(runs: Sequence[Run]) -> Rows:
    """The rows of the accuracy table, task by task, the mean last, with the best run of each."""
    table = results(runs)
    best = table.groupby("task")["accuracy"].transform("max")
    places = {task: place for place, task in enumerate(all_tasks(runs))}
    table = table.assign(best=table["accuracy"] == best, order=table["task"].map(places).fillna(len(places)))
    return table.sort_values("order", kind="stable").to_dict("records")


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _figure_json(figure: go.Figure | Framed) -> Markup:
    """JSON that no script element ends in: every < is written as its code."""
    return Markup(figure.to_json().replace("<", "\\u003c"))  # noqa: S704
