"""A base in less memory: layers that are computed twice instead of kept, weights of eight or four bits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fltac.errors import InputError, Problem


def recompute(module: nn.Module) -> None:
    """Has each of the model's layers forget what it computed, and compute it again for its gradient.

    Raises InputError where the model names no such layers. Source: Chen et al., arXiv 1604.06174.
    """
    for layer in recomputable(module):
        layer.forward = partial(_twice, layer.forward)


def recomputable(module: nn.Module) -> list[nn.Module]:
    """The layers that transformers lets be computed twice. Raises InputError where there are none."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        what = f"{type(module).__name__} has no layers that can be computed twice; leave it out"
        raise InputError(Problem("training.gradient_checkpointing", what, True))
    return layers


def _twice(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():  # the base stays in eval mode, so training is told by its gradients
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def require_bitsandbytes(bits: str) -> None:
    """Raises InputError where what quantises is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        what = "needs the package bitsandbytes; install it with: pip install 'fltac[quantise]'"
        raise InputError(Problem("model.quantise", what, bits))


def quantise(module: nn.Module, bits: str, device: torch.device) -> None:
    """Linear layers but the last as int8, or as NF4 in four bits, once the model is moved to its GPU.

    Raises InputError where there is no GPU or no bitsandbytes. Source: arXiv 2208.07339 (int8), 2305.14314 (NF4).
    """
    if device.type != "cuda":
        what = "needs a GPU, and this machine shows none; leave it out"
        raise InputError(Problem("model.quantise", what, bits))
    require_bitsandbytes(bits)
    last = getattr(module, "get_output_embeddings", lambda: None)()
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not last:
            module.set_submodule(name, _quantised(layer, bits))


def _quantised(layer: nn.Linear, bits: str) -> nn.Module:
    import bitsandbytes as bnb

    shape, bias, weight = (layer.in_features, layer.out_features), layer.bias is not None, layer.weight.data
    quantised: nn.Module
    if bits == "8bit":
        quantised = bnb.nn.Linear8bitLt(*shape, bias=bias, has_fp16_weights=False)
        quantised.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        quantised = bnb.nn.Linear4bit(*shape, bias=bias, compute_dtype=weight.dtype, quant_type="nf4")
        quantised.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    if bias:
        quantised.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    return quantised
