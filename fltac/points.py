"""The points of a sweep: what each changes, and the experiment that it is."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fltac.config import Dimension, Experiment, Optuna, Sweep, searchable
from fltac.errors import InputError, Problem
from fltac.layers import AXES, Layers
from fltac.seeds import generator

Params = dict[str, Any]  # dotted key -> value
POINT = "point"  # its number, in what Tune hands a trial


@dataclass(frozen=True)
class Study:
    """A sweep as it was asked for."""

    layers: Layers

    @cached_property
    def base(self) -> Experiment:
        """The experiment that every point changes."""
        return self.layers.resolve().experiment

    @property
    def sweep(self) -> Sweep:
        """What is asked, or ranks and seeds where nothing is."""
        return self.base.sweep or Sweep()

    def experiment(self, params: Params) -> Experiment:
        """The experiment of one point. Raises InputError where it is none."""
        return self.layers.resolve(params).experiment

    def points(self) -> list[Params]:
        """Every combination of the grids, in order, with each of the draws of the rest: the same draws for each.

        Raises InputError with what is wrong in any of them. Of a search that goes by results, no point is known yet,
        but every value that it may choose (of an interval, both ends) is tried.
        """
        space, sweep = self.sweep.space, self.sweep
        if isinstance(sweep.search, Optuna):
            if importlib.util.find_spec("optuna") is None:
                what = "needs Optuna; install it with pip install 'fltac[optuna]'"
                raise InputError(Problem("sweep.search.type", what, "optuna"), self.layers.path)
            self._require(self.extremes())
            return []
        grids = {key: one.grid for key, one in space.items() if one.grid is not None}
        rest = {key: one for key, one in space.items() if one.grid is None}
        draws = [
            {key: draw(one, generator(sweep.seed, "sweep", key, sample)) for key, one in rest.items()}
            for sample in range(sweep.samples)
        ]
        combinations = (dict(zip(grids, values, strict=True)) for values in itertools.product(*grids.values()))
        points = [{**fixed, **drawn} for fixed, drawn in itertools.product(combinations, draws)]
        ordered = [{key: point[key] for key in space} for point in points]  # as the file orders them
        once = [point for index, point in enumerate(ordered) if point not in ordered[:index]]  # draws may coincide
        self._require(once)
        return once

    def size(self) -> int:
        """How many points there are to be."""
        return self.sweep.samples if isinstance(self.sweep.search, Optuna) else len(self.points())

    def extremes(self) -> list[Params]:
        """Points that together have every value that a search may choose, of an interval both ends."""
        return _each_value_once(self.sweep.space)

    def _require(self, points: Iterable[Params]) -> None:
        """Tells each mistake once, with the first point that makes it and how many do."""
        wrong: dict[tuple[str, str], list[tuple[Params, Problem]]] = {}  # by key and what is wrong with it
        for point in points:
            try:
                found = searchable(self.experiment(point), self.sweep)
                if problems := [Problem(*each) for each in found]:
                    raise InputError(problems)
            except InputError as error:
                for problem in error.problems:
                    wrong.setdefault((problem.key, problem.what), []).append((point, problem))
        if wrong:
            raise InputError([_told(each) for each in wrong.values()], self.layers.path)


def draw(dimension: Dimension, chance: np.random.Generator) -> Any:
    """One value of a dimension that is no grid."""
    if dimension.choice is not None:
        return dimension.choice[int(chance.integers(len(dimension.choice)))]
    if dimension.ints is not None:
        return int(chance.integers(dimension.ints[0], dimension.ints[1], endpoint=True))
    if dimension.loguniform is not None:
        low, high = dimension.loguniform
        return math.exp(chance.uniform(math.log(low), math.log(high)))
    assert dimension.uniform is not None
    return float(chance.uniform(*dimension.uniform))


def value(tree: Any, key: str) -> Any:
    """What an experiment as JSON has under a dotted key, tasks by name; None where it has none."""
    for part in key.split("."):
        tree = _by_name(tree)
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """`{"adapter": {"rank": 4}}` as `{"adapter.rank": 4}`; tables in an array go by their name or number."""
    tree = _by_name(tree)
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        key: leaf for name, branch in tree.items() for key, leaf in flat(branch, f"{path}.{name}".strip(".")).items()
    }


def _by_name(tree: Any) -> Any:
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return {str(item.get("name", number)): item for number, item in enumerate(tree)}
    return tree


def differing(experiments: Sequence[Experiment]) -> list[str]:
    """The dotted keys in which experiments differ, without what they are called, what they sweep and who is told.

    Of axes that a preset sets only where the method is the same: else it is the method that differs.
    """
    each = [flat(one.model_dump(mode="json", exclude={"name", "sweep", "seed", "trackers"})) for one in experiments]
    keys = dict.fromkeys(key for one in each for key in one)
    found = [key for key in keys if any(one.get(key) != each[0].get(key) for one in each)]
    return [key for key in found if "method" not in found or key.split(".")[0] not in AXES]


def label(params: Mapping[str, Any]) -> str:
    """A point as people read it: `adapter.rank=4, seed=1`."""
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )


def _each_value_once(space: Mapping[str, Dimension]) -> list[Params]:
    ends: dict[str, Sequence[Any]] = {
        key: one.grid or one.choice or one.uniform or one.loguniform or one.ints or () for key, one in space.items()
    }
    first = {key: values[0] for key, values in ends.items()}
    return [{**first, key: value} for key, values in ends.items() for value in values]


def _told(each: Sequence[tuple[Params, Problem]]) -> Problem:
    point, problem = each[0]
    others = f" and {len(each) - 1} other point" + ("s" if len(each) > 2 else "") if len(each) > 1 else ""
    values = list({repr(one.got): one.got for _, one in each}.values())
    return Problem(problem.key, f"{problem.what}; at {label(point)}{others}", values if values[1:] else problem.got)
