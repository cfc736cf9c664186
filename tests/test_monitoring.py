"""What a record says as metrics, and that the registry keeps to Prometheus's conventions."""

import re
from collections import Counter

import pytest

from fltac.config import Alerts
from fltac.monitoring import METRICS, RULES, round_samples, sweep_samples
from fltac.records.alerts import alerts
from tests.records.conftest import _record


def told(samples):
    return {(one.name, *one.labels.values()): one.value for one in samples}


def test_a_round_as_metrics():
    """Three updates of 100 bytes up (10 of heads, 60 of the header) and 90 down; clocks of 4, 1 and 2 s, of the second
    0.25 and 0.125 s; one of four slots is noise."""
    record = _record(round=2)
    record.line["alerts"] = [{"rule": "split"}, {"rule": "split"}, {"rule": "noise"}]
    record.tables["clusters"][1]["event"] = "merged away"
    found = list(round_samples(record))
    counts = Counter((one.name, *one.labels.values()) for one in found)
    assert {key for key, count in counts.items() if count > 1} == {("fltac_alerts_total", "split")}
    assert told(found) == {
        ("fltac_rounds_total",): 1,
        ("fltac_updates_total", "accepted"): 3,
        ("fltac_updates_total", "refused"): 0,
        ("fltac_bytes_total", "up", "adapter"): 90,
        ("fltac_bytes_total", "up", "heads"): 30,
        ("fltac_bytes_total", "up", "header"): 180,
        ("fltac_bytes_total", "down", "adapter"): 63,
        ("fltac_bytes_total", "down", "heads"): 27,
        ("fltac_bytes_total", "down", "header"): 180,
        ("fltac_bytes_total", "down", "base"): 0,
        ("fltac_round_seconds_total", "training"): 4,
        ("fltac_round_seconds_total", "clustering"): 0.25,
        ("fltac_round_seconds_total", "merging"): 0.125,
        ("fltac_round_seconds_total", "server"): 0.625,
        ("fltac_round_seconds_total", "evaluation"): 2,
        ("fltac_cluster_events_total", "born"): 0,
        ("fltac_cluster_events_total", "split"): 0,
        ("fltac_cluster_events_total", "merged"): 0,
        ("fltac_cluster_events_total", "merged away"): 1,
        ("fltac_cluster_events_total", "died"): 0,
        ("fltac_alerts_total", "split"): 1,  # twice, above
        ("fltac_alerts_total", "noise"): 1,
        ("fltac_round",): 2,
        ("fltac_clients",): 2,
        ("fltac_round_bytes", "up"): 300,
        ("fltac_round_bytes", "down"): 270,
        ("fltac_train_loss",): 3,
        ("fltac_accuracy_ratio", "news", "test"): 0.5,
        ("fltac_accuracy_ratio", "tweets", "test"): 1,
        ("fltac_accuracy_ratio", "news", "validation"): 0.25,
        ("fltac_clusters",): 2,
        ("fltac_noise_ratio",): 0.25,
        ("fltac_churn_ratio",): 0,
        ("fltac_cannot_link_violations",): 0,
        ("fltac_cluster_persistence_ratio",): 0.3,
        ("fltac_aggregation_error_ratio",): 0.1,
    }


def test_in_the_first_round_all_clusters_are_new_which_is_no_event():
    record = _record(round=1)
    record.tables["clusters"][0]["event"] = "born"
    assert not [one for one in round_samples(record) if one.name == "fltac_cluster_events_total"]


def test_a_sweep_as_metrics():
    found = [
        {"accuracy_mean": 0.7, "accuracy_validation_mean": 0.5, "bytes_total": 10},
        {"accuracy_mean": 0.6, "bytes_total": 5},
    ]
    assert told(sweep_samples(found, failed=1, total=5, front=2)) == {
        ("fltac_sweep_points", "finished"): 2,
        ("fltac_sweep_points", "failed"): 1,
        ("fltac_sweep_points", "left"): 2,
        ("fltac_sweep_best_accuracy_ratio", "test"): 0.7,
        ("fltac_sweep_best_accuracy_ratio", "validation"): 0.5,
        ("fltac_sweep_front_points",): 2,
    }
    assert ("fltac_sweep_best_accuracy_ratio", "test") not in told(sweep_samples([], failed=0, total=5, front=0))


def test_samples_are_of_the_registry_and_their_labels_are_bounded():
    samples = [*round_samples(_record(round=2)), *sweep_samples([], failed=0, total=1, front=0)]
    for one in samples:
        labels = METRICS[one.name].labels
        assert tuple(one.labels) == tuple(labels)
        assert all(known is None or one.labels[label] in known for label, known in labels.items())
    open_ended = {label for one in METRICS.values() for label, known in one.labels.items() if known is None}
    assert open_ended == {"task"}


@pytest.mark.parametrize(("name", "metric"), METRICS.items(), ids=METRICS)
def test_names_and_help_are_as_prometheus_has_them(name, metric):
    assert re.fullmatch(r"fltac_[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert name.removesuffix("_total").endswith(metric.unit)
    assert metric.unit in ("", "bytes", "seconds", "ratio")  # base units
    assert metric.help.endswith(".")


def test_every_rule_of_alerts_is_a_value_of_the_label():
    line = {"round": 2, "noise": 9, "conflicts": 9, "churn": 1.0, "bytes_up": 9, "bytes_down": 9}
    line["left_out"] = [{"client": 0, "slot": 0, "why": "norm", "what": "is absurd"}]
    clusters = [{"cluster": c, "event": e, "size": 1, "left": 1} for c, e in enumerate(("born", "split", "merged"))]
    updates = [{"client": 0, "slot": 0, "cluster": 2, "moved_from": 2, "restarted": True, "agreement": -1.0}]
    rules = {alert["rule"] for alert in alerts(line, 10, clusters, updates, Alerts(bytes=1))}
    assert rules == set(RULES)
