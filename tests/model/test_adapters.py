import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fltac.config import Adapter
from fltac.errors import InputError
from fltac.model.adapters import (
    LoraLinear,
    Loras,
    Weights,
    adapter_spec,
    model_spec,
    regauge,
    start_adapter,
    start_head,
)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        return self.query(x) + self.key(x) * self.value(x)


def random_adapter(spec, seed=0):
    return np.random.default_rng(seed).normal(size=spec.size).astype(np.float32)


def test_layers_are_query_and_value_by_default():
    spec = adapter_spec(Attention(), Adapter(rank=2))
    assert [layer.name for layer in spec.layers] == ["query", "value"]
    assert spec.size == 2 * 2 * (6 + 4)


def test_targets_can_be_named_and_are_refused_where_unknown():
    assert [layer.name for layer in adapter_spec(Attention(), Adapter(targets=("key",))).layers] == ["key"]
    with pytest.raises(InputError, match=r"adapter.targets: name linear layers of this model: key, query, value"):
        adapter_spec(Attention(), Adapter(targets=("q_proj",)))


def test_an_adapter_comes_out_as_it_went_in():
    module = Attention()
    spec = adapter_spec(module, Adapter(rank=3))
    loras = Loras(module, spec, 0.0)
    flat = random_adapter(spec)
    loras.write(flat)
    assert np.array_equal(loras.read(), [flat])


def test_a_models_own_weights_are_the_base_and_a_change_and_the_base_stays():
    module = Attention()
    base = {name: part.detach().clone() for name, part in module.named_parameters()}
    shared = [part.data for part in module.parameters()]  # what other models may be built around
    weights = Weights(module, model_spec(module))
    flat = random_adapter(weights.spec)
    weights.write(flat)
    for name, change in weights.spec.named(flat).items():
        torch.testing.assert_close(module.get_parameter(name).detach(), base[name] + torch.tensor(change))
    np.testing.assert_allclose(weights.read(), [flat], atol=1e-6)  # float32 beside weights of size one
    assert all(torch.equal(one, other) for one, other in zip(shared, base.values(), strict=True))
    assert all(part.requires_grad for part in weights.parameters)


@pytest.mark.parametrize("change", [-1, 1])
def test_an_adapter_of_another_size_is_refused_and_nothing_is_loaded(change):
    module = Attention()
    spec = adapter_spec(module, Adapter(rank=3))
    loras = Loras(module, spec, 0.0)
    before = random_adapter(spec)
    loras.write(before)
    with pytest.raises(ValueError, match="has 60 numbers"):
        loras.write(np.zeros(spec.size + change, np.float32))
    assert np.array_equal(loras.read(), [before])


def test_the_layer_computes_what_the_formula_says():
    lora = LoraLinear(nn.Linear(5, 3), rank=2, scale=1.5, dropout=0.0)
    with torch.no_grad():
        lora.a.normal_()
        lora.b.normal_()
    x = torch.randn(4, 5)
    expected = x @ (lora.base.weight + 1.5 * lora.b[0] @ lora.a[0]).T + lora.base.bias
    torch.testing.assert_close(lora(x), expected)


def test_dropout_acts_in_training_alone():
    lora = LoraLinear(nn.Linear(50, 3), rank=2, scale=1.0, dropout=0.5)
    with torch.no_grad():
        lora.b.fill_(1.0)
        lora.a.fill_(1.0)
    x = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))  # of ones, two draws may keep equally many
    with torch.no_grad():
        assert torch.equal(lora(x), lora(x))
    assert not torch.equal(lora(x), lora(x))


def test_start_is_shared_by_all_and_changes_nothing():
    spec = adapter_spec(Attention(), Adapter(rank=2))
    one, again, other = start_adapter(spec, 0), start_adapter(spec, 0), start_adapter(spec, 1)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    for a, b in spec.factors(one):
        assert not b.any()
        assert np.abs(a).max() <= 1 / np.sqrt(6)
        assert a.any()


def test_heads_start_alike_where_their_shapes_do():
    assert np.array_equal(start_head(3, 8, 0), start_head(3, 8, 0))
    assert not start_head(3, 8, 0)[:, -1].any()
    assert start_head(2, 8, 0).shape == (2, 9)


@given(st.integers(0, 2**32 - 1))
def test_another_gauge_is_the_same_adapter(seed):
    spec = adapter_spec(Attention(), Adapter(rank=2))
    draw = np.random.default_rng(seed)
    flat = draw.normal(size=spec.size).astype(np.float32)
    turned = regauge(flat, spec, draw)
    assert np.abs(turned - flat).max() > 1e-3
    for (a, b), (old_a, old_b) in zip(spec.factors(turned), spec.factors(flat), strict=True):
        np.testing.assert_allclose(b @ a, old_b @ old_a, atol=1e-5)


def test_a_client_may_have_a_start_of_its_own():
    spec = adapter_spec(Attention(), Adapter(rank=2))
    assert np.abs(start_adapter(spec, 0, 1) - start_adapter(spec, 0, 2)).max() > 1e-3
    np.testing.assert_array_equal(start_adapter(spec, 0, 1), start_adapter(spec, 0, 1))
