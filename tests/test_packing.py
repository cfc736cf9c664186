"""Adapters in one forward pass: who goes with whom, and that nobody learns anything else for it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import fltac
from fltac.packing import costs, room, together
from fltac.planning import build, plan
from fltac.records.store import RunDirectory
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("packing"))


@given(st.lists(st.integers(1, 300)), st.integers(0, 500))
def test_all_are_taken_once_in_order_and_no_more_than_there_is_room_for(sizes, room):
    packs = list(together(sizes, room))
    assert [index for pack in packs for index in pack] == list(range(len(sizes)))
    assert all(len(pack) == 1 or sum(sizes[index] for index in pack) <= room for pack in packs)
    for pack, (following, *_) in pairwise(packs):  # none begins before the last is full
        assert sum(sizes[index] for index in pack) + sizes[following] > room


def test_adapters_are_counted_or_their_tokens_are(file):
    def of(*overrides):
        world = build(plan(fltac.load(file, overrides)))
        return world, world.held(1)[0]

    world, shards = of("training.pack=3")
    assert costs(world, shards) == [1.0] * len(shards)
    assert room(world) == 3
    world, shards = of()
    for cost, (_, shard) in zip(costs(world, shards), sorted(shards.items()), strict=True):
        lengths = world.tasks[shard.task].train.lengths[shard.indices]
        assert cost == min(world.experiment.training.batch_size, len(lengths)) * lengths.mean()
    assert room(of("adapter.dropout=0.1")[0]) == room(of("method=full")[0]) == room(of("method=central")[0]) == 0


@pytest.mark.parametrize("method", ["fltac", "fedit"])
def test_a_run_learns_the_same_however_many_go_together(file, tmp_path, method):
    adapters, lines = [], []
    for pack in (1, 4):
        run = tmp_path / f"{pack}"
        fltac.run(fltac.load(file, [f"method={method}", f"training.pack={pack}"]), out=run, runtime="local")
        lines.append(RunDirectory(run).lines())
        adapters.append([load_file(path) for _, path in sorted(RunDirectory(run).last_adapters()[1].items())])
    for alone, packed in zip(*adapters, strict=True):
        assert alone.keys() == packed.keys()
        for name in alone:
            np.testing.assert_allclose(packed[name], alone[name], rtol=1e-3, atol=1e-5)
    for alone, packed in zip(*lines, strict=True):
        assert packed["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert packed["bytes_up"] == alone["bytes_up"]


def test_who_diverges_is_named(file):
    with pytest.raises(FloatingPointError) as told:
        fltac.run(fltac.load(file, ["training.learning_rate=1e30"]), out=file.parent / "bad", runtime="local")
    assert told.value.__notes__[0].startswith("in client 0, slot 0, round 1")


def test_the_tokens_of_a_pass_are_written_down(file):
    assert fltac.load(file).training.pack_tokens == 512
    assert fltac.load(file, ["resources.client.num_gpus=0.5"]).training.pack_tokens == 16384
    experiment = fltac.load(file, ["training.pack_tokens=64"])
    assert '"pack_tokens": 64' in experiment.dump()
    assert room(build(plan(experiment))) == 64
