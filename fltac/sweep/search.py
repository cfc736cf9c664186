"""Points chosen by Optuna, by what the points before them gave. The study is a file of the sweep's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from fltac.config import Dimension
from fltac.config import Optuna as Asked
from fltac.points import POINT, Study
from fltac.records.rounds import searched
from fltac.records.sweeps import SweepDirectory

NAME = "optuna"


class Numbered(OptunaSearch):  # type: ignore[misc]
    """Optuna's number of a trial is the number of the point."""

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        params = super().suggest(trial_id)
        return params and {**params, POINT: self._ot_trials[trial_id].number}


def search(directory: SweepDirectory, study: Study) -> Numbered:
    """A search that knows all points that the folder holds.

    Metrics are given to it alone: Tune would make one objective of several (`TuneConfig.metric`).
    """
    asked = study.sweep.search
    assert isinstance(asked, Asked)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(directory.path / "optuna.log")))
    metrics = [metric for metric in (asked.maximise, asked.minimise) if metric is not None]
    modes = ["max", "min"][: len(metrics)]
    known = _told(storage, directory, metrics)
    return Numbered(
        {key: _distribution(one) for key, one in study.sweep.space.items()},
        metric=metrics,
        mode=modes,
        study_name=NAME,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=study.sweep.seed + known),  # another stream than that of the first part
    )


def _told(storage: JournalStorage, directory: SweepDirectory, metrics: Sequence[str]) -> int:
    """Tells the study what became of points that were under way when the sweep was stopped, and of those that failed
    and were finished later; how many it knows.

    A trial that is over cannot be told again (`optuna.Study.tell`): one that failed is added as another that has the
    result, and the number of that one is no point's.
    """
    if NAME not in optuna.get_all_study_names(storage):
        return 0
    before = optuna.load_study(study_name=NAME, storage=storage)
    added = {trial.user_attrs.get(POINT) for trial in before.trials}
    for trial in before.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.FAIL)):
        over, running = directory.run(trial.number).summary() is not None, trial.state == TrialState.RUNNING
        found = searched(directory.run(trial.number).lines()) if over else {}
        values = [found[metric] for metric in metrics] if over else None
        if running:
            before.tell(trial.number, values, TrialState.COMPLETE if over else TrialState.FAIL)
        elif over and trial.number not in added:
            before.add_trial(
                optuna.trial.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    values=values,
                    user_attrs={POINT: trial.number},
                )
            )
    return len(before.trials)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.ints is not None:
        return IntDistribution(*dimension.ints)
    if bounds := dimension.uniform or dimension.loguniform:
        return FloatDistribution(*bounds, log=dimension.loguniform is not None)
    return CategoricalDistribution(dimension.grid or dimension.choice or ())
