"""Every second of a run is in one place."""

import time

import pytest

from fltac.records.clock import Clock

STEP = {"seconds_encode": 0.25, "seconds_cluster": 0.5, "seconds_merge": 1.0, "seconds_record": 0.125}
PARTS = ("train", "evaluate", "encode", "cluster", "merge", "record", "wait")


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by hand: `go(seconds, stage)`."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    made = Clock(time.time() - 30)

    def go(seconds, stage):
        now[0] += seconds
        made.lap(stage)

    made.go = go
    return made


def test_a_round_is_split_into_what_was_done_and_what_was_waited_for(clock):
    clock.go(2, "start")
    clock.go(10, "training")
    clock.go(3, "server")
    clock.go(4, "evaluation")
    rows = [{"seconds_train": 6.0, "seconds_encode": 1.0}, {"seconds_train": 8.0, "seconds_encode": 2.0}]
    found = clock.split(2, rows, [3.0, 4.0], STEP, 0.75)
    assert found.pop("seconds_start") == pytest.approx(32, abs=1)
    assert found == {
        **{"seconds": 17, "seconds_training": 10, "seconds_server": 3, "seconds_evaluation": 4},
        **{"seconds_train": 7, "seconds_evaluate": 3.5, "seconds_encode": 1.5 + 0.25 + 0.75},
        **{"seconds_cluster": 0.5, "seconds_merge": 1.0, "seconds_record": 0.125},
        "seconds_wait": 17 - 7 - 3.5 - 2.5 - 0.5 - 1 - 0.125,
    }
    assert sum(found[f"seconds_{part}"] for part in PARTS) == found["seconds"]


def test_what_passes_between_two_rounds_is_the_second_ones_record(clock):
    clock.go(1, "training")
    clock.split(1, [], [], STEP, 0.0)
    clock.go(5, "record")
    clock.go(2, "training")
    found = clock.split(1, [{"seconds_train": 1.5, "seconds_encode": 0.0}], [], dict.fromkeys(STEP, 0.0), 0.0)
    assert (found["seconds"], found["seconds_record"], found["seconds_start"]) == (7, 5, 0)
    assert (found["seconds_train"], found["seconds_wait"]) == (1.5, 0.5)
