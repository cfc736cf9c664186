"""What a run trained, written by the libraries whose formats they are: PEFT for adapters, transformers for models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fltac.config import Adapter, Model
from fltac.model.backbone import load_base, locate, quiet
from fltac.model.kinds import KINDS


def write_peft(
    model: Model, adapter: Adapter, seed: int, factors: Mapping[str, np.ndarray], head: np.ndarray, to: Path
) -> str:
    """Writes `factors` (`<layer>.lora_A` (r, d_in), `<layer>.lora_B` (d_out, r)) and `head` (classes, width + 1).

    Weights of the base that were in no checkpoint go along, since everybody else would draw others. Returns the base's
    folder or hub id. A head of no classes is none: the model's own last layer is used.
    """
    from peft import LoraConfig, get_peft_model

    whole, own = _with_head(model, seed, head)
    layers = sorted({name.rsplit(".", 1)[0] for name in factors})
    config = LoraConfig(
        task_type=KINDS[model.kind].peft_task,
        r=adapter.rank,
        lora_alpha=adapter.scaling * adapter.rank,
        target_modules=layers,
        modules_to_save=sorted({name.rsplit(".", 1)[0] for name in own}) or None,
    )
    with quiet():
        wrapped = get_peft_model(whole, config)
    with torch.no_grad():
        for layer in layers:
            module = wrapped.base_model.model.get_submodule(layer)
            module.lora_A["default"].weight.copy_(torch.tensor(factors[f"{layer}.lora_A"]))
            module.lora_B["default"].weight.copy_(torch.tensor(factors[f"{layer}.lora_B"]))
    wrapped.save_pretrained(str(to))
    return locate(model)[0]


def write_model(model: Model, seed: int, changes: Mapping[str, np.ndarray], head: np.ndarray, to: Path) -> None:
    """Writes the base with `changes` of its tensors on top and `head` (classes, width + 1), as transformers does."""
    whole, _ = _with_head(model, seed, head)
    with torch.no_grad():
        for name, change in changes.items():
            whole.get_parameter(name).add_(torch.tensor(change))
    with quiet():
        whole.save_pretrained(str(to))


def _with_head(model: Model, seed: int, head: np.ndarray) -> tuple[Any, list[str]]:
    """The base with a head on it, and the names of the weights that no checkpoint holds, the head's among them."""
    path, revision = locate(model)
    base, changes = load_base(model, seed), peft_changes(model, head)
    with quiet():
        auto = KINDS[model.kind].auto_model()
        whole = auto.from_pretrained(path, revision=revision, dtype=getattr(torch, model.dtype), **changes)
    own = {name: torch.from_numpy(base.weights[name].copy()) for name in base.fresh}
    if base.head:
        own |= {f"{base.head}.weight": torch.tensor(head[:, :-1]), f"{base.head}.bias": torch.tensor(head[:, -1])}
    with torch.no_grad():
        for name, value in own.items():
            parameter = whole.get_parameter(name)
            parameter.copy_(value.view(torch.bfloat16) if value.dtype == torch.uint16 else value)
    return whole, list(own)


def peft_changes(model: Model, head: np.ndarray) -> dict[str, int]:
    """What the base's config must be told for this head and as many layers as the experiment loads."""
    changes = {"num_labels": len(head)} if len(head) else {}
    return changes if model.num_hidden_layers is None else {**changes, "num_hidden_layers": model.num_hidden_layers}
