"""The summary of a run is the sum and the end of its records."""

from dataclasses import fields

import pytest

from fltac.records.store import RunDirectory
from fltac.records.summary import Summary, summarise


@pytest.fixture
def run(tmp_path, record, judged):
    run = RunDirectory(tmp_path / "run")
    run.create("{}", {})
    bars = [judged("news", None, "test", "accuracy", 0.3), judged("news", None, "test", "majority", 0.4)]
    run.write_bars([*bars, judged("news", -1, "test", "accuracy", 0.2)])
    for round, accuracy in enumerate([0.5, 0.7, 0.6], start=1):
        run.finish_round(record(round, accuracy), {}, {})
    return run


def test_results_are_those_of_the_last_round_costs_those_of_all(run):
    summary = summarise(run)
    assert summary.accuracy == {"news": 0.6, "tweets": 1.0}  # the last, not the best
    assert summary.accuracy_mean == 0.8
    assert summary.accuracy_validation == {"news": 0.25}
    assert (summary.majority, summary.untuned) == ({"news": 0.4}, {"news": 0.3})
    assert (summary.bytes_up, summary.bytes_up_heads, summary.bytes_down, summary.bytes_down_heads) == (
        900,
        90,
        810,
        81,
    )
    assert (summary.rounds, summary.clusters, summary.noise, summary.ari) == (3, 2, 1, 1.0)
    assert (summary.seconds, summary.seconds_training, summary.seconds_server) == (21, 12, 3)


def test_the_keys_of_the_contract_are_there(run):
    names = {field.name for field in fields(Summary)}
    assert set(summarise(run).asdict()) == names
    assert names >= {
        *(
            "accuracy",
            "accuracy_mean",
            "bytes_up",
            "bytes_down",
            "clusters",
            "ari",
            "nmi",
            "matched_accuracy",
            "rounds",
        ),
        *("seconds", "seconds_training", "seconds_server"),
    }
    clocks = {"seconds", "seconds_training", "seconds_server", "seconds_evaluation"}
    clocks |= {f"seconds_{part}" for part in ("start", "train", "evaluate", "encode", "cluster", "merge", "record")}
    clocks.add("seconds_wait")
    assert {name for name in names if "second" in name or "memory" in name} == clocks
