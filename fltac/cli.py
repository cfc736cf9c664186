"""The command line: the one place that prints errors and exits. 0 done, 2 the input is wrong, 1 anything else."""

from __future__ import annotations

import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fltac import __version__, screen, use
from fltac.errors import InputError, Problem, reason
from fltac.layers import load, read
from fltac.points import Study
from fltac.records.sweeps import SweepDirectory
from fltac.screen import sweeps as told

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    help="Federated LoRA fine-tuning with task-specific adapter clustering, on a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Where(StrEnum):
    local = "local"
    ray = "ray"


class Embedding(StrEnum):
    pca = "pca"
    umap = "umap"


File = Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (TOML).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted keys, TOML values: adapter.rank=1")
]
Choose = Annotated[
    list[str] | None, typer.Option(metavar="KEY", help="Of a sweep: keep its best value by validation, for all else.")
]
Network = Annotated[
    list[str] | None, typer.Option("--network", "-n", metavar="KEY=VALUE", help="Of [network], for costs: up_mbps=5")
]
Runtime = Annotated[Where, typer.Option(help="On Ray, or all in this process.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS, or a Ray of its own, where not given.")]


@app.command()
def check(file: File, overrides: Overrides = None) -> None:
    """Validate an experiment, print it resolved, estimate what it takes. Starts nothing."""
    with _Named(file):
        layers = read(file, overrides or ())
        loaded = layers.resolve()
        from fltac.estimate import estimate  # after the file: what is wrong in it is told without waiting for torch
        from fltac.world import plan

        prepared = plan(loaded.experiment)
        points = Study(layers).points() if loaded.experiment.sweep else []
    screen.checked(prepared, loaded.origins, estimate(prepared))
    if sweep := loaded.experiment.sweep:
        screen.say(f"sweep: {len(points) or sweep.samples} points over {', '.join(sweep.space)} with fltac sweep")


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="New run directory; runs/NAME-TIME where not given.")] = None,
    runtime: Runtime = Where.ray,
    address: Address = None,
) -> None:
    """Run an experiment and print its result."""
    with _Named(file):
        experiment = load(file, overrides or ())
    from fltac.runtime import launch

    folder = launch.out_folder(experiment.name, out)
    if experiment.sweep:
        screen.errors.print("warning: [sweep] is for fltac sweep: this is one run at the values above it", markup=False)
    screen.say(f"{experiment.name}: method {experiment.method}, {experiment.rounds} rounds, results in {folder}")
    with _Named(file), screen.rounds_shown(experiment.rounds) as tell:
        summary = launch.run(experiment, folder, runtime.value, address, tell, screen.say)
    screen.result(summary)
    screen.say(f"results in {folder}; see them with: fltac report {folder}")


@app.command()
def sweep(
    file: File,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="New folder; runs/NAME-sweep-TIME where not given.")] = None,
    address: Address = None,
) -> None:
    """Run every point of [sweep.space], side by side as far as there is room, and print their table."""
    with _Named(file):
        study = Study(read(file, overrides or ()))
        points = study.points()
    from fltac.runtime import launch
    from fltac.sweep.run import sweep

    folder = launch.out_folder(f"{study.base.name}-sweep", out)
    screen.say(f"{study.base.name}: {len(points) or study.sweep.samples} points, results in {folder}")
    with _Named(file):
        _swept(sweep(study, folder, address, screen.say), folder)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory, or a sweep's.")],
    runtime: Annotated[Where | None, typer.Option(help="Where it began, where not given.")] = None,
    address: Address = None,
) -> None:
    """Continue a run from its last finished round, or a sweep from what it has."""
    if SweepDirectory.there(folder):
        from fltac.sweep.run import resume

        if runtime is Where.local:
            raise InputError(Problem("--runtime", "a sweep runs on Ray; leave it out", runtime.value), "command line")
        _swept(resume(folder, address, screen.say), folder)
        return
    from fltac.records.store import RunDirectory
    from fltac.runtime import launch

    directory = RunDirectory.open(folder)
    rounds, done = load(directory.experiment_file).rounds, len(directory.lines())
    with _Named(directory.experiment_file), screen.rounds_shown(rounds, done) as tell:
        summary = launch.resume(folder, runtime.value if runtime else None, address, tell, screen.say)
    screen.result(summary)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories, sweeps.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; beside the run where not given.")
    ] = None,
    embedding: Annotated[
        Embedding, typer.Option(help="Plane of the evolution of adapters; umap needs fltac[umap].")
    ] = Embedding.pca,
    choose: Choose = None,
    network: Network = None,
) -> None:
    """Write one self-contained HTML page about one or more runs, or about sweeps: the map of accuracy against bytes.

    Runs beside sweeps are bars of the map.
    """
    sweeps = [folder for folder in folders if SweepDirectory.there(folder)]
    if sweeps:
        from fltac.report.sweep_page import write_sweep_report

        runs = [folder for folder in folders if folder not in sweeps]
        page = write_sweep_report(sweeps, output, choose or (), runs, network or ())
        screen.say(f"report in {page}, its figures in {page.with_name('map.csv')} and map.parquet")
        return
    from fltac.report.page import write_report

    screen.say(f"report in {write_report(folders, output, embedding.value, network or ())}")


@app.command()
def cost(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run directories.")],
    network: Network = None,
) -> None:
    """Reckon what runs cost on the wire and at the server, in time and money, and to the same accuracy."""
    from fltac.report.cost import costs

    told.costs(*costs(folders, network or ()))


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
    screen.say(f"fltac run {file} runs it")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.")],
    cluster: Annotated[int, typer.Option(help="Number of the cluster, as in clusters.parquet.")],
    to: Annotated[Path, typer.Option(metavar="PEFT_DIR", help="New folder for the adapter.")],
    head: Annotated[str | None, typer.Option(help="Which head, where the cluster has several.")] = None,
) -> None:
    """Write a cluster's adapter and head in PEFT's format."""
    from fltac.export import export_cluster

    screen.say(export_cluster(folder, cluster, to, head))


app.add_typer(use.app)  # predict, route, judge


def version(show: bool) -> None:
    if show:
        screen.say(f"fltac {__version__}")
        raise typer.Exit


@app.callback()
def options(show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True)] = False) -> None:
    """Options before the command."""


def _swept(table: pa.Table, folder: Path) -> None:
    """Prints a sweep's table; exit code 1 where a point failed."""
    told.points(table)
    screen.say(f"results in {folder}; the table of all is {folder / 'points.parquet'}")
    left = sum(status != "finished" for status in table["status"].to_pylist())
    if left or not table.num_rows:
        screen.errors.print(f"{left} points are not finished; fltac resume {folder} goes on", markup=False)
        raise typer.Exit(1)


class _Named:
    """Gives problems that were found below the command line the file that they are about."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError) and not error.file:
            error.file = str(self.file)


def main() -> None:
    """Runs the command line. What the user got wrong is told in lines; what we got wrong, with its traceback."""
    try:
        app()
    except SystemExit as ended:  # click ends with codes of its own, 130 after Ctrl-C among them
        sys.exit(ended.code if ended.code in (0, 2, None) else 1)
    except InputError as error:
        for line in error.lines():
            screen.errors.print(line, markup=False)
        sys.exit(2)
    except Exception as error:
        traceback.print_exception(error)
        screen.errors.print(f"fltac failed: {reason(error)}", markup=False)
        sys.exit(1)
