"""What each published method promises, end to end on the tiny federation."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import fltac
from fltac.data.batching import evaluation_batches
from fltac.estimate import estimate
from fltac.host import Host
from fltac.model.adapters import start_adapter
from fltac.model.training import Work, evaluate
from fltac.orders import orders
from fltac.planning import build, plan
from fltac.records.store import RunDirectory
from fltac.server.aggregator import Aggregator
from fltac.server.state import parcels
from fltac.setup import server_setup
from fltac.wire.codecs import HEADER, SHAPE, decode
from tests.runtime.test_identity import METHODS, records

A = B = 4 * 2 * 32  # numbers: rank 2 on query and value of two layers of width 32
HEADS = {"mood": 2 * 33, "animal": 3 * 33, "weather": 2 * 33}


def finished(tiny_file, out, *overrides):
    experiment = fltac.load(tiny_file, overrides)
    fltac.run(experiment, out=out, runtime="local")
    return RunDirectory(out), plan(experiment)


# -- ffa-lora ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [[], ["exchange.adapters=shared", "exchange.restart=false", "clustering.type=single", "similarity.type=flat"]],
)
def test_ffa_lora_sends_a_once_and_then_b_alone_and_merges_exactly(tiny_file, tmp_path, more):
    run, planned = finished(tiny_file, tmp_path / "run", "method=ffa-lora", "rounds=3", *more)
    for row in run.table("updates").to_pylist():
        assert row["bytes_down"] - row["bytes_up"] == (4 * A if row["round"] == 1 else 0)
        if row["task"]:  # else one adapter serves several
            assert row["bytes_up"] == HEADER.size + SHAPE.size + 4 * (B + HEADS[row["task"]])
    assert all(row["aggregation_error"] < 1e-6 for row in run.table("clusters").to_pylist())
    guess, summary = estimate(planned), run.summary()
    assert 3 * guess.bytes_up == summary["bytes_up"]
    assert 3 * guess.bytes_down + guess.bytes_first == summary["bytes_down"]
    start = planned.spec.factors(start_adapter(planned.spec, planned.experiment.seed))
    _, files = run.last_adapters()
    for file in files.values():
        tensors = load_file(file)
        for layer, (a, _) in zip(planned.spec.layers, start, strict=True):
            np.testing.assert_array_equal(tensors[f"{layer.name}.lora_A"], a)
            assert tensors[f"{layer.name}.lora_B"].any()


def test_a_client_sent_b_alone_trains_as_one_that_is_sent_a_too(tiny_file, tmp_path):
    """A of the first download, rounded by the wire, is the A of all later rounds on both sides."""
    run, planned = finished(tiny_file, tmp_path / "run", "method=ffa-lora", "wire.down=bfloat16", "wire.up=float16")
    start = planned.spec.factors(start_adapter(planned.spec, planned.experiment.seed))
    _, files = run.last_adapters()
    for layer, (a, _) in zip(planned.spec.layers, start, strict=True):
        kept = load_file(next(iter(files.values())))[f"{layer.name}.lora_A"]
        assert not np.array_equal(kept, a)
        np.testing.assert_allclose(kept, a, rtol=2**-8)
    assert all(row["aggregation_error"] < 1e-6 for row in run.table("clusters").to_pylist())


# -- ifca --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["exchange.heads=local"], ["exchange.factors=b"]], ids=str)
def test_ifca_counts_all_that_it_sends_once_a_client(tiny_file, tmp_path, more):
    run, planned = finished(tiny_file, tmp_path / "run", "method=ifca", "clustering.k=4", *more)
    rows = run.table("updates").to_pylist()
    heads: dict[int, list[int]] = {}
    for row in rows[: len(rows) // 2]:
        heads.setdefault(row["client"], []).append(HEADS[row["task"]])
    for row in rows:
        a = 0 if more == ["exchange.factors=b"] and row["round"] == 2 else A
        named, numbers = (
            (0, 0) if "heads=local" in str(more) else (len(heads[row["client"]]), sum(heads[row["client"]]))
        )
        payload = HEADER.size + SHAPE.size * named + 4 * (a + B + numbers)
        assert row["bytes_down"] == (4 * payload if row["slot"] == 0 else 0)
        assert row["bytes_down_heads"] == (16 * numbers if row["slot"] == 0 else 0)
    guess, summary = estimate(planned), run.summary()
    assert (2 * guess.bytes_up, 2 * guess.bytes_down + guess.bytes_first) == (
        summary["bytes_up"],
        summary["bytes_down"],
    )


def test_a_client_of_ifca_chooses_and_trains_what_has_the_least_loss_on_its_data(tiny_file):
    planned = plan(fltac.load(tiny_file, ["method=ifca", "clustering.k=4", "clustering.start_std=0.3"]))
    world, server = build(planned), Aggregator(server_setup(planned))
    host, state = Host(world), server.start()
    chosen = set()
    for round in (1, 2):
        post = server.post(state)
        *sent, ledger = host.train(round, orders(world, round, range(4), post, {}), dict(enumerate(post.payloads)))
        updates = [decode(payload, planned.spec) for each in sent for payload in each]
        assert all(row["train_loss"] > 0 for row in ledger.rows)
        for update in updates:
            (shard,) = world.shards[update.key]
            examples = world.tasks[shard.task].train
            batches = [shard.indices[rows] for rows in evaluation_batches(examples.lengths[shard.indices], 5)]
            losses = []
            for number in range(4):
                cluster = state.clusters[number]
                head = cluster.heads.get(server.setup.registry[update.key][0].shape, world.start_head(shard.task))
                losses.append(evaluate(host.backbone, cluster.adapter, head, Work(examples, batches)).loss)
            assert losses[update.choice] == pytest.approx(min(losses), rel=1e-5)
            chosen.add(update.choice)
        state, step = server.step(state, parcels(zip(range(4), sent, strict=True)))
        assert step.labels == {update.key: update.choice for update in updates}
    assert len(chosen) > 1, "one for all would prove little"


def test_ifca_is_judged_by_the_cluster_of_the_last_choice(tiny_file, tmp_path):
    run, _ = finished(tiny_file, tmp_path / "run", "method=ifca", "clustering.start_std=0.3")
    for round in (1, 2):
        rows = [row for row in run.table("updates").to_pylist() if row["round"] == round]
        judged = [row for row in run.table("evaluations").to_pylist() if row["round"] == round]
        for task in HEADS:
            held = {row["cluster"] for row in rows if row["task"] == task}
            assert {row["cluster"] for row in judged if row["task"] == task} - {None} == held


# -- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "choices, A frozen, half the clients",
        "clusters that stay, half the clients",
        "changes as integers, half the clients",
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_never_was(tiny_file, tmp_path, name):
    class StoppedError(Exception):
        pass

    def stop(record):
        if record.round == 2:
            raise StoppedError

    experiment = fltac.load(tiny_file, [*METHODS[name], "rounds=4"])
    fltac.run(experiment, out=tmp_path / "whole", runtime="local")
    with pytest.raises(StoppedError):
        fltac.run(experiment, out=tmp_path / "stopped", runtime="local", tell=stop)
    fltac.resume(tmp_path / "stopped")
    assert records(tmp_path / "stopped") == records(tmp_path / "whole")
