"""The command line: the one place that prints errors and exits.

0 done, 2 the input is wrong, 130, 143 and 129 a signal ended it (Ctrl-C, SIGTERM, SIGHUP), 1 anything else.
"""

from __future__ import annotations

import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fltac import __version__, screen, see, use
from fltac.errors import InputError, Problem, StoppedError, behind, reason
from fltac.layers import load, read
from fltac.points import Study
from fltac.records.store import RunDirectory
from fltac.records.sweeps import SweepDirectory
from fltac.screen import sweeps as told
from fltac.screen.ending import SIGNALLED, Named, Stoppable

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    help="Federated LoRA fine-tuning with task-specific adapter clustering, on a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # in which brackets are brackets: [network], fltac[umap]
    pretty_exceptions_enable=False,
)


class Where(StrEnum):
    local = "local"
    ray = "ray"


File = Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (TOML).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted keys, TOML values: adapter.rank=1")
]
Runtime = Annotated[Where, typer.Option(help="On Ray, or all in this process.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS, or a Ray of its own, where not given.")]


@app.command()
def check(file: File, overrides: Overrides = None) -> None:
    """Validate an experiment, print it resolved, estimate what it takes. Starts nothing."""
    with Named(file):
        layers = read(file, overrides or ())
        loaded = layers.resolve()
        points = Study(layers).points() if loaded.experiment.sweep else []
        from fltac.estimate import estimate  # after the file: what is wrong in it is told without waiting for torch
        from fltac.planning import plan

        prepared = plan(loaded.experiment)
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
    with Named(file):
        experiment = load(file, overrides or ())
    from fltac.runtime import launch

    folder = launch.out_folder(experiment.name, out)
    if experiment.sweep:
        screen.errors.print("warning: [sweep] is for fltac sweep: this is one run at the values above it", markup=False)
    with Stoppable(folder), Named(file), screen.rounds_shown(experiment.rounds) as tell:
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
    with Named(file):
        study = Study(read(file, overrides or ()))
        study.points()  # what is wrong with one is told before Ray is imported
    from fltac.runtime import launch

    folder = launch.out_folder(f"{study.base.name}-sweep", out)
    SweepDirectory(folder).require_new()  # before Ray Tune, whose import takes seconds
    from fltac.sweep.run import sweep

    with Stoppable(folder), Named(file):
        _swept(sweep(study, folder, address, screen.say), folder)


@app.command()
def submit(
    file: File,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="On the cluster; below its $FLTAC_RUNS where not absolute.")] = None,
    address: Annotated[
        str | None, typer.Option(help="The dashboard; RAY_API_SERVER_ADDRESS, or port 8265 here, where not given.")
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Run every point of [sweep.space].")] = False,
) -> None:
    """Run an experiment as a job of a cluster, with a copy of this folder; print its log and end as it ends."""
    with Named(file):
        layers = read(file, overrides or ())
        Study(layers).points() if sweep else layers.resolve()
    here = Path.cwd()
    if not file.resolve().is_relative_to(here):
        what = f"lies outside {here}, which is what is sent; go to the folder above it"
        raise InputError(Problem("FILE", what, str(file)), "command line")
    from fltac.runtime import jobs

    words = ["sweep" if sweep else "run", file.resolve().relative_to(here).as_posix(), *(overrides or ())]
    with Stoppable(None), Named(file):
        code = jobs.submit([*words, *(["--out", str(out)] if out else [])], here, address, screen.say)
    raise typer.Exit(code)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory, or a sweep's.")],
    runtime: Annotated[Where | None, typer.Option(help="Where it began, where not given.")] = None,
    address: Address = None,
) -> None:
    """Continue a run from its last finished round, or a sweep from what it has."""
    if SweepDirectory.there(folder):
        SweepDirectory(folder).study()  # a record that is none is told before Ray is imported
        if runtime is Where.local:
            raise InputError(Problem("--runtime", "a sweep runs on Ray; leave it out", runtime.value), "command line")
        from fltac.sweep.run import resume

        with Stoppable(folder):
            _swept(resume(folder, address, screen.say), folder)
        return
    from fltac.runtime import launch

    directory = RunDirectory.open(folder)
    rounds = load(directory.experiment_file).rounds
    with Stoppable(folder), Named(directory.experiment_file), screen.rounds_shown(rounds) as tell:
        summary = launch.resume(folder, runtime.value if runtime else None, address, tell, screen.say)
    screen.result(summary)


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


app.add_typer(see.app)  # watch, report, cost, recommend
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


def main() -> None:
    """Runs the command line. What the user got wrong is told in lines; what we got wrong, with its traceback."""
    try:
        app()
    except SystemExit as ended:  # click ends with codes of its own
        sys.exit(ended.code if ended.code in (0, 2, None, *SIGNALLED) else 1)
    except InputError as error:
        for line in error.lines():
            screen.errors.print(line, markup=False)
        sys.exit(2)
    except StoppedError as error:
        screen.errors.print(f"fltac stopped: {behind(error)}", markup=False)
        sys.exit(1)
    except Exception as error:
        traceback.print_exception(error)
        screen.errors.print(f"fltac failed: {reason(error)}", markup=False)
        sys.exit(1)
