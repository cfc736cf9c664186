"""The part of the command line that looks at what runs left, or leave."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fltac.errors import InputError, Problem
from fltac.records.store import RunDirectory
from fltac.records.sweeps import SweepDirectory
from fltac.screen import say
from fltac.screen import sweeps as told
from fltac.screen.ending import INTERRUPTED
from fltac.screen.watching import watch as watched

app = typer.Typer()


class Embedding(StrEnum):
    pca = "pca"
    umap = "umap"


Choose = Annotated[
    list[str] | None, typer.Option(metavar="KEY", help="Of a sweep: keep its best value by validation, for all else.")
]
Network = Annotated[
    list[str] | None, typer.Option("--network", "-n", metavar="KEY=VALUE", help="Of [network], for costs: up_mbps=5")
]


@app.command()
def watch(folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]) -> None:
    """Show a run while it goes on, round by round, until it ends or Ctrl-C; of one that has ended, how it ended.

    Exit code 1 where it stopped before its end.
    """
    try:
        if not watched(RunDirectory.open(folder)):
            raise typer.Exit(1)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories, sweeps.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; beside the run where not given.")
    ] = None,
    embedding: Annotated[
        Embedding, typer.Option(help="Plane of the map of adapters; umap needs fltac[umap].")
    ] = Embedding.pca,
    choose: Choose = None,
    network: Network = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="To browsers of this machine, anew with each round, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0: any that is free.")] = 0,
) -> None:
    """Write one self-contained HTML page about one or more runs, or about sweeps: the map of accuracy against bytes.

    Runs beside sweeps are bars of the map.
    """
    sweeps = [folder for folder in folders if SweepDirectory.there(folder)]
    _require_sweep(sweeps, choose)
    if serve:
        _serve(folders, sweeps, output, embedding.value, network or (), port)
        return
    if sweeps:
        from fltac.report.sweep_page import write_sweep_report

        runs = [folder for folder in folders if folder not in sweeps]
        page = write_sweep_report(sweeps, output, choose or (), runs, network or ())
        say(f"report in {page}, its figures in {page.with_name('map.csv')} and map.parquet")
        return
    from fltac.report.page import write_report

    say(f"report in {write_report(folders, output, embedding.value, network or ())}")


def _require_sweep(sweeps: list[Path], choose: list[str] | None) -> None:
    if choose and not sweeps:
        raise InputError(Problem("--choose", "is of sweeps; name one, or leave it out", choose[0]), "command line")


def _serve(
    folders: list[Path],
    sweeps: list[Path],
    output: Path | None,
    embedding: str,
    network: list[str] | tuple[()],
    port: int,
) -> None:
    if sweeps:
        what = "is for runs; name points of the sweep, or leave --serve out"
        raise InputError(Problem("--serve", what, str(sweeps[0])), "command line")
    if output:
        raise InputError(Problem("-o", "is not written by --serve; leave one of them out", str(output)), "command line")
    from fltac.report.serve import Page, serve

    try:
        serve(
            Page(folders, embedding, network), port, lambda at: say(f"report at {at} for this machine; Ctrl-C ends it")
        )
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def cost(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories, sweeps.")],
    choose: Choose = None,
    network: Network = None,
) -> None:
    """Reckon what runs cost on the wire and at the server, in time and money, and to the same accuracy.

    Of sweeps: what each method needed to the highest accuracy that all reached; runs beside them stand like methods.
    """
    _require_sweep([folder for folder in folders if SweepDirectory.there(folder)], choose)
    from fltac.report.cost import costs

    told.costs(*costs(folders, network or (), choose or ()))


@app.command()
def recommend(
    folders: Annotated[list[Path], typer.Argument(metavar="SWEEP...", help="Sweeps of the same experiment.")],
    tolerance: Annotated[float, typer.Option(help="Points of validation accuracy that may be lost.", min=0)] = 1.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Experiment file; beside the sweep where not given.")
    ] = None,
    choose: Choose = None,
    network: Network = None,
) -> None:
    """Name the configuration of fewest bytes that is within a tolerance of the best, and write it as an experiment."""
    from fltac.report.fronts import chosen, trajectories
    from fltac.report.recommend import by_tier_of, recommend, write_recommended

    file = output or folders[0] / "recommended.json"
    if file.suffix != ".json":
        raise InputError(Problem("-o", "is written as JSON; name a file that ends in .json", str(file)), "command line")
    table = chosen(trajectories(folders), choose or ())
    choice = recommend(table, tolerance)
    tiers = by_tier_of(table, choice, network or ())
    told.recommended(choice, tolerance)
    told.tiers(tiers)
    write_recommended(choice, file)
    say(f"fltac run {file} runs it")
