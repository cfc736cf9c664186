"""The run directory on disk. A round is finished when its checkpoint is renamed into place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load as load_tensors

from fltac.errors import InputError, Problem, StoppedError
from fltac.records.checkpoint import TOLD, Checkpoint, States, TornError, read_checkpoint, write_checkpoint
from fltac.records.files import Lock, append, as_json, make, require_new, write, write_all, write_folder
from fltac.records.reading import COPY, read_json, read_lines, reading
from fltac.records.rounds import TABLES, RoundRecord, Rows

Say = Callable[[str], None]
T = TypeVar("T")
ROUND = re.compile(r"round-\d+")
ANEW = "remove it, and fltac resume writes it anew"  # summary.json


def _silent(text: str) -> None:
    """Of a run that nobody watches; processes can be sent it."""


class RunDirectory:
    """One run's folder; the contract of its files is in docs/run-directory.md."""

    def __init__(self, path: str | Path, say: Say = _silent) -> None:
        """`say` is told a line of each checkpoint that cannot be used."""
        self.path, self.say = Path(path), say
        self._lock: Lock | None = None

    def require_new(self) -> None:
        """Raises InputError where something lies in the way of a new run."""
        require_new(self.path, "--out", "name a new folder, or continue the run with fltac resume")

    def create(self, experiment: str, provenance: Mapping[str, Any]) -> None:
        """Makes the folder and claims it, with the experiment (JSON) and where it comes from."""
        self.require_new()
        try:
            make(self.path)
        except OSError as error:
            what = f"cannot be made: {error.strerror}; name another folder"
            raise InputError(Problem("--out", what, str(self.path)), "command line") from None
        self.claim()
        self.require_new()  # nobody made a run of it in between
        try:
            self.write_provenance(provenance)
            write(self.path / "experiment.json", experiment.encode())  # last: with it the folder is a run
        except StoppedError:  # the disk is full: nothing lies in the way of another try
            self.provenance_file.unlink(missing_ok=True)
            raise

    @staticmethod
    def there(path: str | Path) -> bool:
        """Whether a run was begun in the folder."""
        return (Path(path) / "experiment.json").is_file()

    @classmethod
    def open(cls, path: str | Path, say: Say = _silent) -> RunDirectory:
        """A folder that a run left. Raises InputError where there is none."""
        run = cls(path, say)
        if not cls.there(path):
            raise InputError(Problem("", "is no run directory (it has no experiment.json)"), str(path))
        return run

    def claim(self, patience: float = 0.0) -> None:
        """Nobody else writes the run until `release`, or while this object lives. Raises InputError where one does,
        after so many seconds."""
        self._lock = self._lock or Lock(self.path, patience)

    def release(self) -> None:
        """Others may go on with the run."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- writing -----------------------------------------------------------------------------------

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        write(self.provenance_file, as_json(provenance, indent=2))

    def count_restart(self) -> None:
        before = self.provenance()
        with reading(self.provenance_file):
            after = before | {"restarts": before["restarts"] + 1}
        self.write_provenance(after)

    def write_tasks(self, tasks: Mapping[str, Any]) -> None:
        """What the tasks' models answer: the names of their classes, in order."""
        write(self.path / "tasks.json", as_json(tasks, indent=2))

    def write_bars(self, evaluations: Rows) -> None:
        """What v0 does on every task, as round 0 of the evaluations."""
        self._write_table("evaluations", 0, [{"round": 0, **row} for row in evaluations])

    def finish_round(self, record: RoundRecord, server: Mapping[str, bytes], states: States, keep: int = 2) -> None:
        """Tables and adapters first, then the checkpoint that makes the round count, then its line; of the
        checkpoints the last `keep` stay. With none the line makes it count, and nothing is there to go on from."""
        folder = _round_name(record.round)
        write_all(dict(self._table_file(name, record.round, rows) for name, rows in record.tables.items()))
        clusters = {name: content for name, content in server.items() if name.startswith("cluster-")}
        write_folder(self.path / "adapters" / folder, clusters)
        if keep:
            write_checkpoint(self.path / "checkpoint" / folder, [*self.lines(), record.line], server, states)
        append(self.path / "rounds.jsonl", as_json(record.line))
        if record.line["alerts"] or not (self.path / "alerts.jsonl").is_file():
            append(self.path / "alerts.jsonl", b"".join(map(as_json, record.line["alerts"])))
        for old in self._checkpoints()[: -keep or None]:
            shutil.rmtree(old)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write(self.summary_file, as_json(summary, indent=2))

    # -- reading -----------------------------------------------------------------------------------

    @property
    def experiment_file(self) -> Path:
        return self.path / "experiment.json"

    @property
    def provenance_file(self) -> Path:
        return self.path / "provenance.json"

    @property
    def summary_file(self) -> Path:
        return self.path / "summary.json"

    def experiment(self) -> dict[str, Any]:
        """The resolved experiment as it is written there."""
        return read_json(self.experiment_file, keys=("name", "method", "seed", "rounds", "tasks", "clients"))

    def provenance(self) -> dict[str, Any]:
        """Where the run comes from. Raises InputError where that is damaged."""
        return read_json(self.provenance_file)

    def runtime(self) -> str:
        """What it began on. Raises as `provenance`."""
        with reading(self.provenance_file):
            return str(self.provenance()["runtime"])

    def summary(self) -> dict[str, Any] | None:
        """The results, or None while the run is not finished."""
        return read_json(self.summary_file, ANEW) if self.summary_file.is_file() else None

    def classes(self, task: str) -> tuple[str, ...] | None:
        """The names of a task's classes, in order; None where an older fltac did not write them."""
        file = self.path / "tasks.json"
        if not file.is_file():
            return None
        with reading(file, "remove it, and the names are read from the data"):
            return tuple(json.loads(file.read_bytes())[task]["classes"])

    def lines(self) -> list[dict[str, Any]]:
        """One entry a finished round. Raises InputError for a damaged one."""
        kept = "without summary.json fltac resume restores it from the checkpoint"
        return read_lines(self.path / "rounds.jsonl", kept if self._checkpoints() else COPY, TOLD)

    def table(self, name: str) -> pa.Table:
        """One of TABLES, all rounds; null or empty where an older fltac did not write it."""
        parts, empty = [], TABLES[name].empty_table()
        for file in _of_rounds(self.path / f"{name}.parquet", ".parquet"):
            with reading(file, "restore it from a copy, or begin the run anew"):
                parts.append(pa.concat_tables([pq.read_table(file), empty], promote_options="default"))
        return pa.concat_tables([*parts, empty], promote_options="default")

    def has_bars(self) -> bool:
        """Whether what v0 does is there, and can be read."""
        try:
            return bool(pq.read_metadata(self.path / "evaluations.parquet" / f"{_round_name(0)}.parquet").num_rows)
        except (OSError, pa.ArrowException):
            return False

    def last_adapters(self) -> tuple[int, dict[int, Path]]:
        """The last finished round and the file of each of its clusters. Raises InputError before the first."""
        round = self._last_round()
        files = (self.path / "adapters" / _round_name(round)).glob("cluster-*.safetensors")
        numbers = {file.stem.removeprefix("cluster-"): file for file in files}
        return round, {int(number): file for number, file in numbers.items() if number.isdecimal()}

    def last_slots(self) -> dict[str, np.ndarray]:
        """What the server knew after the last finished round, a row a slot, by the names in `server.snapshot.dump`."""
        file = self.path / "checkpoint" / _round_name(self._last_round()) / "server.safetensors"
        if not file.is_file():
            what = "keeps no checkpoint, which would tell the slots; run it with checkpoint.keep at 1 or more"
            raise InputError(Problem("checkpoint.keep", what, 0), str(self.path))
        anew = "without summary.json fltac resume makes it anew, from the round before"
        with reading(file, anew if len(self._checkpoints()) > 1 else COPY):
            slots: dict[str, np.ndarray] = load_tensors(file.read_bytes())
            if slots["keys"].shape != (len(slots["labels"]), 2):
                raise ValueError("as many slots as labels are wanted")
        return slots

    def _last_round(self) -> int:
        lines = self.lines()
        if not lines:
            raise InputError(
                Problem("", "has no finished round yet; wait, or continue it with fltac resume"), str(self.path)
            )
        return int(lines[-1]["round"])

    def has_checkpoint(self) -> bool:
        """Whether there is one, whole or not."""
        return bool(self._checkpoints())

    def is_over(self, rounds: int) -> bool:
        """Whether all is there but the summary, and no checkpoint to go on from."""
        return not self.has_checkpoint() and self.has_bars() and len(self.lines()) == rounds

    def checkpoint(self, use: Callable[[Checkpoint], T]) -> tuple[Checkpoint, T]:
        """The last finished round whose checkpoint is whole and of use, and what `use` made of it, after the traces of
        later ones are cut and missing lines are restored. `use` raises TornError where it is of none.

        Raises InputError where a round was finished and none is there or can be used, or a newer fltac wrote one.
        """
        torn = []
        for folder in reversed(self._checkpoints()):
            try:
                found, lines = read_checkpoint(folder)
                made = use(found)
            except TornError as error:
                torn.append(f"{folder.name} {error}")
                continue
            if torn:
                self.say(f"checkpoint {'; '.join(torn)}: going on from round {found.round}")
            self._cut(found.round, lines)
            return found, made
        if torn:
            what = f"holds no whole checkpoint ({'; '.join(torn)}); restore one from a copy, or begin the run anew"
            raise InputError(Problem("", what), str(self.path / "checkpoint"))
        if finished := len(self.lines()):
            what = f"has no checkpoint to go on from (checkpoint.keep = 0 writes none), but {finished} finished rounds"
            what = f"{what} to read; restore one from a copy, or begin a new run in another folder"
            raise InputError(Problem("", what), str(self.path))
        nothing = Checkpoint(0, {}, {})
        made = use(nothing)
        self._cut(0, [])
        return nothing, made

    def _cut(self, last: int, lines: Iterable[Mapping[str, Any]]) -> None:
        told = {"rounds.jsonl": list(lines)}
        told["alerts.jsonl"] = [alert for line in told["rounds.jsonl"] for alert in line["alerts"]]
        for name, entries in told.items():
            if (self.path / name).is_file() or entries:
                write(self.path / name, b"".join(map(as_json, entries)))
        parts = [part for name in TABLES for part in _of_rounds(self.path / f"{name}.parquet", ".parquet")]
        for part in [*parts, *_of_rounds(self.path / "adapters"), *self._checkpoints()]:
            if _round_order(part) > last:
                shutil.rmtree(part) if part.is_dir() else part.unlink()

    def _checkpoints(self) -> list[Path]:
        return _of_rounds(self.path / "checkpoint")

    def _write_table(self, name: str, round: int, rows: Rows) -> None:
        write(*self._table_file(name, round, rows))

    def _table_file(self, name: str, round: int, rows: Rows) -> tuple[Path, bytes]:
        """Where a round's rows lie, and as what."""
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=TABLES[name]), sink)
        return self.path / f"{name}.parquet" / f"{_round_name(round)}.parquet", sink.getvalue().to_pybytes()


def _round_name(round: int) -> str:
    return f"round-{round:04d}"


def _round_order(path: Path) -> int:
    return int(path.stem.removeprefix("round-"))


def _of_rounds(folder: Path, suffix: str = "") -> list[Path]:
    """What a folder has of rounds, in order; copies that somebody put beside them are let be."""
    found = [path for path in folder.glob("round-*") if ROUND.fullmatch(path.name.removesuffix(suffix))]
    return sorted(found, key=_round_order)
