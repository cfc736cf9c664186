"""Columns of a task's tables as examples: texts, stored images, prompts, classes and responses, each checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fltac.errors import InputError, Problem


@dataclass(frozen=True)
class Split:
    """Examples in order: a list of values a column (texts, or images as stored) and their classes.

    Where the answer is a text it is the last column, and all are of class 0.
    """

    columns: tuple[list[Any], ...]
    labels: np.ndarray  # (n,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        return Split(tuple([column[i] for i in indices] for column in self.columns), self.labels[indices])


@dataclass(frozen=True)
class Rows:
    """The rows of one split, and what they and their task are called in messages."""

    table: pa.Table
    where: str  # tasks.0.source.train
    key: str  # tasks.0

    def column(self, name: str, key: str) -> pa.ChunkedArray:
        """The whole column. Raises InputError about `key` where it is not there, or has gaps."""
        table = self.table
        if name not in table.column_names:
            what = f"no such column in {self.where}; it has {', '.join(table.column_names)}"
            raise InputError(Problem(key, what, name))
        if table.column_names.count(name) > 1:
            raise InputError(Problem(key, f"{self.where} has several columns of that name; rename them", name))
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        self.require_whole(column, name)
        return column

    def require_whole(self, column: pa.ChunkedArray, name: str) -> None:
        bad = pc.is_null(column, nan_is_null=True).to_numpy()
        if bad.any():
            rows = f"{bad.sum()} rows, the first is row {bad.argmax()}"
            raise InputError(Problem(self.where, f"column {name!r} has nothing (null or NaN) in {rows}; remove them"))

    def only(self, where: dict[str, str | int | bool]) -> Rows:
        """The rows that have these values; a class may be named. Raises InputError where there are none."""
        table = self.table
        for name, value in where.items():
            key = f"{self.key}.where.{name}"
            if name not in table.column_names:
                what = f"no such column in {self.where}; it has {', '.join(table.column_names)}"
                raise InputError(Problem(key, what, value))
            column = table.column(name)
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            names = feature_names(table, name) or ()
            wanted = names.index(value) if isinstance(value, str) and value in names else value
            try:
                kept = table.filter(pc.equal(column, pa.scalar(wanted)))
            except pa.ArrowException:
                raise InputError(Problem(key, f"column {name!r} of {self.where} holds {column.type}", value)) from None
            if kept.num_rows == 0 < table.num_rows:
                there = ", ".join(map(str, names or pc.unique(column).to_pylist()[:20]))
                raise InputError(Problem(key, f"no row of {self.where} has this value; there are {there}", value))
            table = kept
        return Rows(table, self.where, self.key)


def texts(rows: Rows, name: str, key: str) -> list[str]:
    """A column of texts; `key` is where the experiment names it."""
    column = rows.column(name, key)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(Problem(key, f"column {name!r} must hold text, but holds {column.type}", name))
    return list(column.to_pylist())


def images(rows: Rows, name: str) -> list[bytes]:
    """A column of images as they are stored (PNG, JPEG, ..): a Hugging Face `Image` feature, or plain binary."""
    key = f"{rows.key}.inputs"
    column = rows.column(name, key)
    if pa.types.is_struct(column.type) and "bytes" in {field.name for field in column.type}:
        column = pc.struct_field(column, "bytes")
        rows.require_whole(column, f"{name}.bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        what = f"column {name!r} must hold images (a struct of bytes and path, or binary), but holds {column.type}"
        raise InputError(Problem(key, what, name))
    return list(column.to_pylist())


def prompts(rows: Rows, template: str) -> list[str]:
    """The template with each row's texts in place of `{column}`; `{{` and `}}` are braces."""
    key = f"{rows.key}.prompt"
    try:
        parts = [(literal, field) for literal, field, _, _ in Formatter().parse(template)]
    except ValueError as error:
        raise InputError(Problem(key, f"is no template: {error}; write a brace as {{{{ or }}}}", template)) from None
    fields = [field for _, field in parts if field is not None]
    if not fields:
        raise InputError(Problem(key, "names no column; write them in braces, as {question}", template))
    columns = {field: texts(rows, field, key) for field in fields}
    return [
        "".join(literal + ("" if field is None else columns[field][row]) for literal, field in parts)
        for row in range(rows.table.num_rows)
    ]


def classes(train: Rows, test: Rows, label: str) -> tuple[str, ...]:
    """From the feature where it names them, else from all data before any cap. Raises InputError where one is all."""
    key = f"{train.key}.label"
    names = feature_names(train.table, label)
    if names is None:
        columns = [rows.column(label, key) for rows in (train, test)]
        nested = any(pa.types.is_nested(column.type) for column in columns)
        values: set[Any] = (
            {None} if nested else {value for column in columns for value in pc.unique(column).to_pylist()}
        )
        if all(isinstance(value, str) for value in values):
            names = sorted(values)
        elif all(isinstance(value, int) for value in values):
            count, largest = train.table.num_rows + test.table.num_rows, max(values, default=-1)
            if largest >= max(count, 2):
                what = f"column {label!r} does not number classes: it goes beyond the {count} examples; recode it"
                raise InputError(Problem(key, what, largest))
            names = [str(number) for number in range(largest + 1)]
        else:
            raise _no_classes(columns[0], label, key)
    if len(names) == 1:
        raise InputError(Problem(key, f"column {label!r} has one class only; nothing to learn", names[0]))
    return tuple(names)


def labels(rows: Rows, label: str, classes: tuple[str, ...], key: str | None = None) -> np.ndarray:
    """(n,) int64: the number of each row's class; `key` is where the column is named, if not in a task."""
    key = key or f"{rows.key}.label"
    column = rows.column(label, key)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        number = {name: index for index, name in enumerate(classes)}
        found = np.array([number.get(value, -1) for value in column.to_pylist()], dtype=np.int64)
    elif pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        found = column.to_numpy().astype(np.int64)
    else:
        raise _no_classes(column, label, key)
    bad = (found < 0) | (found >= len(classes))
    if bad.any():
        row = int(bad.argmax())
        known = f"classes are 0 to {len(classes) - 1}; an unlabelled split?"
        what = f"label out of range in row {row} of {rows.where}: {known}"
        raise InputError(Problem(key, what, column[row].as_py()))
    return found


def feature_names(table: pa.Table, name: str) -> Sequence[str] | None:
    """The names of a Hugging Face `ClassLabel`, which travel in the metadata of the Arrow schema."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    features = json.loads(metadata).get("info", {}).get("features", {}) if metadata else {}
    feature = features.get(name)
    return feature.get("names") if isinstance(feature, dict) else None


def _no_classes(column: pa.ChunkedArray, label: str, key: str) -> InputError:
    what = f"column {label!r} must hold whole numbers or class names, but holds {column.type}"
    return InputError(Problem(key, what, label))
