"""A sweep's folder: what was asked, a run directory a point, and the table of them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fltac.errors import InputError, Problem
from fltac.layers import Layers
from fltac.points import Params, Study
from fltac.records.files import make, require_new, write
from fltac.records.store import RunDirectory
from fltac.records.summary import summarise


class SweepDirectory:
    """`sweep.json` (what was asked), a point's `points/0000.json` and run directory `points/0000`, `points.parquet`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()  # trials have other working directories

    @staticmethod
    def there(path: str | Path) -> bool:
        """Whether a sweep was begun in the folder."""
        return (Path(path) / "sweep.json").is_file()

    def require_new(self) -> None:
        """Raises InputError where something lies in the way of a new sweep."""
        require_new(self.path, "--out", "name a new folder, or continue the sweep with fltac resume")

    def create(self, study: Study) -> None:
        """Makes the folder. Raises InputError where something lies in the way."""
        self.require_new()
        try:
            make(self.path / "points")
        except OSError as error:
            what = f"cannot be made: {error.strerror}; name another folder"
            raise InputError(Problem("--out", what, str(self.path)), "command line") from None
        layers = study.layers
        asked = {"file": layers.path, "layers": {"file": layers.file, "command": layers.command}}
        write(self.path / "sweep.json", (json.dumps(asked, indent=2) + "\n").encode())

    def study(self) -> Study:
        """What was asked."""
        try:
            asked = json.loads((self.path / "sweep.json").read_text())
            return Study(Layers(asked["file"], asked["layers"]["file"], asked["layers"]["command"]))
        except (ValueError, KeyError, TypeError) as error:
            what = f"is no record of a sweep ({type(error).__name__}: {error}); begin the sweep again"
            raise InputError(Problem("", what), str(self.path / "sweep.json")) from None

    def run(self, number: int) -> RunDirectory:
        """A point's run, begun or not."""
        return RunDirectory(self.path / "points" / f"{number:04d}")

    def note(self, number: int, params: Params, failure: str | None = None) -> None:
        """A point's parameters, and why it is not finished where it failed; the last note counts."""
        said = {"params": params, "failure": failure}
        write(self._note_file(number), (json.dumps(said, indent=2) + "\n").encode())

    def noted(self) -> dict[int, Params]:
        """The points that were begun, in order. Raises InputError for a note that is none."""
        numbers = sorted(int(file.stem) for file in (self.path / "points").glob("*.json") if file.stem.isdecimal())
        return {number: self._note(number)["params"] for number in numbers}

    def failure(self, number: int) -> str | None:
        """Why a point is not finished; None where it is, or goes on."""
        return self._note(number)["failure"] if self._note_file(number).is_file() else None

    def _note(self, number: int) -> dict[str, Any]:
        file = self._note_file(number)
        try:
            said = json.loads(file.read_text())
            return {"params": dict(said["params"]), "failure": said["failure"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"is no note of a point ({type(error).__name__}: {error}); delete it, and fltac resume makes it anew"
            raise InputError(Problem("", what), str(file)) from None

    def _note_file(self, number: int) -> Path:
        return self.path / "points" / f"{number:04d}.json"

    def unfinished(self, numbers: Iterable[int]) -> list[int]:
        """Of these points those that neither ended nor failed."""
        return [number for number in numbers if not self.run(number).summary() and not self.failure(number)]

    def row(self, number: int, params: Params) -> dict[str, Any]:
        """A point's parameters, where it stands, and what its rounds gave so far: a column a task and measure."""
        run, failure = self.run(number), self.failure(number)
        lines = run.lines()
        status = "finished" if run.summary() else "failed" if failure else "begun" if lines else "waiting"
        found = summarise(run).asdict() if lines else {}
        measured = {f"summary.{name}" if name in params else name: one for name, one in _flat(found).items()}
        return {"point": number, **params, "status": status, "failure": failure, **measured}

    def write_table(self, points: Mapping[int, Params]) -> pa.Table:
        """`points.parquet`, whole or not at all: a row a point, in order."""
        rows = [self.row(number, params) for number, params in sorted(points.items())]
        names = dict.fromkeys(name for row in rows for name in row)  # a task of some points is null in the others
        columns = {name: _column([row.get(name) for row in rows]) for name in names}
        table = pa.table(columns) if rows else pa.table({"point": [], "status": []})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write(self.path / "points.parquet", sink.getvalue().to_pybytes())
        return table


def _flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """`{"accuracy": {"sst2": .8}}` as `{"accuracy.sst2": .8}`."""
    flat: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": one for key, one in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _column(values: list[Any]) -> pa.Array:
    """A column of one type; values of several (8 and "auto"), tables and arrays are written as JSON."""
    try:
        if not any(isinstance(value, dict | list) for value in values):
            return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    return pa.array([None if value is None else json.dumps(value) for value in values])
