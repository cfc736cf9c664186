"""What saves memory changes no gradient, and is refused where it cannot be had."""

import numpy as np
import pytest
import torch
from torch import nn

import fltac
from fltac.config import Model
from fltac.errors import InputError
from fltac.model.backbone import build, load_base
from fltac.model.memory import recompute
from fltac.model.training import Learner, Work, train
from fltac.planning import build as build_world
from fltac.planning import plan
from tests.tiny import write_tiny
from tests.tiny_kinds import write_tiny_dialogues, write_tiny_images


@pytest.mark.parametrize("make", [write_tiny, write_tiny_images, write_tiny_dialogues])
def test_layers_that_are_computed_twice_learn_the_same(tmp_path, make):
    world = build_world(plan(fltac.load(make(tmp_path))))
    name, task = next(iter(world.tasks.items()))
    learned = []
    for twice in (False, True):
        backbone = build(world.base, world.experiment.adapter, False, gradient_checkpointing=twice)
        work = Work(task.train, [np.arange(8)] * 3)
        learned += train(backbone, [Learner(world.start, [world.start_head(name)], [work])], 1e-2)
    np.testing.assert_allclose(learned[1].adapter, learned[0].adapter, atol=1e-6)
    assert np.abs(learned[0].adapter - world.start).max() > 1e-3
    assert learned[1].loss == pytest.approx(learned[0].loss)


def test_a_model_that_names_no_layers_is_refused():
    with pytest.raises(InputError, match=r"training\.gradient_checkpointing: Linear has no layers that can be"):
        recompute(nn.Linear(2, 2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_quantised_base_needs_a_gpu(tmp_path):
    write_tiny_dialogues(tmp_path)
    model = {"kind": "causal-lm", "source": {"type": "path", "path": str(tmp_path / "model")}, "quantise": "4bit"}
    base = load_base(Model.model_validate(model), 0)
    with pytest.raises(InputError, match=r"model\.quantise: needs a GPU, and this machine shows none"):
        build(base, fltac.load(tmp_path / "tiny.toml").adapter, use_gpu=True)
