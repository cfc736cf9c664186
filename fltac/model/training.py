"""Train an adapter and its heads on batches, judge them on batches. Knows no client, round or server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fltac.model import team
from fltac.model.backbone import Backbone
from fltac.model.kinds import NOTHING_ASKED, Examples, side_by_side


class DivergedError(FloatingPointError):
    """A loss is no longer finite."""

    learner = 0  # whose, by its place


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
    seconds: float = 0.0  # that it took to find out

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


class Learner(NamedTuple):
    """An adapter that is about to learn, a head for each of its works; works take turns."""

    adapter: np.ndarray  # (p,)
    heads: Sequence[np.ndarray]  # (classes, width + 1) each
    works: Sequence[Work]
    seed: int = 0  # of LoRA dropout

    @property
    def turns(self) -> list[tuple[int, int]]:
        return turns([len(work.batches) for work in self.works])


def train(backbone: Backbone, learners: Sequence[Learner], rate: float) -> list[Trained]:
    """Each adapter and its heads by AdamW at a constant rate without weight decay, all side by side.

    One forward pass takes a batch of each: the base multiplies all rows at once, and no learner sees another.
    All must take turns alike. The base stays frozen and in eval mode; the optimiser is fresh. Dropout, and a team whose
    members take a part of every batch and all do the same step, are for one learner alone.
    Without a step all stays as it is, at a loss of 0.
    Raises DivergedError where a loss is no longer finite. Source of the optimiser: arXiv 1711.05101.
    """
    order = learners[0].turns
    if any(one.turns != order for one in learners):
        raise ValueError("learners that take other turns cannot learn side by side")
    if not order:
        return [Trained(one.adapter, list(one.heads), 0.0) for one in learners]
    backbone.adapter.write(*[one.adapter for one in learners])
    layers = [_Heads(matrices, backbone.device) for matrices in zip(*[one.heads for one in learners], strict=True)]
    parameters = backbone.adapter.parameters + [part for layer in layers for part in layer.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=True)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learners[0].seed)
        for number, step in order:
            layer = layers[number]
            optimiser.zero_grad()
            loss, count = torch.zeros(len(learners), device=backbone.device), 0
            batches = [(one.works[number].examples, team.part(one.works[number].batches[step])) for one in learners]
            if any(len(rows) for _, rows in batches):
                loss, count = _losses(backbone, layer, batches)
            loss = loss * team.share(count, backbone.device)
            if count:
                loss.sum().backward()  # type: ignore[no-untyped-call]
            team.add_gradients([*backbone.adapter.parameters, *layer.parameters()])
            optimiser.step()
            losses.append(loss.detach())
    means = team.added(torch.stack(losses)).mean(dim=0).tolist()
    for index, mean in enumerate(means):
        if not np.isfinite(mean):
            error = DivergedError(f"the training loss is {mean}; lower training.learning_rate (it is {rate:g})")
            error.learner = index
            raise error
    adapters = backbone.adapter.read()
    heads = zip(*[layer.matrices() for layer in layers], strict=True)
    return [Trained(*one) for one in zip(adapters, map(list, heads), means, strict=True)]


def _losses(backbone: Backbone, layer: _Heads, each: Sequence[tuple[Examples, np.ndarray]]) -> tuple[torch.Tensor, int]:
    """(k,) mean losses of the rows of k learners, and how many answers they are of.

    A learner with fewer rows than another has some twice, of which nothing is asked.
    """
    size, batches = max(len(rows) for _, rows in each), []
    for examples, rows in each:
        batch = backbone.kind.collate(examples, np.resize(rows, size), backbone.device)
        batch.answers[len(rows) :] = NOTHING_ASKED
        batches.append(batch)
    logits, right, rows_of = backbone.kind.answer(backbone.module, layer, side_by_side(batches))
    asked = (right != NOTHING_ASKED) & (rows_of // size == torch.arange(len(each), device=right.device)[:, None])
    counts = asked.sum(dim=1, keepdim=True)
    loss = nn.functional.cross_entropy(logits, right, reduction="none")
    return (asked / counts) @ loss, len(right)


def turns(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(work, its step) of each step: works of equal counts one after another, others spread evenly over the whole."""
    times = [((step + 0.5) / count, number, step) for number, count in enumerate(counts) for step in range(count)]
    return [(number, step) for _, number, step in sorted(times)]


@torch.no_grad()
def evaluate(backbone: Backbone, adapter: np.ndarray, head: np.ndarray, work: Work) -> Score:
    """Right answers, who was taken for whom and the summed loss of one adapter and head over all batches of a set."""
    backbone.adapter.write(adapter)
    layer, classes = _Heads([head], backbone.device), len(head)
    correct, answers, loss, squares = 0, 0, 0.0, 0.0
    confusion = np.zeros((classes, classes), np.int64)
    for rows in work.batches:
        batch = backbone.kind.collate(work.examples, rows, backbone.device)
        logits, right, _ = backbone.kind.answer(backbone.module, layer, batch)
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
    layer = _Heads([head], backbone.device)
    found = np.zeros((len(work.examples), len(head)), np.float32)
    for rows in work.batches:
        batch = backbone.kind.collate(work.examples, rows, backbone.device)
        logits, _, _ = backbone.kind.answer(backbone.module, layer, batch)
        found[rows] = logits.softmax(-1).cpu().numpy()
    return found


class _Heads(nn.Module):
    """The last layers, W x + b, around copies of k matrices (classes, width + 1); of no classes, they are empty.

    Each has the next k-th part of the rows. One of fewer classes than another never says the others.
    """

    def __init__(self, matrices: Sequence[np.ndarray], device: torch.device) -> None:
        super().__init__()
        self.classes = [len(matrix) for matrix in matrices]
        most = max(self.classes)
        filled = np.zeros((len(matrices), most, matrices[0].shape[1]), np.float32)
        for row, matrix in zip(filled, matrices, strict=True):
            row[: len(matrix)] = matrix
        self.weight = nn.Parameter(torch.tensor(filled[:, :, :-1], device=device))
        self.bias = nn.Parameter(torch.tensor(filled[:, :, -1], device=device))
        never = np.arange(most) >= np.array(self.classes)[:, None]
        self.never = torch.from_numpy(never).to(device)[:, None] if never.any() else None  # (k, 1, most)

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (n, width) -> (n, most classes)
        if len(self.weight) == 1:
            return nn.functional.linear(features, self.weight[0], self.bias[0])
        rows = features.reshape(len(self.weight), -1, features.shape[-1])
        logits = torch.baddbmm(self.bias[:, None], rows, self.weight.transpose(1, 2))
        if self.never is not None:
            logits = logits.masked_fill(self.never, -torch.inf)
        return logits.reshape(len(features), -1)

    def matrices(self) -> list[np.ndarray]:
        filled = torch.cat([self.weight, self.bias[:, :, None]], dim=2).detach().cpu().numpy()
        return [matrix[:classes] for matrix, classes in zip(filled, self.classes, strict=True)]
