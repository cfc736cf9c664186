"""Train an adapter and its heads on batches, judge them on batches. Knows no client, round or server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fltac.model import team
from fltac.model.backbone import Backbone
from fltac.model.kinds import Encoded


class Trained(NamedTuple):
    adapter: np.ndarray  # (p,) float32
    heads: list[np.ndarray]  # (classes, width + 1) each
    loss: float  # mean over the steps


class Score(NamedTuple):
    """What an adapter and head do on a set of examples."""

    correct: int
    num_examples: int
    loss: float  # summed over the examples
    loss_squares: float  # of each example's, summed: how far the mean may be by chance


class Work(NamedTuple):
    """Examples of one task and the batches to take of them, one a step."""

    examples: Encoded
    batches: Sequence[np.ndarray]


def train(
    backbone: Backbone, adapter: np.ndarray, heads: Sequence[np.ndarray], works: Sequence[Work], rate: float, seed: int
) -> Trained:
    """One adapter and a head for each work, by AdamW at a constant rate without weight decay; works take turns.

    The base stays frozen and in eval mode; the optimiser is fresh. `seed` feeds LoRA dropout alone. In a team each
    member takes a part of every batch, and all do the same step.
    Raises FloatingPointError where the loss is no longer finite. Source of the optimiser: arXiv 1711.05101.
    """
    backbone.adapter.write(adapter)
    layers = [_head(backbone, matrix) for matrix in heads]
    parameters = backbone.adapter.parameters + [part for layer in layers for part in layer.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=True)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number, step in turns([len(work.batches) for work in works]):
            layer, work = layers[number], works[number]
            rows = work.batches[step]
            mine = team.part(rows)
            optimiser.zero_grad()
            loss = torch.zeros((), device=backbone.device)
            if len(mine):
                batch = backbone.kind.collate(work.examples, mine, backbone.device)
                loss = nn.functional.cross_entropy(layer(_features(backbone, batch.inputs)), batch.labels)
                loss = loss * (len(mine) / len(rows))
                loss.backward()  # type: ignore[no-untyped-call]
            team.add_gradients([*backbone.adapter.parameters, *layer.parameters()])
            optimiser.step()
            losses.append(loss.detach())
    loss_mean = float(team.added(torch.stack(losses)).mean())
    if not np.isfinite(loss_mean):
        raise FloatingPointError(f"the training loss is {loss_mean}; lower training.learning_rate (it is {rate:g})")
    return Trained(backbone.adapter.read(), [_matrix(layer) for layer in layers], loss_mean)


def turns(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(work, its step) of each step: works of equal counts one after another, others spread evenly over the whole."""
    times = [((step + 0.5) / count, number, step) for number, count in enumerate(counts) for step in range(count)]
    return [(number, step) for _, number, step in sorted(times)]


@torch.no_grad()
def evaluate(backbone: Backbone, adapter: np.ndarray, head: np.ndarray, work: Work) -> Score:
    """Right answers and summed loss of one adapter and head over all batches of a set."""
    backbone.adapter.write(adapter)
    layer = _head(backbone, head)
    correct, loss, squares = 0, 0.0, 0.0
    for rows in work.batches:
        batch = backbone.kind.collate(work.examples, rows, backbone.device)
        logits = layer(_features(backbone, batch.inputs))
        correct += int((logits.argmax(-1) == batch.labels).sum())
        each = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        loss += float(each.sum())
        squares += float(each.square().sum())
    return Score(correct, sum(map(len, work.batches)), loss, squares)


def _features(backbone: Backbone, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(b, width): with its head taken off, the model's logits are what goes into the head."""
    features: torch.Tensor = backbone.module(**inputs).logits
    return features.float()


def _head(backbone: Backbone, matrix: np.ndarray) -> nn.Linear:
    classes, columns = matrix.shape
    layer = nn.Linear(columns - 1, classes, device=backbone.device)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(matrix[:, :-1]))
        layer.bias.copy_(torch.tensor(matrix[:, -1]))
    return layer


def _matrix(layer: nn.Linear) -> np.ndarray:
    matrix = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    return np.asarray(matrix.detach().cpu().numpy())
