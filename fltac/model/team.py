"""Several processes that train one adapter together: each takes a part of every batch, gradients are added up.

A team is torch's default process group, as Ray Train sets it up; without one a process is alone, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import distributed, nn


def part(rows: np.ndarray) -> np.ndarray:
    """This member's rows of a batch, (b,) -> (b / members,): there may be none."""
    return rows[distributed.get_rank() :: distributed.get_world_size()] if _there() else rows


def share(count: int, device: torch.device) -> float:
    """This member's part of what all have between them: 1 for who is alone."""
    if not _there():
        return 1.0
    return count / max(1.0, float(added(torch.tensor(float(count), device=device))))


def add_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Every member's gradients become the sum of all; one who had no rows adds nothing."""
    if not _there():
        return
    for one in parameters:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    flat = added(torch.cat([one.grad.reshape(-1) for one in parameters if one.grad is not None]))
    parts = torch.split(flat, [one.numel() for one in parameters])
    for one, gradient in zip(parameters, parts, strict=True):
        one.grad = gradient.reshape(one.shape)


def added(values: torch.Tensor) -> torch.Tensor:
    """The sum of all members' values, everywhere."""
    if _there():
        distributed.all_reduce(values)
    return values


def _there() -> bool:
    return distributed.is_available() and distributed.is_initialized()
