"""Runs of one experiment with different seeds taken together: mean accuracy and its interval."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fltac.points import flat
from fltac.report.fronts import SEED, accuracy_interval
from fltac.report.reading import MEAN, Run, all_tasks

NAMES = {SEED, "name"}  # in which runs of one experiment may differ


def over_seeds(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a task and experiment of two seeds or more: `runs` (their labels), `seeds`, `accuracy`, and Student's 95 %
    interval `low`, `high`. A seed that ran twice is one; runs that are not finished do not count."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.finished:
            asked = {key: value for key, value in flat(run.experiment).items() if key not in NAMES}
            groups.setdefault(json.dumps(asked, sort_keys=True), []).append(run)
    rows = []
    for each in groups.values():
        by_seed = {run.experiment["seed"]: run for run in each}
        if len(by_seed) < 2:
            continue
        for task in [*all_tasks(each), MEAN]:
            found = [
                run.summary.accuracy_mean if task == MEAN else run.summary.accuracy.get(task)
                for run in by_seed.values()
            ]
            mean, low, high = accuracy_interval(np.array([one for one in found if one is not None], dtype=float))
            place = {"task": task, "runs": ", ".join(run.label for run in each), "method": each[0].experiment["method"]}
            rows.append({**place, "seeds": len(by_seed), "accuracy": mean, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["task", "runs", "method", "seeds", "accuracy", "low", "high"])
