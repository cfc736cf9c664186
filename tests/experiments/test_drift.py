"""What the command behind the table of drifts makes of updates, by hand."""

import argparse

import pytest

from experiments import drift
from experiments.drift import found, moved
from fltac.errors import InputError, Problem


def updates(*rounds: str) -> list[dict]:
    """A round is `task:cluster` a slot, one client each."""
    return [
        {"round": number, "client": client, "slot": 0, "task": pair[0], "cluster": int(pair[2])}
        for number, text in enumerate(rounds, 1)
        for client, pair in enumerate(text.split())
    ]


def test_a_new_task_is_found_when_all_of_it_is_one_cluster_and_nothing_else():
    assert found(updates("a:0 a:0", "a:0 a:0 n:0 n:1", "a:0 a:0 n:1 n:1"), "n") == 3
    assert found(updates("a:0 a:0", "a:0 a:1 n:1 n:1"), "n") is None
    assert found(updates("a:0 a:0"), None) is None


def test_a_slot_has_moved_when_it_is_where_most_of_its_new_task_are():
    assert moved(updates("a:0 a:0 b:1 b:1", "b:0 a:0 b:1 b:1", "b:1 a:0 b:1 b:1"), "b") == 3
    assert moved(updates("a:0 a:0 b:1 b:1", "b:2 a:0 b:1 b:1"), "b") is None
    assert moved(updates("a:0 a:0 b:1 b:1", "a:0 a:0 b:1 b:1"), None) is None


@pytest.mark.parametrize(("key", "tried"), [("changes.1.client", 30), ("changes.1.share", 1)])
def test_seeds_by_which_nobody_can_change_are_passed_over_and_no_other_fault_is(key, tried, tmp_path, monkeypatch):
    seen = []

    def plan(experiment):
        seen.append(experiment.seed)
        if experiment.seed in bad:
            raise InputError(Problem(key, "none can"))

    monkeypatch.setattr(drift, "plan", plan)
    asked = argparse.Namespace(first_seed=35, seeds=3, data=tmp_path)
    bad = {36, 38} if key.endswith("client") else set()
    assert drift.able(asked) == ([35, 37, 39] if bad else [35, 36, 37])
    seen.clear()
    bad = set(range(100))
    with pytest.raises(InputError, match="none can"):
        drift.able(asked)
    assert len(seen) == tried
