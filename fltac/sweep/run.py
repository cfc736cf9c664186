"""A sweep from its first point to its table, begun or continued."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from fltac.config import MAXIMISED, Optuna
from fltac.errors import InputError
from fltac.points import POINT, Params, Study, label
from fltac.records.files import Lock
from fltac.records.summary import finished
from fltac.records.sweeps import SweepDirectory
from fltac.runtime import launch
from fltac.runtime.capacity import Need, Node, check, fits, needed
from fltac.runtime.cluster import Cluster
from fltac.runtime.nodes import require_shared
from fltac.sweep.trial import Brief, Trial
from fltac.sweep.watching import Watched

Say = Callable[[str], None]


def sweep(study: Study, out: Path, address: str | None = None, say: Say = lambda text: None) -> pa.Table:
    """Runs every point of a sweep into a new folder and returns the table of them.

    A point that fails says so in its row, and the others go on. Raises InputError before anything is started where a
    point is no experiment.
    """
    directory, points = SweepDirectory(out), dict(enumerate(study.points()))
    directory.require_new()
    _plan_each(study, list(points.values()) or study.extremes())
    return _run(directory, study, points, address, say)


def resume(out: Path, address: str | None = None, say: Say = lambda text: None) -> pa.Table:
    """Continues a sweep: points that are finished are not run again, those that were begun go on from their last round.

    A search that goes by results goes on from those that there are.
    """
    directory = SweepDirectory(out)
    study = directory.study()
    return _run(directory, study, dict(enumerate(study.points())) or directory.noted(), address, say)


def _run(
    directory: SweepDirectory, study: Study, points: Mapping[int, Params], address: str | None, say: Say
) -> pa.Table:
    left = {number: params for number, params in points.items() if directory.run(number).summary() is None}
    noted = directory.noted()
    for number in points.keys() - left.keys() - noted.keys():  # a lost note
        directory.note(number, points[number])
    searching = isinstance(study.sweep.search, Optuna)
    more = study.sweep.samples - len(points) if searching else 0
    if len(left) < len(points):
        say(f"{len(points) - len(left)} of {len(points) + more} points are finished already")
    try:
        if left or more:
            beside = min(len(left) + more, study.sweep.concurrent or len(left) + more)
            asked = [study.experiment(params) for params in (*left.values(), *(study.extremes() if more else ()))]

            def largest(nodes: Sequence[Node]) -> Need:
                needs = [needed(experiment, nodes, beside) for experiment in asked]
                return max(needs, key=lambda need: (need.cpus, need.actors * need.num_gpus))

            with Cluster(largest, address) as cluster:
                for need in {needed(experiment, cluster.nodes, beside) for experiment in asked}:
                    check(need, cluster.nodes)  # Tune would wait for ever for one that does not fit
                require_shared(directory.path)
                if not SweepDirectory.there(directory.path):
                    directory.create(study)
                    say(f"{study.base.name}: {len(points) + more} points, results in {directory.path}")
                lock = Lock(directory.path)
                brief = Brief(directory, study, left, cluster.nodes, beside, launch.provenance("ray"))
                with Watched(brief, say, len(points) + more, points.keys() - left.keys()) as watched, _tidied(brief):
                    callbacks = [Told(brief, say), watched]
                    if left:
                        _fit(brief, cluster.need, callbacks, param_space={POINT: tune.grid_search(sorted(left))})
                    if more and not directory.unfinished(left):  # else it was interrupted
                        from fltac.sweep.search import search  # optuna is an extra

                        _fit(brief, cluster.need, callbacks, search_alg=search(directory, study), num_samples=more)
                lock.release()
    finally:
        if SweepDirectory.there(directory.path):
            table = directory.write_table({**points, **directory.noted()})
    return table


@contextmanager
def _tidied(brief: Brief) -> Iterator[None]:
    """Tune's own files are gone afterwards: those of whoever has the lock, and not of who was refused beside it."""
    try:
        yield
    finally:
        shutil.rmtree(brief.directory.path / "tune", ignore_errors=True)


def _plan_each(study: Study, points: Sequence[Params]) -> None:
    """Reads tasks, partition and the model's shape of each point that differs in more than its seed and method.

    Raises InputError for what a file's values alone do not show: a task that is not there, a rank that does not fit.
    """
    from fltac.planning import plan  # takes torch

    seen = set()
    for params in points:
        experiment = study.experiment(params)
        parts = ("model", "adapter", "tasks", "data", "clients", "changes", "training", "rounds")
        key = json.dumps({name: experiment.model_dump(mode="json")[name] for name in parts})
        if key not in seen:
            seen.add(key)
            try:
                plan(experiment)
            except InputError as error:
                told = [replace(one, what=f"{one.what}; at {label(params)}") for one in error.problems]
                raise InputError(told, study.layers.path) from None


def _fit(
    brief: Brief,
    need: Need,
    callbacks: list[tune.Callback],
    param_space: dict[str, Any] | None = None,
    search_alg: Any = None,
    num_samples: int = 1,
) -> None:
    stop, scheduler = brief.study.sweep.stop, None
    if stop is not None:
        scheduler = ASHAScheduler(
            metric=stop.metric,
            mode="max" if stop.metric in MAXIMISED else "min",
            max_t=max(stop.grace, *(brief.study.experiment(one).rounds for one in (*brief.points.values(), {}))),
            time_attr="round",  # Tune's own count begins again with a point that goes on
            grace_period=stop.grace,
            reduction_factor=stop.factor,
        )
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a point without a metric is not all points' end
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the run directories are the record
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints at any verbosity
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by `Told`
    room = sum(fits(node, need) for node in brief.nodes) // need.actors
    tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, brief=brief), brief.bundles),
        param_space=param_space,
        tune_config=tune.TuneConfig(
            search_alg=search_alg,
            scheduler=scheduler,
            num_samples=num_samples,
            max_concurrent_trials=max(1, min(room, brief.beside)),
            reuse_actors=True,  # a process that has imported torch runs the next point at once
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(brief.directory.path), verbose=0, callbacks=callbacks),
    ).fit()


class Told(tune.Callback):  # type: ignore[misc]
    """Says a line for each point that ends, and concludes those that Tune ended early."""

    def __init__(self, brief: Brief, say: Say) -> None:
        self.brief, self.say = brief, say

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks down, and nobody reads that

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, params = trial.config[POINT], self.brief.params(trial.config)
        run = self.brief.directory.run(number)
        early = (ended := finished(run)) is None
        summary = ended or launch.conclude(run)
        sent = (summary.bytes_up + summary.bytes_down) / 1e6
        self.say(
            f"point {number} ({label(params)}): accuracy {summary.accuracy_mean:.3f}, {sent:.1f} MB, "
            f"{summary.seconds:.0f} s" + (f", ended after round {summary.rounds}" if early else "")
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, params = trial.config[POINT], self.brief.params(trial.config)
        cause = self.brief.directory.failure(number)
        if cause is None:  # its process died, and could not say so itself
            cause = Path(trial.error_file).read_text().strip().splitlines()[-1]
            self.brief.directory.note(number, params, cause)
        self.say(f"point {number} ({label(params)}) failed: {cause.splitlines()[0]}")
