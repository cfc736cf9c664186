"""A trial of Ray Tune: a process that runs one point after another, each on client actors of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune

from fltac.errors import reason
from fltac.monitoring import Monitor
from fltac.points import POINT, Params, Study
from fltac.records.rounds import RoundRecord, searched
from fltac.records.sweeps import SweepDirectory
from fltac.runtime import launch
from fltac.runtime.capacity import Need, Node, needed
from fltac.runtime.remote import RayRuntime


@dataclass(frozen=True)
class Brief:
    """What a trial needs to know beside its number."""

    directory: SweepDirectory
    study: Study
    points: Mapping[int, Params]  # that are known before they begin
    nodes: Sequence[Node]
    beside: int  # points that may run at a time, if there is room
    provenance: Mapping[str, Any]  # of the driver: a trial's own says nothing

    def params(self, config: Mapping[str, Any]) -> Params:
        """Of the point that Tune's `config` names, or holds."""
        return self.points.get(config[POINT]) or {key: value for key, value in config.items() if key != POINT}

    def need(self, config: Mapping[str, Any]) -> Need:
        return needed(self.study.experiment(self.params(config)), self.nodes, self.beside)

    def bundles(self, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """The trial's own process takes nothing, its actors what they are made with."""
        return tune.PlacementGroupFactory([{"CPU": 0}, *self.need(config).bundles])


ORPHAN_SECONDS = 120.0  # that a process of a driver which was killed may go on writing, until its Ray has noticed


class Trial(tune.Trainable):  # type: ignore[misc]
    """One point after another in one process; a step is a round."""

    def setup(self, config: dict[str, Any], brief: Brief) -> None:
        self.brief = brief
        self.runtime: RayRuntime | None = None
        self.monitor = Monitor(brief.study.base.name).__enter__()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        self.rounds: Iterator[RoundRecord] | None = None
        return True

    def step(self) -> dict[str, Any]:
        number, params = self.config[POINT], self.brief.params(self.config)
        run = self.brief.directory.run(number)
        with self._noted(number, params):
            if self.rounds is None:
                self.brief.directory.note(number, params)
                self.rounds = self._begin(number, params)
            if record := next(self.rounds, None):  # None: all rounds were there, and only the summary was not
                self.monitor.round(record)
            lines = run.lines()
            if over := len(lines) >= self.last:
                launch.conclude(run)
                self.monitor.end()
        return {**searched(lines), "round": len(lines), "done": over}

    def cleanup(self) -> None:
        self.monitor.__exit__()
        self._release()

    def _release(self) -> None:
        if self.runtime is not None:
            self.runtime.__exit__()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the run directory has its own after every round."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """The run directory is gone on from wherever it stands."""

    def _begin(self, number: int, params: Params) -> Iterator[RoundRecord]:
        began, experiment, run = time.time(), self.brief.study.experiment(params), self.brief.directory.run(number)
        self.last = experiment.rounds
        if begun := run.experiment_file.is_file():
            run.claim(ORPHAN_SECONDS)
        if run.is_over(self.last):
            return iter(())
        if begun and (run.has_checkpoint() or not run.lines()):
            run.count_restart()
        else:
            run.release()
            shutil.rmtree(run.path, ignore_errors=True)  # what a torn start left, or what there is no going on from
            run.create(experiment.dump(), self.brief.provenance)
        need = self.brief.need(self.config)
        if self.runtime is None or self.runtime.need != need:
            self._release()
            self.runtime = RayRuntime(need, ray.util.get_current_placement_group())
            self.runtime.warm_up(experiment.model.kind)
        world, setup = launch.prepare(experiment)
        self.runtime.load(world, setup)
        self.monitor.begin(experiment)
        return launch.rounds(world, self.runtime, run, began)

    @contextmanager
    def _noted(self, number: int, params: Params) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.brief.directory.note(number, params, reason(error))
            raise
