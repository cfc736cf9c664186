"""What a kind of model must know: how examples become numbers, numbers a batch, and a batch answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from fltac.config import Task, Training
from fltac.data.columns import Rows, Split, classes, labels
from fltac.errors import Problem

Source = tuple[str, str | None]  # a folder or hub id, and a revision
NOTHING_ASKED = -100  # what torch's losses leave out


class Examples(Protocol):
    """Encoded examples: compact arrays, made once, which every worker of a node shares."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray:
        """(n,) what each takes, up to a factor: its tokens. Like lengths are batched together."""

    @property
    def answers(self) -> np.ndarray:
        """(m,) int64: all that is to be answered, a class an example or the tokens of its response."""


class Batch(NamedTuple):
    inputs: dict[str, torch.Tensor]
    answers: torch.Tensor  # (b,) int64 classes; (b, t) int64 tokens, NOTHING_ASKED where nothing is


class Answers(NamedTuple):
    """What a model answers to a batch."""

    logits: torch.Tensor  # (m, choices) float32
    right: torch.Tensor  # (m,) int64
    rows: torch.Tensor  # (m,) int64: whose answers they are


class Kind(Protocol):
    """One kind of model. No other file asks which it is."""

    trains_head: bool  # the last linear layer is taken off and each task trains its own; else the model's stays frozen
    has_tokenizer: bool  # beside its weights
    writes: bool  # it answers in text
    peft_task: str | None  # what PEFT calls it

    def auto_model(self) -> Any:
        """The transformers Auto class that loads it."""

    def read(self, task: Task, train: Rows, test: Rows) -> tuple[tuple[str, ...], Split, Split]:
        """A task's classes (none where answers are texts) and its examples. Raises InputError where they do not fit."""

    def ask(self, task: Task, rows: Rows) -> tuple[list[Any], ...]:
        """What goes in, a list of values a column, without answers. Raises InputError where a column does not fit."""

    def misfits(self, module: nn.Module, config: Any, training: Training) -> Iterable[Problem]:
        """What of the experiment this model cannot take; `module` has no weights."""

    def tokens(self, config: Any, training: Training) -> int:
        """How many an example has at most."""

    def choices(self, config: Any, classes: int) -> int:
        """Among how many an answer is one."""

    def encode(self, split: Split, source: Source, training: Training, key: str) -> Examples:
        """Examples as numbers, cut to size, not padded. Raises InputError about `key` where one cannot be read."""

    def collate(self, examples: Any, rows: np.ndarray, device: torch.device) -> Batch:
        """The rows of what `encode` made as one batch."""

    def answer(self, module: nn.Module, head: nn.Module, batch: Batch) -> Answers:
        """Both losses and accuracy are made of them."""


def classify(module: nn.Module, head: nn.Module, batch: Batch) -> Answers:
    """One answer a row: with its head taken off, the model's logits are what goes into the head."""
    features: torch.Tensor = module(**batch.inputs).logits
    return Answers(head(features.float()), batch.answers, torch.arange(len(features), device=features.device))


def side_by_side(batches: Sequence[Batch]) -> Batch:
    """Batches of as many rows each as one, in order; shorter texts are padded at their end with what is masked."""
    if len(batches) == 1:
        return batches[0]
    inputs = {name: _padded([batch.inputs[name] for batch in batches], 0) for name in batches[0].inputs}
    return Batch(inputs, _padded([batch.answers for batch in batches], NOTHING_ASKED))


def _padded(tensors: Sequence[torch.Tensor], filler: int) -> torch.Tensor:
    if tensors[0].ndim == 2:  # (b, t); classes have no length, images have one size
        longest = max(tensor.shape[1] for tensor in tensors)
        tensors = [
            one if one.shape[1] == longest else nn.functional.pad(one, (0, longest - one.shape[1]), value=filler)
            for one in tensors
        ]
    return torch.cat(list(tensors))


def labelled(
    task: Task, train: Rows, test: Rows, asked: Sequence[tuple[list[Any], ...]]
) -> tuple[tuple[str, ...], Split, Split]:
    """Classes and examples; of train and test it is `asked` what a kind's `ask` says."""
    names = classes(train, test, task.label)
    in_train, in_test = asked
    return names, Split(in_train, labels(train, task.label, names)), Split(in_test, labels(test, task.label, names))


def inputs_of(task: Task, rows: Rows) -> tuple[str, ...]:
    """The columns that go in; of a sample all but its label."""
    return task.inputs or tuple(name for name in rows.table.column_names if name != task.label)
