"""What each published method promises, end to end on the tiny federation."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import fltac
from fltac.estimate import estimate
from fltac.model.adapters import start_adapter
from fltac.records.store import RunDirectory
from fltac.wire.codecs import HEADER, SHAPE
from fltac.world import plan

A = B = 4 * 2 * 32  # numbers: rank 2 on query and value of two layers of width 32
HEADS = {"mood": 2 * 33, "animal": 3 * 33, "weather": 2 * 33}


def finished(tiny_file, out, *overrides):
    experiment = fltac.load(tiny_file, overrides)
    fltac.run(experiment, out=out, runtime="local")
    return RunDirectory(out), plan(experiment)


# -- ffa-lora ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["exchange.adapters=shared", "clustering.type=single", "similarity.type=flat"]])
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
