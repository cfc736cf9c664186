"""The one way to run an experiment, whoever asks: command line, Python, sweep."""

from __future__ import annotations

import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fltac.config import Experiment
from fltac.errors import InputError, Problem
from fltac.layers import load
from fltac.monitoring import Monitor
from fltac.records.redaction import redacted
from fltac.records.rounds import RoundRecord
from fltac.records.store import RunDirectory
from fltac.records.summary import Summary, finished, summarise
from fltac.trackers import Tracks

if TYPE_CHECKING:  # torch takes seconds: it is imported while the actors start, not before
    from fltac.protocol import Runtime
    from fltac.server.state import Setup
    from fltac.world import World

Tell = Callable[[RoundRecord], None]
Say = Callable[[str], None]
PACKAGES = ("fltac", "torch", "transformers", "numpy", "scipy", "scikit-learn", "hdbscan", "pyarrow", "ray")


def run(
    experiment: Experiment,
    out: str | Path | None = None,
    runtime: str = "ray",
    address: str | None = None,
    tell: Tell = lambda record: None,
    say: Say = lambda text: None,
) -> Summary:
    """Runs an experiment into a new run directory and returns its summary.

    `runtime` is "ray" (the cluster at `address`, or RAY_ADDRESS, or one of its own) or "local" (in this process).
    `tell` is called with every finished round, `say` with a line for people. Raises InputError before anything is
    computed where the input is wrong.
    """
    if runtime not in ("ray", "local"):
        raise InputError(Problem("runtime", "must be 'ray' or 'local'", runtime))
    folder = out_folder(experiment.name, out)
    directory = RunDirectory(folder, say)
    directory.require_new()

    def begin() -> None:
        directory.create(experiment.dump(), provenance(runtime))
        say(f"{experiment.name}: method {experiment.method}, {experiment.rounds} rounds, results in {folder}")

    return _run(_Task(experiment, directory, begin, address, tell, say), runtime)


def resume(
    out: str | Path,
    runtime: str | None = None,
    address: str | None = None,
    tell: Tell = lambda record: None,
    say: Say = lambda text: None,
) -> Summary:
    """Continues a run from its last finished round, on the runtime it began on where none is named."""
    directory = RunDirectory.open(out, say)
    if summary := finished(directory):
        say(f"{out} is finished")
        return summary
    directory.claim()
    runtime = runtime or directory.runtime()
    experiment = load(directory.experiment_file)
    return _run(_Task(experiment, directory, directory.count_restart, address, tell, say), runtime)


def out_folder(name: str, out: str | Path | None) -> Path:
    """Where results go: `out`, or runs/<name>-<time>-<chance>. Inside a Ray job relative folders lie under $FLTAC_RUNS,
    since the job's own folder does not last."""
    folder = Path(out) if out else Path(f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not folder.is_absolute():
        base = os.environ.get("FLTAC_RUNS", "")
        if not Path(base).is_absolute():
            what = "set it to an absolute folder that outlives the job, on storage that all nodes share"
            raise InputError(Problem("FLTAC_RUNS", what, base or None), "environment")
        return Path(base) / folder
    return folder if out else Path("runs") / folder


class _Task(NamedTuple):
    """A run that is to be made, or gone on with. `begin` touches the disk: it is called once the input has proved
    right."""

    experiment: Experiment
    directory: RunDirectory
    begin: Callable[[], Any]
    address: str | None
    tell: Tell
    say: Say


def _run(task: _Task, runtime: str) -> Summary:
    began = time.time()
    try:
        with Tracks(task.directory, task.experiment, task.say) as track:

            def told(record: RoundRecord) -> None:
                track(record.line)
                task.tell(record)

            tracked = task._replace(tell=told)
            if task.directory.is_over(task.experiment.rounds):
                pass  # nothing but the summary is missing
            elif runtime == "local":
                _in_process(tracked, began)
            elif task.experiment.exchange.data == "pooled":
                _central(tracked, began)
            else:
                _on_actors(tracked, began)
        return conclude(task.directory)
    finally:
        task.directory.release()


def _in_process(task: _Task, began: float) -> None:
    from fltac.runtime.local import LocalRuntime

    world, setup = prepare(task.experiment)
    task.begin()
    with LocalRuntime(world, setup) as local:
        for record in rounds(world, local, task.directory, began):
            task.tell(record)


def _central(task: _Task, began: float) -> None:
    from fltac.runtime.capacity import needed
    from fltac.runtime.central import run_central
    from fltac.runtime.cluster import Cluster
    from fltac.runtime.nodes import require_shared

    experiment = task.experiment
    with Cluster(partial(needed, experiment), task.address) as cluster, Monitor(experiment.name) as monitor:
        world, setup = prepare(experiment)
        require_shared(task.directory.path.resolve())
        task.begin()
        monitor.begin(experiment)

        def told(record: RoundRecord) -> None:
            monitor.round(record)
            task.tell(record)

        run_central(world, setup, task.directory, cluster.need, told, task.say, began)


def _on_actors(task: _Task, began: float) -> None:
    from fltac.runtime.capacity import needed
    from fltac.runtime.cluster import Cluster
    from fltac.runtime.remote import RayRuntime

    experiment = task.experiment
    with (
        Cluster(partial(needed, experiment), task.address) as cluster,
        RayRuntime(cluster.need, say=task.say) as remote,
        Monitor(experiment.name) as monitor,
    ):
        remote.warm_up(experiment.model.kind)
        world, setup = prepare(experiment)  # while the actors import: imports beside Ray's start slow both
        task.begin()
        if cluster.warning:
            task.say(f"warning: {cluster.warning}")
        remote.load(world, setup)
        monitor.begin(experiment)
        for record in rounds(world, remote, task.directory, began):
            monitor.round(record)
            task.tell(record)


def prepare(experiment: Experiment) -> tuple[World, Setup]:
    """What workers and server start from."""
    from fltac.planning import build, plan
    from fltac.setup import server_setup

    prepared = plan(experiment)
    return build(prepared), server_setup(prepared)


def rounds(
    world: World, runtime: Runtime, directory: RunDirectory, began: float | None = None
) -> Iterator[RoundRecord]:
    """Those that the run still lacks, one at a time, on disk when they are yielded; it began at `began`."""
    from fltac.federation import federate

    return federate(world, runtime, directory, began)


def conclude(directory: RunDirectory) -> Summary:
    """Writes the summary of a run that is over."""
    summary = summarise(directory)
    directory.write_summary(summary.asdict())
    directory.write_provenance(directory.provenance() | {"finished": _now()})
    return summary


def provenance(runtime: str) -> dict[str, Any]:
    """Where a run that begins now comes from."""
    installed = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    return {
        "command": redacted(sys.argv),
        "directory": str(Path.cwd()),
        "runtime": runtime,
        "restarts": 0,
        "started": _now(),
        "finished": None,
        "versions": {"python": platform.python_version(), **installed},
        "machine": {"platform": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "git_commit": _git_commit(),
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _git_commit() -> str | None:
    """Of the folder the command was given in; None where it is no checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
