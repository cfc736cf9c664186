"""A round of two clients: client 0 holds two tasks, client 1 one; the server found two clusters."""

import pytest

from fltac.config import Alerts
from fltac.records.rounds import round_record

FOUND = [(0, 0, 0), (0, 1, 1), (1, 0, 0)]  # client, slot, cluster
TRUTHS = {(0, 0): "news", (0, 1): "tweets", (1, 0): "news", (2, 0): "tweets"}


SECONDS = {"seconds": 7, "seconds_training": 4, "seconds_server": 1, "seconds_evaluation": 2}
SECONDS |= {"seconds_cluster": 0.25, "seconds_merge": 0.125}
REST = {"silhouette": 0.5, "rival": None, "rival_distance": None, "arrived": 0, "left": 0}


def _sent(client, slot, task, loss):
    wire = {"bytes_up": 100, "bytes_up_heads": 10, "bytes_up_header": 60}
    wire |= {"bytes_down": 90, "bytes_down_heads": 9, "bytes_down_header": 60}
    work = {"num_examples": 8, "train_loss": loss, "seconds_train": 0.5, "seconds_encode": 0.25}
    return {"client": client, "slot": slot, "task": task, **wire, **work}


def _found(client, slot, cluster):
    return {
        **{
            "client": client,
            "slot": slot,
            "cluster": cluster,
            "restarted": False,
            "is_noise": False,
            "membership": None,
            "moved_from": None,
        },
        **{"outlier": 1.0, "agreement": None, "weight": 0.5, "norm": 1.0, "x": 0.0, "y": 0.0, "sketch": [0.5, -2.0]},
    }


def _judged(task, cluster, split, metric, value):
    return {"task": task, "cluster": cluster, "split": split, "metric": metric, "value": value, "num_examples": 20}


def _record(round=1, accuracy=0.5, labels=None, truths=TRUTHS, refused=(), lost=(), came=FOUND):
    clusters = [
        {"cluster": 0, "size": 2, "event": "kept", "persistence": 0.3, "spread": 1.0, "aggregation_error": 0.1} | REST,
        {"cluster": 1, "size": 2, "event": "kept", "persistence": None, "spread": 1.0, "aggregation_error": None}
        | REST,
    ]
    out = [((one.client, one.slot), one.why) for one in refused]
    step = {
        "updates": [_found(*one) for one in came if not any(who in (one[:2], (one[0], None)) for who, _ in out)],
        "clusters": clusters,
        "layers": [{"layer": "0.query", "within": 0.25, "between": 1.0, "separation": None}],
        "labels": labels or {(0, 0): 0, (0, 1): 1, (1, 0): 0, (2, 0): 1},
        **{
            "noise": 1,
            "conflicts": 0,
            "churn": 0.0,
            "refused": list(refused),
        },
    }
    evaluations = [
        _judged("news", None, "test", "accuracy", accuracy),
        _judged("news", 0, "test", "accuracy", 0.99),
        _judged("news", None, "test", "loss", 3.0),
        _judged("news", None, "validation", "accuracy", 0.25),
        _judged("tweets", None, "test", "accuracy", 1.0),
    ]
    sent = [_sent(0, 0, "news", 1.0), _sent(0, 1, "tweets", 2.0), _sent(1, 0, "news", 6.0)]
    return round_record(round, sent, step, {"evaluations": evaluations}, truths, SECONDS, Alerts(), 0, lost)


@pytest.fixture(scope="session")
def record():
    """Makes the record of a round."""
    return _record


@pytest.fixture(scope="session")
def judged():
    """Makes a row of evaluations."""
    return _judged
