"""Train an adapter and its heads on batches, judge them on batches. Knows no client, round or server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fltac.model import team
from fltac.model.backbone import Backbone
from fltac.model.kinds import Examples


class Trained(NamedTuple):
    adapter: np.ndarray  # (p,) float32
    heads: list[np.ndarray]  # (classes, width + 1) each
    loss: float  # mean over the steps


class Score(NamedTuple):
    """What an adapter and head do on a set of examples. Of each an answer is asked; of a response, one a token."""

    correct: int
    num_answers: int
    num_examples: int
    loss: float  # summed over the answers
    loss_squares: float  # of each answer's, summed: how far the mean may be by chance
    confusion: np.ndarray  # (classes, classes) int64: examples of class i that were taken for j; (0, 0) without a head
    written: tuple[list[int], ...] = ()  # tokens of answers in the model's own words, where they were asked for

    @property
    def accuracy(self) -> float:
        return self.correct / self.num_answers

    @property
    def mean_loss(self) -> float:
        """In nats an answer."""
        return self.loss / self.num_answers


class Work(NamedTuple):
    """Examples of one task and the batches to take of them, one a step."""

    examples: Examples
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
    layers = [_Head(matrix, backbone.device) for matrix in heads]
    parameters = backbone.adapter.parameters + [part for layer in layers for part in layer.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=True)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number, step in turns([len(work.batches) for work in works]):
            layer, work = layers[number], works[number]
            optimiser.zero_grad()
            loss, count = torch.zeros((), device=backbone.device), 0
            if len(mine := team.part(work.batches[step])):
                batch = backbone.kind.collate(work.examples, mine, backbone.device)
                logits, right = backbone.kind.answer(backbone.module, layer, batch)
                loss, count = nn.functional.cross_entropy(logits, right), len(right)
            loss = loss * team.share(count, backbone.device)
            if count:
                loss.backward()  # type: ignore[no-untyped-call]
            team.add_gradients([*backbone.adapter.parameters, *layer.parameters()])
            optimiser.step()
            losses.append(loss.detach())
    loss_mean = float(team.added(torch.stack(losses)).mean())
    if not np.isfinite(loss_mean):
        raise FloatingPointError(f"the training loss is {loss_mean}; lower training.learning_rate (it is {rate:g})")
    return Trained(backbone.adapter.read(), [layer.matrix() for layer in layers], loss_mean)


def turns(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(work, its step) of each step: works of equal counts one after another, others spread evenly over the whole."""
    times = [((step + 0.5) / count, number, step) for number, count in enumerate(counts) for step in range(count)]
    return [(number, step) for _, number, step in sorted(times)]


@torch.no_grad()
def evaluate(backbone: Backbone, adapter: np.ndarray, head: np.ndarray, work: Work) -> Score:
    """Right answers, who was taken for whom and the summed loss of one adapter and head over all batches of a set."""
    backbone.adapter.write(adapter)
    layer, classes = _Head(head, backbone.device), len(head)
    correct, answers, loss, squares = 0, 0, 0.0, 0.0
    confusion = np.zeros((classes, classes), np.int64)
    for rows in work.batches:
        batch = backbone.kind.collate(work.examples, rows, backbone.device)
        logits, right = backbone.kind.answer(backbone.module, layer, batch)
        said = logits.argmax(-1)
        correct += int((said == right).sum())
        answers += len(right)
        each = nn.functional.cross_entropy(logits, right, reduction="none")
        loss += float(each.sum())
        squares += float(each.square().sum())
        if classes:
            np.add.at(confusion, (right.cpu().numpy(), said.cpu().numpy()), 1)
    return Score(correct, answers, sum(map(len, work.batches)), loss, squares, confusion)


@torch.no_grad()
def probabilities(backbone: Backbone, adapter: np.ndarray, head: np.ndarray, work: Work) -> np.ndarray:
    """softmax of the logits of one adapter and head, (n, classes) float32; the batches have each of n examples once."""
    backbone.adapter.write(adapter)
    layer = _Head(head, backbone.device)
    found = np.zeros((len(work.examples), len(head)), np.float32)
    for rows in work.batches:
        batch = backbone.kind.collate(work.examples, rows, backbone.device)
        logits, _ = backbone.kind.answer(backbone.module, layer, batch)
        found[rows] = logits.softmax(-1).cpu().numpy()
    return found


class _Head(nn.Module):
    """The last layer, W x + b, around a copy of a matrix (classes, width + 1); of no classes, it is empty."""

    def __init__(self, matrix: np.ndarray, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(matrix[:, :-1], device=device))
        self.bias = nn.Parameter(torch.tensor(matrix[:, -1], device=device))

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (b, width) -> (b, classes)
        return nn.functional.linear(features, self.weight, self.bias)

    def matrix(self) -> np.ndarray:
        matrix = torch.cat([self.weight, self.bias[:, None]], dim=1)
        return np.asarray(matrix.detach().cpu().numpy())
