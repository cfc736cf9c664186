"""A round's record joins what workers, server and judges say of it."""

import json

import pyarrow as pa
import pytest

from fltac.records.left_out import LeftOut
from fltac.records.rounds import TABLES, accuracies


def test_the_line_by_hand(record):
    line = record(3).line
    assert json.loads(json.dumps(line)) == line
    seconds = {key: line.pop(key) for key in list(line) if key.startswith("seconds")}
    assert line == {
        "round": 3,
        "accuracy": {"news": 0.5, "tweets": 1.0},
        "accuracy_mean": 0.75,  # of tasks, not of examples
        "accuracy_validation": {"news": 0.25},
        "train_loss": 3.0,
        "clients": 2,
        "updates": 3,
        "refused": 0,
        **{"bytes_up": 300, "bytes_up_heads": 30, "bytes_down": 270, "bytes_down_heads": 27, "bytes_base": 0},
        **{
            "clusters": 2,
            "noise": 1,
            "conflicts": 0,
            "churn": 0.0,
            "alerts": [],
            "left_out": [],
            "late_taken": [],
            "ari": 1.0,
            "nmi": 1.0,
            "matched_accuracy": 1.0,
        },
    }
    assert seconds == {
        **{"seconds": 7, "seconds_training": 4, "seconds_server": 1, "seconds_evaluation": 2},
        **{"seconds_cluster": 0.25, "seconds_merge": 0.125},
    }


def test_clustering_is_scored_on_absent_slots_too(record):
    line = record(labels={(0, 0): 0, (0, 1): 1, (1, 0): 0, (2, 0): 0}).line
    assert line["matched_accuracy"] == 3 / 4  # slot (2, 0) was not drawn and is in the wrong cluster


def test_noise_that_stays_alone_is_a_cluster_of_its_own(record):
    line = record(labels={(0, 0): 0, (0, 1): 1, (1, 0): 2, (2, 0): 1}).line
    assert line["clusters"] == 3
    assert line["ari"] == pytest.approx((1 - 1 * 2 / 6) / ((1 + 2) / 2 - 1 * 2 / 6))


def test_without_true_tasks_there_is_no_score(record):
    line = record(truths={}).line
    assert [line[key] for key in ("ari", "nmi", "matched_accuracy")] == [None] * 3


def test_rows_fit_their_schemas_and_join_by_slot(record):
    made = record(2)
    assert set(made.tables) == set(TABLES) - {"generations"}  # nobody was asked to write
    for name, rows in made.tables.items():
        assert all(set(row) == set(TABLES[name].names) for row in rows)
        assert pa.Table.from_pylist(rows, schema=TABLES[name]).to_pylist() == rows
        assert {row["round"] for row in rows} == {2}
    joined = [(row["client"], row["slot"], row["task"], row["cluster"]) for row in made.tables["updates"]]
    assert joined == [(0, 0, "news", 0), (0, 1, "tweets", 1), (1, 0, "news", 0)]


def test_what_was_refused_is_a_row_with_its_reason_and_who_was_lost_is_in_the_line(record):
    refused = [LeftOut(0, 1, "norm", "far"), LeftOut(1, None, "undecodable", "bytes"), LeftOut(7, None, "slot", "none")]
    made = record(2, refused=refused, lost=[LeftOut(4, None, "lost", "died")])
    rows = made.tables["updates"]
    assert [(row["refused"], row["cluster"], row["bytes_up"]) for row in rows] == [
        (None, 0, 100),
        ("norm", None, 100),
        ("undecodable", None, 100),
    ]
    assert pa.Table.from_pylist(rows, schema=TABLES["updates"]).to_pylist() == rows
    assert made.line["refused"] == 2
    assert made.line["left_out"] == [
        {"client": 4, "slot": None, "why": "lost", "what": "died"},
        {"client": 0, "slot": 1, "why": "norm", "what": "far"},
        {"client": 1, "slot": None, "why": "undecodable", "what": "bytes"},
        {"client": 7, "slot": None, "why": "slot", "what": "none"},
    ]
    assert [alert["rule"] for alert in made.line["alerts"]] == ["left_out"] * 4


def test_an_update_that_never_came_is_said_to_be_missing(record):
    """A client may call both of its updates the same slot's: the server sees two that differ, and nothing else."""
    made = record(2, refused=[LeftOut(0, 0, "duplicate", "2 updates that differ")] * 2, came=[(1, 0, 0)])
    assert [row["refused"] for row in made.tables["updates"]] == ["duplicate", "missing", None]
    assert made.line["left_out"][2:] == [{"client": 0, "slot": 1, "why": "missing", "what": "no update came of it"}]


def test_accuracies_are_the_holders_means_of_one_split_and_metric(judged):
    rows = [
        judged("news", None, "test", "accuracy", 0.5),
        judged("news", 3, "test", "accuracy", 0.9),
        judged("news", None, "validation", "accuracy", 0.6),
        judged("news", None, "test", "majority", 0.4),
    ]
    assert accuracies(rows, "test") == {"news": 0.5}
    assert accuracies(rows, "validation") == {"news": 0.6}
    assert accuracies(rows, "test", "majority") == {"news": 0.4}
