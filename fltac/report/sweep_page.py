"""The page about one sweep or several: the map of accuracy against bytes, its fronts, and what an accuracy costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fltac.errors import InputError, Problem
from fltac.records.sweeps import SweepDirectory
from fltac.report.bars import bars_of_points, bars_of_runs, comparable
from fltac.report.cost import lines_of, of_sweeps
from fltac.report.fronts import (
    ARM,
    bytes_to_reach,
    chosen,
    configurations,
    on_front,
    parameters,
    tasks,
    trajectories,
)
from fltac.report.map import accuracy_against_bytes, accuracy_by_task
from fltac.report.page import environment, plotly, write_page
from fltac.report.ranks import accuracy_against_rank
from fltac.report.reading import read_runs

TARGETS = 6  # accuracies of which the table tells what they cost


def write_sweep_report(
    paths: Sequence[Path],
    out: Path | None = None,
    choose: Sequence[str] = (),
    beside: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> Path:
    """Writes the page, and `map.csv` and `map.parquet` beside it, and returns its place.

    Of the keys in `choose` only the best values are shown, see `fronts.chosen`; the runs `beside` the sweeps are bars
    of the map. Costs are reckoned by `[network]` of the first point, with `overrides`.

    Raises InputError where a folder holds no sweep or run with a finished round, or the page cannot be written.
    """
    whole = trajectories(paths)
    table = chosen(whole, choose)
    rows, runs, points = front_rows(table), read_runs(beside) if beside else [], table[table["last"]]
    across = [*bars_of_points(table), *bars_of_runs(runs, tasks(table))]
    out = (paths[0] if len(paths) + len(beside) == 1 else Path()) / "report.html" if out is None else out
    studies = [SweepDirectory(path).study() for path in paths]
    names = dict.fromkeys(study.base.name for study in studies)
    page = environment().get_template("sweep.html.j2")
    text = page.render(
        title=f"{', '.join(names)}: sweep",
        plotly=plotly(),
        points=sum(study.size() for study in studies),
        over=int(whole["last"].sum()),
        chosen=", ".join(choose),
        parameters=parameters(table),
        rows=rows.sort_values(["bytes", "accuracy"]).to_dict("records"),
        seeds=sorted({rows["seeds"].min(), rows["seeds"].max()}),
        map=accuracy_against_bytes(rows, points, across),
        by_task=accuracy_by_task(rows, points, across),
        by_rank=accuracy_against_rank(rows, points, choose),
        bars=across,
        costs=costs(table).to_dict("records"),
        ledger=of_sweeps(table, lines_of(table, overrides), comparable(across)),
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


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Bytes to reach accuracies from the lowest to the highest on the map, and each arm's own best: arm against arm."""
    best = configurations(table, at="round").groupby(ARM)["accuracy"].max()
    low = configurations(table, at="round")["accuracy"].min()
    steps = np.unique(np.floor(100 * np.linspace(low, best.max(), TARGETS + 1)[1:]) / 100)
    targets = sorted({*steps, *(math.floor(1000 * one) / 1000 for one in best)})
    return bytes_to_reach(table, targets).sort_values("target", kind="stable")
