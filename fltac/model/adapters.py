"""Adapters: LoRA layers in the model <-> one flat float32 vector, the common start, and PEFT's format out.

The layer is ours and not PEFT's, because it is what fltac is about: a flat vector must go in and out strictly and
fast, many times a second, and an actor that need not import PEFT starts three seconds earlier. A test holds its
output equal to PEFT's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import nn

from fltac.config import Adapter
from fltac.errors import InputError, Problem
from fltac.seeds import generator
from fltac.wire.messages import AdapterSpec, Layer, Tensor

# the attention's query and value under the names that architectures give them
TARGETS = (("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("query_proj", "value_proj"), ("q", "v"))
HEAD_STD = 0.02


class LoraLinear(nn.Module):
    """y = W x + b + scale * B (A dropout(x)), W and b frozen. Source: Hu et al., arXiv 2106.09685, section 4.1.

    Of k adapters each has the next k-th part of the rows of a batch; W x is computed once for all of them.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scale, self.dropout = base, scale, dropout
        self.a = nn.Parameter(torch.zeros(1, rank, base.in_features))
        self.b = nn.Parameter(torch.zeros(1, base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (n, .., d_in) -> (n, .., d_out)
        inner = x.to(self.a.dtype)
        if (
            self.dropout and torch.is_grad_enabled()
        ):  # the base stays in eval mode, so training is told by its gradients
            inner = nn.functional.dropout(inner, self.dropout)
        if len(self.a) == 1:
            change = nn.functional.linear(nn.functional.linear(inner, self.a[0]), self.b[0])
        else:
            rows = inner.reshape(len(self.a), -1, inner.shape[-1])  # (k, n / k * .., d_in)
            change = (rows @ self.a.transpose(1, 2)) @ self.b.transpose(1, 2)
            change = change.reshape(*x.shape[:-1], -1)
        result: torch.Tensor = self.base(x) + (self.scale * change).to(x.dtype)
        return result


def adapter_spec(module: nn.Module, config: Adapter) -> AdapterSpec:
    """The layers an adapter of `config` changes in a model. Raises InputError where a target fits no linear layer."""
    linears = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    endings = {name.rsplit(".", 1)[-1] for name in linears}
    targets = config.targets or next((names for names in TARGETS if set(names) <= endings), ())
    missing = [target for target in targets if target not in endings]
    if missing or not targets:
        what = f"name linear layers of this model: {', '.join(sorted(endings))}"
        raise InputError(Problem("adapter.targets", what, missing or config.targets))
    layers = [
        Layer(name, layer.out_features, layer.in_features)
        for name, layer in linears.items()
        if name.rsplit(".", 1)[-1] in targets
    ]
    smallest = min(min(layer.d_out, layer.d_in) for layer in layers)
    if config.rank > smallest:
        raise InputError(
            Problem("adapter.rank", f"is more than the smallest target's width; at most {smallest}", config.rank)
        )
    return AdapterSpec(tuple(layers), config.rank, config.scaling)


def model_spec(module: nn.Module) -> AdapterSpec:
    """All weights of a model without its head, for those who train it as a whole."""
    return AdapterSpec((), 0, 1.0, tuple(Tensor(name, tuple(part.shape)) for name, part in module.named_parameters()))


class Trainable(Protocol):
    """What is trained of a model, as one flat vector in the order of `AdapterSpec`, or several side by side."""

    spec: AdapterSpec

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What has a gradient: others after each `write`."""

    def write(self, *flats: np.ndarray) -> None:
        """Flat adapters, (p,) each, into the model; of several each has as many rows of a batch, one after the other.

        Raises ValueError unless they fit exactly: nothing is loaded in part.
        """

    def read(self) -> list[np.ndarray]:
        """The model's adapters, (p,) float32 each."""


class Loras:
    """A LoRA layer around each layer of the spec, in its order; with factors = "b" its A is not trained."""

    def __init__(self, module: nn.Module, spec: AdapterSpec, dropout: float, factors: str = "both") -> None:
        self.spec, self.loras, self.trained = spec, [], {"both": ("a", "b"), "b": ("b",)}[factors]
        for layer in spec.layers:
            parent, _, name = layer.name.rpartition(".")
            lora = LoraLinear(module.get_submodule(layer.name), spec.rank, spec.scale, dropout)  # type: ignore[arg-type]
            setattr(module.get_submodule(parent), name, lora)
            self.loras.append(lora)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [getattr(lora, factor) for lora in self.loras for factor in self.trained]

    def write(self, *flats: np.ndarray) -> None:
        for lora, factors in zip(self.loras, self.spec.factors(np.stack(flats)), strict=True):
            for factor, stacked in zip(("a", "b"), factors, strict=True):  # (k, r, d_in), (k, d_out, r)
                values = torch.tensor(stacked, device=getattr(lora, factor).device)
                setattr(lora, factor, nn.Parameter(values, requires_grad=factor in self.trained))

    def read(self) -> list[np.ndarray]:
        parts = [part.detach().flatten(1) for lora in self.loras for part in (lora.a, lora.b)]
        return list(torch.cat(parts, dim=1).cpu().numpy())


class Weights:
    """The model itself: its tensors are the base's and a change, in memory of their own, since the base is shared."""

    def __init__(self, module: nn.Module, spec: AdapterSpec) -> None:
        self.spec, self.parameters = spec, [module.get_parameter(tensor.name) for tensor in spec.tensors]
        self.base = [part.data for part in self.parameters]
        for part in self.parameters:
            part.data = part.data.clone()
            part.requires_grad_()

    def write(self, *flats: np.ndarray) -> None:
        (flat,) = flats  # of a whole model there is one
        views = self.spec.named(flat).values()
        with torch.no_grad():
            for part, base, change in zip(self.parameters, self.base, views, strict=True):
                part.copy_(base + torch.tensor(change, device=base.device))

    def read(self) -> list[np.ndarray]:
        return [_flat(part.detach() - base for part, base in zip(self.parameters, self.base, strict=True))]


def _flat(parts: Iterable[torch.Tensor]) -> np.ndarray:
    return np.asarray(torch.cat([part.detach().cpu().reshape(-1) for part in parts]).numpy(), dtype=np.float32)


def start_adapter(spec: AdapterSpec, seed: int, *who: int) -> np.ndarray:
    """v0 (p,): A uniform in +-1/sqrt(d_in), as in PEFT, and B = 0. All clients start here, or clusters mean nothing.

    `who` names a start of one client's own.
    """
    flat = np.zeros(spec.size, dtype=np.float32)
    draw = generator(seed, "v0", "adapter", *who)
    for layer, (a, _) in zip(spec.layers, spec.factors(flat), strict=True):
        a[:] = draw.uniform(-1, 1, a.shape) / np.sqrt(layer.d_in)
    return flat


def regauge(flat: np.ndarray, spec: AdapterSpec, draw: np.random.Generator) -> np.ndarray:
    """The same B A as (B Q, Q^T A) with a random orthogonal Q a layer: what a client may send without learning less."""
    turned = flat.copy()
    for a, b in spec.factors(turned):
        q = np.linalg.qr(draw.normal(size=(spec.rank, spec.rank)))[0]
        b[:], a[:] = b @ q, q.T @ a
    return turned


def start_head(classes: int, width: int, seed: int) -> np.ndarray:
    """v0's head (classes, width + 1): normal weights and a bias of 0, the same for all who need this shape."""
    matrix = np.zeros((classes, width + 1), dtype=np.float32)
    matrix[:, :width] = generator(seed, "v0", "head", classes, width).normal(0, HEAD_STD, (classes, width))
    return matrix
