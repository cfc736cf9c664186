"""What others left on disk: read, or told in one line with the remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    except (LookupError, OSError, SafetensorError, TypeError, ValueError) as error:  # also what pyarrow raises
        raise InputError(Problem("", f"cannot be read ({first_line(error)}); {remedy}"), str(file)) from None


def read_lines(file: Path, remedy: str = COPY) -> list[dict[str, Any]]:
    """The entries of a file of JSON lines, none where there is no file; one without its end was torn by a crash, or is
    just being written. Raises InputError, with the remedy, for another that cannot be read."""
    entries = []
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1] if file.is_file() else [], start=1):
        try:
            entries.append(dict(json.loads(line)))
        except (TypeError, ValueError):
            got = line[:40].decode(errors="replace")
            raise InputError(Problem(f"line {number}", f"is damaged; {remedy}", got), str(file)) from None
    return entries


def read_json(file: Path, remedy: str = COPY) -> dict[str, Any]:
    """A JSON file of one table. Raises InputError, with the remedy, where it is none."""
    with reading(file, remedy):
        return dict(json.loads(file.read_bytes()))
