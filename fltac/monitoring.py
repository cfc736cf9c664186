"""Records -> Ray metrics, which Prometheus scrapes: one registry, and who is to emit it.

Ray exports a name as `ray_<name>`. What writes the records emits them (the driver, or a trial of Tune): gauges vanish
with their process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from fltac.config import Alerts, Experiment
from fltac.records.rounds import RoundRecord

Labels = Mapping[str, str]
REMIND_SECONDS = 1.0  # Ray reports every 10 s where RAY_metrics_report_interval_ms does not say otherwise
NONE = MappingProxyType[str, Any]({})


class Metric(NamedTuple):
    """A metric, its unit as Prometheus names units, and its labels with all their values; None: known by the run."""

    kind: Literal["counter", "gauge"]
    unit: str
    help: str
    labels: Mapping[str, Sequence[str] | None] = NONE


RULES = tuple(Alerts.model_fields)
LEVELS = ("noise", "conflicts", "churn", "bytes")  # rules that have a bound
STAGES = ("training", "clustering", "merging", "server", "evaluation")
EVENTS = ("born", "split", "merged", "merged away", "died")
METRICS: dict[str, Metric] = {  # each has the label `run` beside its own: the experiment's name
    "fltac_rounds_total": Metric("counter", "", "Rounds finished."),
    "fltac_updates_total": Metric(
        "counter", "", "Updates that reached the server.", {"result": ("accepted", "refused")}
    ),
    "fltac_bytes_total": Metric(
        "counter",
        "bytes",
        "Bytes on the wire; base is the frozen model, once a client.",
        {"direction": ("up", "down"), "kind": ("adapter", "heads", "header", "base")},
    ),
    "fltac_round_seconds_total": Metric(
        "counter",
        "seconds",
        "Time of rounds by stage; server is its step without clustering and merging.",
        {"stage": STAGES},
    ),
    "fltac_cluster_events_total": Metric("counter", "", "What became of clusters, after round 1.", {"event": EVENTS}),
    "fltac_alerts_total": Metric("counter", "", "Alerts in the records, by rule of [alerts].", {"rule": RULES}),
    "fltac_round": Metric("gauge", "", "The last finished round."),
    "fltac_rounds_planned": Metric("gauge", "", "Rounds of the experiment."),
    "fltac_progress_timestamp_seconds": Metric("gauge", "seconds", "When the last round ended, or the run began."),
    "fltac_clients": Metric("gauge", "", "Clients that took part in the last round."),
    "fltac_round_bytes": Metric(
        "gauge", "bytes", "Of the last round, without the base.", {"direction": ("up", "down")}
    ),
    "fltac_train_loss": Metric("gauge", "", "Mean training loss of the last round."),
    "fltac_accuracy_ratio": Metric(
        "gauge",
        "ratio",
        "Accuracy of a task, the mean of its holders.",
        {"task": None, "split": ("test", "validation")},
    ),
    "fltac_clusters": Metric("gauge", "", "Clusters, once settled."),
    "fltac_noise_ratio": Metric("gauge", "ratio", "Adapters that the clusterer left out, of all."),
    "fltac_churn_ratio": Metric("gauge", "ratio", "Slots that changed their cluster, of all known before."),
    "fltac_cannot_link_violations": Metric(
        "gauge", "", "Pairs of one client's slots that the clusterer put together in the last round."
    ),
    "fltac_cluster_persistence_ratio": Metric("gauge", "ratio", "Of the least persistent cluster, where there is one."),
    "fltac_aggregation_error_ratio": Metric(
        "gauge", "ratio", "||avg(B)avg(A) - avg(BA)|| / ||avg(BA)|| of the cluster in which it is largest."
    ),
    "fltac_alert_bound": Metric("gauge", "", "The experiment's own bounds in [alerts].", {"rule": RULES}),
    "fltac_sweep_points": Metric("gauge", "", "Points of a sweep.", {"status": ("finished", "failed", "left")}),
    "fltac_sweep_best_accuracy_ratio": Metric(
        "gauge", "ratio", "Best mean accuracy of a finished point.", {"split": ("test", "validation")}
    ),
    "fltac_sweep_front_points": Metric(
        "gauge", "", "Points that no other beats in accuracy and bytes; on validation data, where all have some."
    ),
}


class Sample(NamedTuple):
    """By how much a counter grows, or what a gauge is."""

    name: str
    value: float
    labels: Labels = NONE


def round_samples(record: RoundRecord) -> Iterator[Sample]:
    """What a finished round says."""
    line, clusters, updates = record.line, record.tables["clusters"], record.tables["updates"]
    refused = line["refused"]
    yield Sample("fltac_rounds_total", 1)
    yield Sample("fltac_updates_total", line["updates"] - refused, {"result": "accepted"})
    yield Sample("fltac_updates_total", refused, {"result": "refused"})
    for way in ("up", "down"):
        parts = {kind: sum(row[f"bytes_{way}_{kind}"] for row in updates) for kind in ("heads", "header")}
        parts["adapter"] = line[f"bytes_{way}"] - sum(parts.values())
        for kind, count in (parts | ({"base": line["bytes_base"]} if way == "down" else {})).items():
            yield Sample("fltac_bytes_total", count, {"direction": way, "kind": kind})
        yield Sample("fltac_round_bytes", line[f"bytes_{way}"], {"direction": way})
    within = line["seconds_cluster"] + line["seconds_merge"]
    clocks = (
        line["seconds_training"],
        line["seconds_cluster"],
        line["seconds_merge"],
        line["seconds_server"] - within,
        line["seconds_evaluation"],
    )
    for stage, seconds in zip(STAGES, clocks, strict=True):
        yield Sample("fltac_round_seconds_total", max(seconds, 0), {"stage": stage})
    for event in EVENTS if record.round > 1 else ():
        count = sum(row["event"] == event for row in clusters)
        yield Sample("fltac_cluster_events_total", count, {"event": event})
    for alert in line["alerts"]:
        yield Sample("fltac_alerts_total", 1, {"rule": alert["rule"]})
    yield Sample("fltac_round", record.round)
    yield Sample("fltac_clients", line["clients"])
    yield Sample("fltac_train_loss", line["train_loss"])
    for split, accuracy in (("test", line["accuracy"]), ("validation", line["accuracy_validation"])):
        for task, value in accuracy.items():
            yield Sample("fltac_accuracy_ratio", value, {"task": task, "split": split})
    yield Sample("fltac_clusters", line["clusters"])
    yield Sample("fltac_noise_ratio", line["noise"] / max(sum(row["size"] for row in clusters), 1))
    yield Sample("fltac_churn_ratio", line["churn"])
    yield Sample("fltac_cannot_link_violations", line["conflicts"])
    if persistence := [row["persistence"] for row in clusters if row.get("persistence") is not None]:
        yield Sample("fltac_cluster_persistence_ratio", min(persistence))
    if errors := [row["aggregation_error"] for row in clusters if row.get("aggregation_error") is not None]:
        yield Sample("fltac_aggregation_error_ratio", max(errors))


def sweep_samples(found: Sequence[Mapping[str, float]], failed: int, total: int, front: int) -> Iterator[Sample]:
    """Where a sweep of `total` points stands: `found` is what each finished one gave (`fltac.records.rounds.searched`),
    `front` how many of them no other beats."""
    for status, count in (("finished", len(found)), ("failed", failed), ("left", total - len(found) - failed)):
        yield Sample("fltac_sweep_points", count, {"status": status})
    for split, name in (("test", "accuracy_mean"), ("validation", "accuracy_validation_mean")):
        if values := [one[name] for one in found if name in one]:
            yield Sample("fltac_sweep_best_accuracy_ratio", max(values), {"split": split})
    yield Sample("fltac_sweep_front_points", front)


class Monitor:
    """Emits what it is told as metrics of Ray, from this process; `run` is the name of the experiment.

    Ray forgets a gauge two reports after it was set, so all that hold are set again and again, until the end.
    """

    def __init__(self, run: str) -> None:
        from ray.util import metrics

        made = {"counter": metrics.Counter, "gauge": metrics.Gauge}
        self.metrics = {
            name: made[one.kind](name.removesuffix("_total"), one.help, ("run", *one.labels))
            for name, one in METRICS.items()
        }
        self.run = run
        self.begun: list[Sample] = []  # gauges that hold for the whole run
        self.now: list[Sample] = []  # gauges that hold until more is known
        self.over = threading.Event()
        self.reminder = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> Monitor:
        self.reminder.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.reminder.join()

    def begin(self, experiment: Experiment) -> None:
        """What is known before the first round; all counters at zero, since a rate from nothing has no first step."""
        for name, one in METRICS.items():
            if one.kind == "counter":
                for values in product(*(known or () for known in one.labels.values())):
                    self._emit(Sample(name, 0, dict(zip(one.labels, values, strict=True))))
        bounds = {rule: getattr(experiment.alerts, rule) for rule in LEVELS}
        self.begun = [
            Sample("fltac_rounds_planned", experiment.rounds),
            *(Sample("fltac_alert_bound", bound, {"rule": rule}) for rule, bound in bounds.items() if bound),
        ]
        self.tell([Sample("fltac_progress_timestamp_seconds", time.time())])

    def round(self, record: RoundRecord) -> None:
        """A finished round."""
        self.tell([*round_samples(record), Sample("fltac_progress_timestamp_seconds", time.time())])

    def tell(self, samples: Sequence[Sample]) -> None:
        """All there is to say now: what was said before and is not any more, is no more."""
        for one in samples:
            if METRICS[one.name].kind == "counter":
                self._emit(one)
        self.now = [*self.begun, *(one for one in samples if METRICS[one.name].kind == "gauge")]
        self._emit(*self.now)

    def end(self) -> None:
        """Nothing holds any more."""
        self.begun = self.now = []

    def _remind(self) -> None:
        while not self.over.wait(REMIND_SECONDS):
            self._emit(*self.now)

    def _emit(self, *samples: Sample) -> None:
        for one in samples:  # below `inc`, which takes no zero
            self.metrics[one.name]._record(float(one.value), {"run": self.run, **one.labels})
