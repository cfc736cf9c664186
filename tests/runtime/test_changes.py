"""A world that changes, end to end on the tiny federation."""

import numpy as np
import pytest

import fltac
from fltac.records.store import RunDirectory
from tests.runtime.test_identity import SHARES

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
    calm = finished(tiny_file, tmp_path / "calm", "exchange.restart=0.5", *long)
    assert not any(row["restarted"] for row in calm.table("updates").to_pylist())
    moved = finished(tiny_file, tmp_path / "moved", "exchange.restart=0.5", *long, f"changes=[{ALIKE}]")
    restarted = {(r["round"], r["client"], r["task"]) for r in moved.table("updates").to_pylist() if r["restarted"]}
    assert restarted == {(3, 1, "weather")}


def test_without_the_rule_nobody_starts_anew(tiny_file, tmp_path):
    with pytest.raises(fltac.InputError, match=r"exchange.restart: goes with one adapter a task"):
        fltac.load(tiny_file, ["method=fedit", "exchange.restart=0.5"])
    run = finished(tiny_file, tmp_path / "run", "exchange.restart=false", f"changes=[{DRIFT}]", "rounds=3")
    assert not any(row["restarted"] for row in run.table("updates").to_pylist())
    assert np.all([row["restarted"] is False for row in run.table("updates").to_pylist()])
