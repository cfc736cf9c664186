"""The results of a finished run, from its records alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fltac.records.reading import reading
from fltac.records.rounds import accuracies, metrics
from fltac.records.store import ANEW, RunDirectory


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds. Clustering figures are those of the last round, bytes those of all rounds."""

    accuracy: dict[str, float]  # task -> weighted mean of its holders on test
    accuracy_mean: float
    accuracy_validation: dict[str, float]  # empty where no task sets validation aside
    majority: dict[str, float]  # task -> always answering the most frequent class
    untuned: dict[str, float]  # task -> v0
    bytes_up: int
    bytes_up_heads: int
    bytes_down: int
    bytes_down_heads: int
    clusters: int
    noise: int
    conflicts: int
    ari: float | None
    nmi: float | None
    matched_accuracy: float | None
    rounds: int
    seconds: float
    seconds_training: float
    seconds_server: float
    seconds_evaluation: float
    bytes_base: int = 0  # of the frozen base, once a client that took part; not in bytes_down
    seconds_start: float = 0.0  # and where `seconds` went, see docs/run-directory.md
    seconds_train: float = 0.0
    seconds_evaluate: float = 0.0
    seconds_encode: float = 0.0
    seconds_cluster: float = 0.0
    seconds_merge: float = 0.0
    seconds_record: float = 0.0
    seconds_wait: float = 0.0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # task -> loss, f1, .. -> as accuracy
    metrics_untuned: dict[str, dict[str, float]] = field(default_factory=dict)

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


def finished(run: RunDirectory) -> Summary | None:
    """The results as they were written; None while the run is not over. Raises InputError where they are damaged."""
    found = run.summary()
    if found is None:
        return None
    with reading(run.summary_file, ANEW):
        return Summary(**found)


def summarise(run: RunDirectory) -> Summary:
    """The summary of a run with at least one finished round."""
    lines = run.lines()
    last = lines[-1]
    evaluations = run.table("evaluations").to_pylist()
    bars = [row for row in evaluations if row["round"] == 0]
    totals = ("bytes_up", "bytes_up_heads", "bytes_down", "bytes_down_heads", "bytes_base")
    clocks = [one.name for one in fields(Summary) if one.name.startswith("seconds")]
    judged = ("accuracy", "accuracy_mean", "accuracy_validation")
    clustering = ("clusters", "noise", "conflicts", "ari", "nmi", "matched_accuracy")
    return Summary(
        majority=accuracies(bars, "test", "majority"),
        untuned=accuracies(bars, "test"),
        metrics=metrics([row for row in evaluations if row["round"] == last["round"]]),
        metrics_untuned=metrics(bars),
        rounds=len(lines),
        **{name: last[name] for name in (*judged, *clustering)},
        **{
            name: sum(line.get(name, 0) for line in lines)  # a name may be newer than the run
            for name in (*totals, *clocks)
        },
    )
