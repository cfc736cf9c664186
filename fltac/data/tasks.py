"""From a task's source (hub, files, sample) to checked examples: texts, whole-number labels, classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fltac.config import Experiment, FilesTask, HubTask, Task
from fltac.data.samples import read_sample
from fltac.errors import InputError, Problem
from fltac.seeds import generator


@dataclass(frozen=True)
class Split:
    """Examples in order: one list of texts a column, and their classes."""

    columns: tuple[list[str], ...]
    labels: np.ndarray  # (n,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        return Split(tuple([column[i] for i in indices] for column in self.columns), self.labels[indices])


@dataclass(frozen=True)
class TaskData:
    """One task, ready to be tokenised: its classes and its three splits."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def majority(self) -> float:
        """The accuracy on test of always answering the most frequent class of train: the bar to clear."""
        answer = np.bincount(self.train.labels, minlength=len(self.classes)).argmax()
        return float(np.mean(self.test.labels == answer))


def load_tasks(experiment: Experiment) -> list[TaskData]:
    """All tasks of an experiment, capped and split by named generators of its seed.

    Raises InputError listing what is wrong in every task, not in the first alone.
    """
    loaded: list[TaskData] = []
    problems: list[Problem] = []
    for index, task in enumerate(experiment.tasks):
        try:
            loaded.append(_load(task, f"tasks.{index}", Path(experiment.data.root), experiment.seed))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return loaded


def _load(task: Task, key: str, root: Path, seed: int) -> TaskData:
    train, test = _read(task, key, root)
    inputs = task.inputs or tuple(name for name in train.column_names if name != task.label)
    classes = _classes(train, test, task, key)
    splits = []
    for split, table, cap in (("train", train, task.max_train), ("test", test, task.max_test)):
        where = f"{key}.source.{split}" if isinstance(task.source, FilesTask) else f"{key}.source"
        if table.num_rows == 0:
            raise InputError(Problem(where, f"holds no examples in its {split} split; a task needs some", 0))
        texts = tuple(_texts(table, name, where, f"{key}.inputs") for name in inputs)
        examples = Split(texts, _labels(table, task, classes, where, key))
        if cap is not None and cap < len(examples):
            drawn = generator(seed, "cap", task.name, split).permutation(len(examples))[:cap]
            examples = examples.take(np.sort(drawn))
        splits.append(examples)
    train_split, test_split = splits
    order = generator(seed, "validation", task.name).permutation(len(train_split))
    held_out = round(task.validation * len(train_split))
    validation, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    return TaskData(task.name, classes, train_split.take(rest), train_split.take(validation), test_split)


def _read(task: Task, key: str, root: Path) -> tuple[pa.Table, pa.Table]:
    if isinstance(task.source, HubTask):
        return _read_hub(task.source, key, "train"), _read_hub(task.source, key, "test")
    if isinstance(task.source, FilesTask):
        files = (root / task.source.train, root / task.source.test)
        return _read_file(files[0], f"{key}.source.train"), _read_file(files[1], f"{key}.source.test")
    return read_sample(task.source.name, f"{key}.source")


