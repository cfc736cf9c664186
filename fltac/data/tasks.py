"""From a task's source (hub, files, sample) to examples, as a kind of model reads them: capped and split."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fltac.config import Experiment, FilesTask, HubTask, Task
from fltac.data.columns import Rows, Split
from fltac.data.samples import read_sample
from fltac.errors import InputError, Problem, in_one_line
from fltac.seeds import generator

Reader = Callable[[Task, Rows, Rows], tuple[tuple[str, ...], Split, Split]]  # -> classes, train, test


class UnreachedError(InputError):
    """A data set that the hub's library could not get at all: further tasks of it need not wait for the same."""


@dataclass(frozen=True)
class TaskData:
    """One task, ready to be made numbers: its classes (none where answers are texts) and its three splits."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def majority(self) -> float | None:
        """The accuracy on test of always answering the most frequent class of train: the bar to clear."""
        return majority(self.train.labels, self.test.labels) if self.classes else None


def majority(train: np.ndarray, test: np.ndarray) -> float:
    """The share in test of the most frequent answer of train, (n,) and (m,) whole numbers."""
    return float(np.mean(test == np.bincount(train).argmax()))


def load_tasks(experiment: Experiment, read: Reader) -> list[TaskData]:
    """All tasks of an experiment as a kind of model reads them, capped and split by named generators of its seed.

    Raises InputError listing what is wrong in every task, not in the first alone; of a hub's data set that cannot be
    reached it is said once.
    """
    loaded: list[TaskData] = []
    problems: list[Problem] = []
    unreached: set[str] = set()
    for index, task in enumerate(experiment.tasks):
        if isinstance(task.source, HubTask) and task.source.path in unreached:
            continue
        try:
            loaded.append(_load(task, f"tasks.{index}", Path(experiment.data.root), experiment.seed, read))
        except UnreachedError as error:
            unreached.add(str(error.problems[0].got))
            problems += error.problems
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return loaded


def _load(task: Task, key: str, root: Path, seed: int, read: Reader) -> TaskData:
    rows = []
    for split, table in zip(("train", "test"), _read(task, key, root), strict=True):
        where = f"{key}.source.{split}" if isinstance(task.source, FilesTask) else f"{key}.source"
        if table.num_rows == 0:
            raise InputError(Problem(where, f"holds no examples in its {split} split; a task needs some", 0))
        rows.append(Rows(table, where, key).only(task.where))
    classes, train, test = read(task, *rows)
    train, test = (
        _capped(examples, cap, generator(seed, "cap", task.name, split))
        for split, examples, cap in (("train", train, task.max_train), ("test", test, task.max_test))
    )
    order = generator(seed, "validation", task.name).permutation(len(train))
    held_out = round(task.validation * len(train))
    validation, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    return TaskData(task.name, classes, train.take(rest), train.take(validation), test)


def _capped(examples: Split, cap: int | None, draw: np.random.Generator) -> Split:
    if cap is None or cap >= len(examples):
        return examples
    return examples.take(np.sort(draw.permutation(len(examples))[:cap]))


def _read(task: Task, key: str, root: Path) -> tuple[pa.Table, pa.Table]:
    if isinstance(task.source, HubTask):
        return _read_hub(task.source, key, "train"), _read_hub(task.source, key, "test")
    if isinstance(task.source, FilesTask):
        files = (root / task.source.train, root / task.source.test)
        return read_file(files[0], f"{key}.source.train"), read_file(files[1], f"{key}.source.test")
    return read_sample(task.source.name, f"{key}.source")


def _read_hub(source: HubTask, key: str, split: str) -> pa.Table:
    from datasets import load_dataset  # imported where it is needed: slow, and only the hub needs it

    try:
        loaded = load_dataset(source.path, source.name, split=getattr(source, split), revision=source.revision)
    except Exception as error:  # the hub fails in many ways: offline, unknown id, unknown split, gated
        reason = in_one_line(error)
        what = (
            f"cannot be had from the hub; check the id, the split and the connection ({type(error).__name__}: {reason})"
        )
        kind = UnreachedError if isinstance(error, ConnectionError) else InputError
        raise kind(Problem(f"{key}.source.path", what, source.path)) from None
    table = loaded.with_format("arrow")[:]
    features = {"info": {"features": loaded.features.to_dict()}}
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def read_file(path: Path, key: str, relative: str = "; paths are relative to data.root") -> pa.Table:
    """A table of examples. Raises InputError about `key` where it cannot be read."""
    import pyarrow.csv as csv
    import pyarrow.json as pajson
    import pyarrow.parquet as pq

    readers = {".parquet": pq.read_table, ".csv": csv.read_csv, ".json": pajson.read_json, ".jsonl": pajson.read_json}
    if path.suffix not in readers:
        raise InputError(Problem(key, f"must end in one of {', '.join(readers)}", str(path)))
    if not path.is_file():
        raise InputError(Problem(key, f"no such file{relative}", str(path)))
    try:
        return readers[path.suffix](path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(Problem(key, f"cannot be read as {path.suffix[1:]}: {error}", str(path))) from None
