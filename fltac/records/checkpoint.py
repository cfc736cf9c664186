"""A checkpoint's files, sealed: what was not written whole, or was changed since, is not gone on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fltac.errors import InputError, Problem
from fltac.records.files import write_folder
from fltac.records.reading import table

SCHEMA = 1
MANIFEST, LINES, STATES = "manifest.json", "rounds.jsonl", "clients.bin"
TOLD = ("round", "alerts", "accuracy", "accuracy_mean", "bytes_up", "bytes_down")  # by every line, and more by newer
States = Mapping[int, Mapping[str, np.ndarray]]  # client -> name -> what it keeps to itself
Lines = list[dict[str, Any]]


class TornError(ValueError):
    """A checkpoint that is not what was written."""


class Checkpoint(NamedTuple):
    """Where a run stands: the last finished round (0: none), the server's files, the clients' private states."""

    round: int
    files: dict[str, bytes]
    states: dict[int, Mapping[str, np.ndarray]]


def write_checkpoint(folder: Path, lines: Lines, server: Mapping[str, bytes], states: States) -> None:
    """`rounds.jsonl`, `clients.bin`, the server's files, and `manifest.json`: schema, and SHA-256 of each."""
    private = {f"{client}/{name}": array for client, kept in states.items() for name, array in kept.items()}
    told = b"".join((json.dumps(line) + "\n").encode() for line in lines)
    files = {LINES: told, STATES: save_tensors(private), **server}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = json.dumps({"schema": SCHEMA, "sha256": sums}, indent=2) + "\n"
    write_folder(folder, {**files, MANIFEST: manifest.encode()})


def read_checkpoint(folder: Path) -> tuple[Checkpoint, Lines]:
    """What `write_checkpoint` wrote, and the lines so far.

    Raises TornError where something is missing or not as it was written, InputError where a newer fltac wrote it.
    """
    files = _unsealed(folder)
    try:
        lines = [table(line, TOLD) for line in files.pop(LINES).splitlines()]
        states: dict[int, dict[str, np.ndarray]] = {}
        for place, array in load_tensors(files.pop(STATES)).items():
            client, name = place.split("/")
            states.setdefault(int(client), {})[name] = array
        told, last = [line["round"] for line in lines], int(folder.name.removeprefix("round-"))
        if told != list(range(1, last + 1)) or not all(isinstance(line["alerts"], list) for line in lines):
            raise TornError(f"does not have the lines of rounds 1 to {last}")
        return Checkpoint(last, files, dict(states)), lines
    except TornError:
        raise
    except (ArithmeticError, LookupError, RecursionError, SafetensorError, TypeError, ValueError) as error:
        raise TornError(f"cannot be read ({type(error).__name__}: {error})") from None


def _unsealed(folder: Path) -> dict[str, bytes]:
    try:
        manifest = json.loads(_content(folder / MANIFEST))
        schema, sums = int(manifest["schema"]), {str(name): str(one) for name, one in manifest["sha256"].items()}
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise TornError(f"has no {MANIFEST} that can be read ({type(error).__name__})") from None
    if schema > SCHEMA:
        what = f"is of a newer fltac, this one reads up to {SCHEMA}; resume with the version in provenance.json"
        raise InputError(Problem("schema", what, schema), str(folder / MANIFEST))
    files = {}
    for name, written in sums.items():
        if Path(name).name != name or (folder / name).is_symlink():
            raise TornError(f"names a file that lies elsewhere ({name!r})")
        try:
            files[name] = _content(folder / name)
        except OSError:
            raise TornError(f"lacks {name}") from None
        if hashlib.sha256(files[name]).hexdigest() != written:
            raise TornError(f"{name} is not what was written")
    return files


def _content(file: Path) -> bytes:
    """Of a file that lies there itself. Raises OSError for a link, which leads elsewhere, and a pipe, which waits."""
    if file.is_symlink() or not file.is_file():
        raise FileNotFoundError(file)
    return file.read_bytes()
