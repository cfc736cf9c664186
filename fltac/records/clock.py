"""Where the time of a run goes: all of it, each second once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any


class Clock:
    """Of a federation, from one moment to the next; what is spent once a round's record is made is the next round's."""

    def __init__(self, began: float | None = None) -> None:
        """The run began at `began` (`time.time()`), or begins now."""
        self.last = time.perf_counter()
        self.spent = {"start": 0.0 if began is None else max(0.0, time.time() - began)}

    def lap(self, stage: str) -> None:
        """What has passed since the last lap was this stage."""
        now = time.perf_counter()
        self.spent[stage] = self.spent.get(stage, 0.0) + now - self.last
        self.last = now

    def split(
        self,
        workers: int,
        rows: Iterable[Mapping[str, Any]],
        evaluations: Iterable[float],
        step: Mapping[str, Any],
        post: float,
    ) -> dict[str, float]:
        """The clocks of a round, by the names in docs/run-directory.md, from those of its adapters' rows, its jobs of
        evaluation, the server's step and the making of what it sends; the next round begins."""
        spent, rows = self.spent, list(rows)
        walls = {f"seconds_{stage}": spent.get(stage, 0.0) for stage in ("training", "server", "evaluation")}
        train, encode = (sum(row[f"seconds_{part}"] for row in rows) / workers for part in ("train", "encode"))
        busy = {
            "seconds_train": train,
            "seconds_evaluate": sum(evaluations) / workers,
            "seconds_encode": encode + step["seconds_encode"] + post,
            "seconds_cluster": step["seconds_cluster"],
            "seconds_merge": step["seconds_merge"],
        }
        outside, told = sum(walls.values()), step["seconds_record"]
        record = spent.get("record", 0.0)
        self.spent = {}
        return {
            "seconds": outside + record,
            **walls,
            "seconds_start": spent.get("start", 0.0),
            **busy,
            "seconds_record": record + told,
            "seconds_wait": max(0.0, outside - sum(busy.values()) - told),
        }
