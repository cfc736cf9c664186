"""What a person gives a trained model, on the command line or in a file, as rows of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from fltac.config import SampleTask, Task
from fltac.data.columns import Rows
from fltac.data.samples import read_sample
from fltac.data.tasks import read_file
from fltac.errors import InputError, Problem

WAYS = {"--text": "texts", "--image": "images", "--prompt": "prompts", "--set": "values", "--file": "file"}


@dataclass(frozen=True)
class Given:
    """Examples, in one way of these."""

    texts: Sequence[str] = ()  # where a task takes pairs, one after the other
    images: Sequence[Path] = ()
    prompts: Sequence[str] = ()  # whole, in place of the task's template
    values: Sequence[str] = ()  # COLUMN=VALUE: one row by its columns
    file: Path | None = None

    def rows(self, task: Task, key: str) -> tuple[Task, Rows]:
        """The rows and the task as it reads them; `key` is where its experiment has it.

        Raises InputError where nothing is given, more than one way is, or what is given is not what the task takes.
        """
        used = [option for option, name in WAYS.items() if getattr(self, name)]
        if len(used) != 1:
            what = f"give examples in one way: {', '.join(WAYS)}"
            raise InputError(Problem("", what, " and ".join(used) or "none"), "command line")
        (option,) = used
        if option == "--file":
            return self._read(task, self._table, str(self.file), option, key)
        if option == "--set":
            return self._read(task, self._by_column(), "what --set names", option, key)
        takes = self._takes(task)
        if option != takes:
            what = f"task {task.name!r} takes {takes}, or --set or --file"
            raise InputError(Problem(option, what, str(getattr(self, WAYS[option])[0])), "command line")
        if option == "--prompt":
            table, change = pa.table({"prompt": list(self.prompts)}), {"prompt": "{prompt}"}
            return task.model_copy(update=change), Rows(table, option, key)
        if option == "--image":
            return task.model_copy(update={"inputs": ("image",)}), Rows(self._stored(), option, key)
        width = len(inputs(task, key))
        if len(self.texts) % width:
            what = f"task {task.name!r} takes {width} texts an example, one --text each"
            raise InputError(Problem(option, what, list(self.texts)), "command line")
        names = tuple(f"text {place + 1}" for place in range(width))  # a task may take one column twice
        table = pa.table({name: list(self.texts[place::width]) for place, name in enumerate(names)})
        return task.model_copy(update={"inputs": names}), Rows(table, option, key)

    def _takes(self, task: Task) -> str:
        if task.prompt is not None:
            return "--prompt"
        return "--image" if self.images else "--text"

    def _read(self, task: Task, table: pa.Table, where: str, option: str, key: str) -> tuple[Task, Rows]:
        if table.num_rows == 0:
            raise InputError(Problem(option, "holds no rows", where), "command line")
        names = {} if task.prompt is not None else {"inputs": inputs(task, key)}
        return task.model_copy(update=names), Rows(table, where, key)

    def columns(self) -> tuple[str, ...]:
        """What the columns are called; of texts, images and prompts given one by one there is one."""
        if self.file is not None:
            return tuple(self._table.column_names)
        if self.values:
            return tuple(self._by_column().column_names)
        return ("image",) if self.images else ("text",)

    @cached_property
    def _table(self) -> pa.Table:
        assert self.file is not None
        try:
            return read_file(self.file, "--file", relative="")
        except InputError as error:
            error.file = "command line"
            raise

    def _by_column(self) -> pa.Table:
        row = {}
        for value in self.values:
            name, equals, text = value.partition("=")
            if not equals or not name or name in row:
                raise InputError(Problem("--set", "reads COLUMN=VALUE, each column once", value), "command line")
            row[name] = [text]
        return pa.table(row)

    def _stored(self) -> pa.Table:
        stored = []
        for file in self.images:
            try:
                stored.append(file.read_bytes())
            except OSError as error:
                what = f"cannot be read: {error.strerror}"
                raise InputError(Problem("--image", what, str(file)), "command line") from None
        return pa.table({"image": pa.array(stored, pa.binary())})


def inputs(task: Task, key: str) -> tuple[str, ...]:
    """The columns that go in; a sample's are known to its package alone."""
    if task.inputs or not isinstance(task.source, SampleTask):
        return task.inputs
    names = read_sample(task.source.name, f"{key}.source")[0].column_names
    return tuple(name for name in names if name != task.label)
