import dataclasses
import shutil

import numpy as np
import pytest
import torch

from fltac.config import Model
from fltac.errors import InputError
from fltac.model.backbone import build, load_base, locate, skeleton
from fltac.model.training import Learner, Work, train


def test_the_head_is_taken_off_and_the_pooler_stays(tiny_world):
    base = tiny_world.base
    assert (base.head, base.width) == ("classifier", 32)
    assert "bert.pooler.dense.weight" in base.weights
    assert not any(name.startswith("classifier") for name in base.weights)


def test_the_model_is_built_around_the_shared_arrays_without_a_copy(tiny_world):
    base = tiny_world.base
    backbone = build(base, tiny_world.experiment.adapter, use_gpu=False)
    parameters = dict(backbone.module.named_parameters())
    inner = parameters["bert.encoder.layer.0.attention.self.query.base.weight"]
    array = base.weights["bert.encoder.layer.0.attention.self.query.weight"]
    assert inner.data_ptr() == array.__array_interface__["data"][0]
    assert not inner.requires_grad
    assert not backbone.module.training


def test_training_leaves_every_frozen_weight_as_it_was(tiny_world):
    before = tiny_world.base.checksum()
    backbone = build(tiny_world.base, tiny_world.experiment.adapter, use_gpu=False)
    task = tiny_world.tasks["mood"]
    adapter = np.ones(tiny_world.spec.size, np.float32) / 50
    work = Work(task.train, [np.arange(8)] * 3)
    (done,) = train(backbone, [Learner(adapter, [tiny_world.start_head("mood")], [work])], 1e-2)
    assert not np.array_equal(done.adapter, adapter)
    assert tiny_world.base.checksum() == before


def test_a_changed_weight_changes_the_checksum(tiny_world):
    weights = dict(tiny_world.base.weights)
    weights["bert.pooler.dense.bias"] = weights["bert.pooler.dense.bias"] + 1e-7
    assert dataclasses.replace(tiny_world.base, weights=weights).checksum() != tiny_world.base.checksum()


def test_weights_in_no_checkpoint_are_drawn_by_the_seed(tmp_path, tiny_world):
    from transformers import BertConfig, BertModel

    config = BertConfig.from_pretrained(tiny_world.experiment.model.source.path)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    shutil.copy(f"{tiny_world.experiment.model.source.path}/vocab.txt", tmp_path)
    model = Model.model_validate({"source": {"type": "path", "path": str(tmp_path)}})
    state = torch.get_rng_state()
    one, again, other = load_base(model, 0), load_base(model, 0), load_base(model, 1)
    assert one.fresh == ("bert.pooler.dense.bias", "bert.pooler.dense.weight")
    assert one.checksum() == again.checksum() != other.checksum()
    assert torch.equal(torch.get_rng_state(), state)


def test_bfloat16_weights_come_back_as_bfloat16(tiny_world):
    model = tiny_world.experiment.model.model_copy(update={"dtype": "bfloat16"})
    base = load_base(model, 0)
    backbone = build(base, tiny_world.experiment.adapter, use_gpu=False)
    name = "bert.pooler.dense.weight"
    inner = dict(backbone.module.named_parameters())[name]
    assert inner.dtype == torch.bfloat16
    assert np.allclose(inner.float().detach().numpy(), tiny_world.base.weights[name], rtol=1e-2, atol=1e-3)
    assert all(part.dtype == torch.float32 for part in backbone.adapter.parameters)


def test_the_skeleton_knows_shapes_without_weights(tiny_world):
    module, head, width, config = skeleton(tiny_world.experiment.model)
    assert (head, width, config.num_hidden_layers) == ("classifier", 32, 2)
    assert all(parameter.is_meta for parameter in module.parameters())


def test_only_the_first_layers_where_so_asked(tiny_world):
    model = tiny_world.experiment.model.model_copy(update={"num_hidden_layers": 1})
    assert not any("layer.1." in name for name in load_base(model, 0).weights)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "path", "path": "/nowhere"}, "model.source.path: is no model folder"),
        ({"type": "package", "package": "no_such_package"}, "model.source.package: no such package is installed"),
        ({"type": "package", "package": "fltac"}, "model.source.path: is no model folder"),
    ],
)
def test_a_missing_model_is_told(source, message):
    with pytest.raises(InputError, match=message):
        locate(Model.model_validate({"source": source}))
