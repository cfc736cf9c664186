"""What Tune's driver tells of a sweep while it goes: metrics of the whole, each point's rounds to its trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ray import tune

from fltac.monitoring import Monitor, sweep_samples
from fltac.points import POINT, label
from fltac.records.rounds import searched
from fltac.report.fronts import on_front
from fltac.sweep.trial import Brief
from fltac.trackers import Tracks


class Watched(tune.Callback):  # type: ignore[misc]
    """Reads the run directories of the points, as everybody does who looks."""

    def __init__(self, brief: Brief, say: Callable[[str], None], total: int, finished: Iterable[int]) -> None:
        """`total` points has the sweep, `finished` are the numbers of those that were so before."""
        self.brief, self.say, self.total = brief, say, total
        self.found = {number: searched(brief.directory.run(number).lines()) for number in finished}
        self.failed: set[int] = set()
        self.tracks: dict[int, Tracks] = {}
        self.monitor = Monitor(brief.study.base.name)
        self._emit()

    def __enter__(self) -> Watched:
        self.monitor.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.monitor.__exit__()
        for track in self.tracks.values():  # of a sweep that was interrupted
            track.close(failed=True)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks down, and nobody reads that

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        number, params = trial.config[POINT], self.brief.params(trial.config)
        run = self.brief.directory.run(number)
        if number not in self.tracks:
            self.tracks[number] = Tracks(run, self.brief.study.experiment(params), self.say, label(params))
        self.tracks[number](run.lines()[result["round"] - 1])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config[POINT]
        self.found[number] = searched(self.brief.directory.run(number).lines())
        self._over(number, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.failed.add(trial.config[POINT])
        self._over(trial.config[POINT], failed=True)

    def _over(self, number: int, failed: bool) -> None:
        if track := self.tracks.pop(number, None):
            track.close(failed)
        self._emit()

    def _emit(self) -> None:
        found = list(self.found.values())
        best = "accuracy_validation_mean"
        best = best if all(best in one for one in found) else "accuracy_mean"
        sizes, accuracies = (np.array([one[name] for one in found]) for name in ("bytes_total", best))
        front = int(on_front(sizes, accuracies).sum())
        self.monitor.tell([*sweep_samples(found, len(self.failed), self.total, front)])
