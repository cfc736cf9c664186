"""What others left on disk: read, or told in one line with the remedy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fltac.errors import InputError, Problem, first_line

COPY = "restore it from a copy"


@contextmanager
def reading(file: Path, remedy: str = COPY) -> Iterator[None]:
    """Raises InputError, with the remedy, where what is done in it shows that the file is damaged or gone."""
    try:
        yield
    except (LookupError, OSError, RecursionError, SafetensorError, TypeError, ValueError) as error:  # pyarrow's, too
        raise InputError(Problem("", f"cannot be read ({first_line(error)}); {remedy}"), str(file)) from None


def read_lines(file: Path, remedy: str = COPY, keys: Collection[str] = ()) -> list[dict[str, Any]]:
    """The entries of a file of JSON lines, none where there is no file; one without its end was torn by a crash, or is
    just being written. Raises InputError, with the remedy, for another that cannot be read or lacks a key."""
    entries = []
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1] if file.is_file() else [], start=1):
        try:
            entries.append(table(line, keys))
        except (RecursionError, ValueError):
            got = line[:40].decode(errors="replace")
            raise InputError(Problem(f"line {number}", f"is damaged; {remedy}", got), str(file)) from None
    return entries


def read_json(file: Path, remedy: str = COPY, keys: Collection[str] = ()) -> dict[str, Any]:
    """A JSON file of one table. Raises InputError, with the remedy, where it is none, or lacks a key."""
    with reading(file, remedy):
        return table(file.read_bytes(), keys)


def table(content: bytes, keys: Collection[str] = ()) -> dict[str, Any]:
    """A table in JSON that has the keys. Raises ValueError and RecursionError."""
    found = json.loads(content)
    if not isinstance(found, dict) or not found.keys() >= set(keys):
        raise ValueError(f"is no table with {', '.join(keys)}" if keys else "is no table")
    return found