def _read_hub(source: HubTask, key: str, split: str) -> pa.Table:
    from datasets import load_dataset  # imported where it is needed: slow, and only the hub needs it

    try:
        loaded = load_dataset(source.path, source.name, split=getattr(source, split), revision=source.revision)
    except Exception as error:  # the hub fails in many ways: offline, unknown id, unknown split, gated
        reason = " ".join(str(error).split())[:200]
        what = (
            f"cannot be had from the hub; check the id, the split and the connection ({type(error).__name__}: {reason})"
        )
        raise InputError(Problem(f"{key}.source.path", what, source.path)) from None
    table = loaded.with_format("arrow")[:]
    features = {"info": {"features": loaded.features.to_dict()}}
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def _read_file(path: Path, key: str) -> pa.Table:
    import pyarrow.csv as csv
    import pyarrow.json as pajson
    import pyarrow.parquet as pq

    readers = {".parquet": pq.read_table, ".csv": csv.read_csv, ".json": pajson.read_json, ".jsonl": pajson.read_json}
    if path.suffix not in readers:
        raise InputError(Problem(key, f"must end in one of {', '.join(readers)}", str(path)))
    if not path.is_file():
        raise InputError(Problem(key, "no such file; paths are relative to data.root", str(path)))
    try:
        return readers[path.suffix](path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(Problem(key, f"cannot be read as {path.suffix[1:]}: {error}", str(path))) from None


def _column(table: pa.Table, name: str, where: str, key: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise InputError(Problem(key, f"no such column in {where}; it has {', '.join(table.column_names)}", name))
    if table.column_names.count(name) > 1:
        raise InputError(Problem(key, f"{where} has several columns of that name; rename them", name))
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    bad = pc.is_null(column, nan_is_null=True).to_numpy()
    if bad.any():
        rows = f"{bad.sum()} rows, the first is row {bad.argmax()}"
        what = f"column {name!r} has nothing (null or NaN) in {rows}; remove them"
        raise InputError(Problem(where, what))
    return column


def _texts(table: pa.Table, name: str, where: str, key: str) -> list[str]:
    column = _column(table, name, where, key)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(Problem(key, f"column {name!r} must hold text, but holds {column.type}", name))
    return list(column.to_pylist())


def _classes(train: pa.Table, test: pa.Table, task: Task, key: str) -> tuple[str, ...]:
    """From the feature where it names them, else from all data before any cap."""
    names = _feature_names(train, task.label)
    if names is None:
        columns = [_column(table, task.label, f"{key}.source", f"{key}.label") for table in (train, test)]
        nested = any(pa.types.is_nested(column.type) for column in columns)
        values: set[Any] = (
            {None} if nested else {value for column in columns for value in pc.unique(column).to_pylist()}
        )
        if all(isinstance(value, str) for value in values):
            names = sorted(values)
        elif all(isinstance(value, int) for value in values):
            rows, largest = train.num_rows + test.num_rows, max(values, default=-1)
            if largest >= max(rows, 2):
                what = f"column {task.label!r} does not number classes: it goes beyond the {rows} examples; recode it"
                raise InputError(Problem(f"{key}.label", what, largest))
            names = [str(number) for number in range(largest + 1)]
        else:
            raise _no_classes(columns[0], task, key)
    if len(names) == 1:
        raise InputError(
            Problem(f"{key}.label", f"column {task.label!r} has one class only; nothing to learn", names[0])
        )
    return tuple(names)


def _no_classes(column: pa.ChunkedArray, task: Task, key: str) -> InputError:
    what = f"column {task.label!r} must hold whole numbers or class names, but holds {column.type}"
    return InputError(Problem(f"{key}.label", what, task.label))


def _feature_names(table: pa.Table, label: str) -> Sequence[str] | None:
    """The names of a Hugging Face `ClassLabel`, which travel in the metadata of the Arrow schema."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    features = json.loads(metadata).get("info", {}).get("features", {}) if metadata else {}
    feature = features.get(label)
    return feature.get("names") if isinstance(feature, dict) else None


def _labels(table: pa.Table, task: Task, classes: tuple[str, ...], where: str, key: str) -> np.ndarray:
    column = _column(table, task.label, where, f"{key}.label")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        number = {name: index for index, name in enumerate(classes)}
        labels = np.array([number.get(value, -1) for value in column.to_pylist()], dtype=np.int64)
    elif pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        labels = column.to_numpy().astype(np.int64)
    else:
        raise _no_classes(column, task, key)
    bad = (labels < 0) | (labels >= len(classes))
    if bad.any():
        row = int(bad.argmax())
        what = f"label out of range in row {row} of {where}: classes are 0 to {len(classes) - 1}; an unlabelled split?"
        raise InputError(Problem(f"{key}.label", what, column[row].as_py()))
    return labels
