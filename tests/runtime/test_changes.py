"""A world that changes, end to end on the tiny federation."""

import numpy as np
import pytest

import fltac
from fltac.planning import build, plan
from fltac.records.store import RunDirectory
from fltac.setup import server_setup
from tests.runtime.test_identity import SHARES
from tests.tiny import TASKS

DRIFT = '{type="client-drifts", round=3, task="mood", becomes="animal", share=0.3}'  # client 0 alone has no animal

ALIKE = '{type="client-drifts", round=3, task="mood", becomes="weather", share=0.3}'  # client 1 alone has no weather


def finished(tiny_file, out, *overrides):
    fltac.run(fltac.load(tiny_file, [SHARES, *overrides]), out=out, runtime="local")
    return RunDirectory(out)


def test_tasks_and_clients_train_and_are_judged_in_their_rounds(tiny_file, tmp_path):
    changes = (
        'changes=[{type="task-begins", round=2, task="weather"}, {type="task-ends", round=3, task="mood"},'
        ' {type="client-joins", round=3, client=3}, {type="client-leaves", round=2, client=1}]'
    )
    run = finished(tiny_file, tmp_path / "run", changes, "rounds=3")
    present = [{"mood", "animal"}, {"mood", "animal", "weather"}, {"animal", "weather"}]
    assert [set(line["accuracy"]) for line in run.lines()] == present
    clients = [{row["client"] for row in run.table("updates").to_pylist() if row["round"] == r} for r in (1, 2, 3)]
    assert clients == [{0, 1, 2}, {0, 2}, {0, 2, 3}]
    assert set(run.summary()["accuracy"]) == present[2]
    assert set(run.summary()["untuned"]) == set(run.summary()["majority"]) == {"mood", "animal", "weather"}


def test_a_drift_keeps_its_slot_and_the_oracle_moves_it_at_once(tiny_file, tmp_path):
    run = finished(tiny_file, tmp_path / "run", f"changes=[{DRIFT}]", "method=oracle", "rounds=4")
    rows = {(row["round"], row["client"], row["slot"]): row for row in run.table("updates").to_pylist()}
    (slot,) = [slot for round, client, slot in rows if (round, client) == (1, 0) and rows[1, 0, slot]["task"] == "mood"]
    assert [rows[round, 0, slot]["task"] for round in (1, 2, 3, 4)] == ["mood", "mood", "animal", "animal"]
    assert [rows[round, 0, slot]["moved_from"] is not None for round in (1, 2, 3, 4)] == [False, False, True, False]
    assert [line["ari"] for line in run.lines()] == [1.0] * 4
    assert [alert["rule"] for line in run.lines() for alert in line["alerts"]] == ["moved"]


@pytest.mark.parametrize("heads", ["merge", "local"])
def test_a_client_whose_data_are_others_starts_from_v0(tiny_file, tmp_path, heads):
    """Both tasks have two classes, so that nothing but the loss tells."""
    long = ["training.steps=60", "clustering.type=each", f"exchange.heads={heads}", "rounds=3"]
    if heads == "merge":
        calm = finished(tiny_file, tmp_path / "calm", "exchange.restart=0.5", *long)
        assert not any(row["restarted"] for row in calm.table("updates").to_pylist())
    moved = finished(tiny_file, tmp_path / "moved", "exchange.restart=0.5", *long, f"changes=[{ALIKE}]")
    restarted = {(r["round"], r["client"], r["task"]) for r in moved.table("updates").to_pylist() if r["restarted"]}
    assert restarted == {(3, 1, "weather")}


def test_what_was_never_heard_of_a_drift_is_no_mistake(tiny_file, tmp_path):
    """A slot is scored by what it held when it last sent."""
    world = build(plan(fltac.load(tiny_file, [SHARES, f"changes=[{DRIFT}]", "rounds=4"])))
    (slot,) = [key for key, each in world.shards.items() if len(each) == 2]
    assert [world.truths({slot: round})[slot] for round in (1, 2, 3, 4)] == ["mood", "mood", "animal", "animal"]


def test_a_drift_that_changes_no_head_changes_nothing_that_the_server_is_told(tiny_file):
    told = [server_setup(plan(fltac.load(tiny_file, [SHARES, f"changes=[{ALIKE}]", "rounds=4"]))).registry]
    assert all(len(each) == 1 for each in told[0].values())
    other = server_setup(plan(fltac.load(tiny_file, [SHARES, f"changes=[{DRIFT}]", "rounds=4"]))).registry
    assert sorted(len(each) for each in other.values())[-2:] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ('{type="client-joins", round=3, client=1}', r"nobody but by a drift.*\['weather'\]"),
        (
            '{type="client-leaves", round=2, client=0}, {type="client-leaves", round=2, client=1}',
            r"no client with data",
        ),
    ],
)
def test_a_world_without_somebody_to_train_is_refused(tiny_file, changes, what):
    shares = 'clients.partition={type="table", shares={mood=[1,0,0,0], animal=[1,0,0,0], weather=[0,1,0,0]}}'
    changes = f'changes=[{changes}, {{type="task-ends", round=2, task="weather"}}]'
    with pytest.raises(fltac.InputError, match=what):
        plan(fltac.load(tiny_file, [shares, changes, "rounds=3"]))


def test_a_shared_adapter_goes_on_when_a_task_begins_late(tiny_file, tmp_path):
    late = 'changes=[{type="task-begins", round=3, task="weather"}, {type="task-begins", round=2, task="mood"}]'
    run = finished(tiny_file, tmp_path / "run", late, "method=fedit", "rounds=3")
    assert [set(line["accuracy"]) for line in run.lines()] == [{"animal"}, {"animal", "mood"}, set(TASKS)]


def test_a_step_of_a_slot_that_starts_anew_is_from_v0(tiny_file, tmp_path):
    long = ["training.steps=60", "exchange.restart=0.5", "similarity.of=step", "rounds=4"]
    run = finished(tiny_file, tmp_path / "run", f"changes=[{ALIKE}]", *long)
    assert any(row["restarted"] for row in run.table("updates").to_pylist())
    assert [line["ari"] for line in run.lines()] == [1.0] * 4


def test_without_the_rule_nobody_starts_anew(tiny_file, tmp_path):
    with pytest.raises(fltac.InputError, match=r"exchange.restart: goes with one adapter a task"):
        fltac.load(tiny_file, ["method=fedit", "exchange.restart=0.5"])
    run = finished(tiny_file, tmp_path / "run", "exchange.restart=false", f"changes=[{DRIFT}]", "rounds=3")
    assert not any(row["restarted"] for row in run.table("updates").to_pylist())
    assert np.all([row["restarted"] is False for row in run.table("updates").to_pylist()])
