"""The arms of the benchmarks compute the same; how fast they are is for `make bench`."""

import pytest

from benchmarks.run import ALIKE, measured
from benchmarks.simulate import simulated
from benchmarks.workloads import Workload


@pytest.mark.parametrize("steps", [0, 2])
def test_all_that_runs_in_one_process_learns_the_same(steps):
    names = ["bare loop", "batched", "authors' way", "fltac local"]
    seconds, results = measured(Workload("W1", 4, steps, (1, 16), 2, 8), names, rounds=2)
    assert [len(seconds[name]) for name in names] == [1] * 4
    assert all(result["distance"] < ALIKE for result in results.values())
    assert all(0 <= result["accuracy"] <= 1 for result in results.values())


def test_clients_that_do_not_train_go_through_whole_rounds(tmp_path):
    lines = simulated(tmp_path, clients=20, rounds=2, tasks=3)
    assert [line["updates"] for line in lines] == [40, 40]
