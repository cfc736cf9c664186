"""One text or a pair of texts to a class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from fltac.config import Task, Training
from fltac.data.columns import Rows, Split, texts
from fltac.errors import InputError, Problem
from fltac.model.kinds.kind import Answers, Batch, Source, classify, inputs_of, labelled
from fltac.model.kinds.tokens import end_to_end, places, tokenizer, too_long


@dataclass(frozen=True)
class Texts:
    """Tokenised examples, end to end: example i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: np.ndarray  # (tokens,) int32
    segments: np.ndarray | None  # (tokens,) uint8: 0 in the first text, 1 in the second; None: the model has none
    pad: int  # the id that fills a batch up
    offsets: np.ndarray  # (n + 1,) int64
    answers: np.ndarray  # (n,) int64 classes

    def __len__(self) -> int:
        return len(self.answers)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def marked(self, rows: np.ndarray) -> Texts:
        """These rows with a backdoor's mark: their first token twice, which no text has."""
        ids, at = self.ids.copy(), self.offsets[rows[self.lengths[rows] > 2]]
        ids[at + 1] = ids[at]
        return replace(self, ids=ids)


class TextClassification:
    trains_head, has_tokenizer, writes = True, True, False
    peft_task: str | None = "SEQ_CLS"

    def auto_model(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    def read(self, task: Task, train: Rows, test: Rows) -> tuple[tuple[str, ...], Split, Split]:
        if task.prompt is not None:
            what = 'is for model.kind = "causal-lm"; name the text columns in inputs'
            raise InputError(Problem(f"{train.key}.prompt", what, task.prompt))
        return labelled(task, train, test, [self.ask(task, train), self.ask(task, test)])

    def ask(self, task: Task, rows: Rows) -> tuple[list[Any], ...]:
        return tuple(texts(rows, name, f"{rows.key}.inputs") for name in inputs_of(task, rows))

    def misfits(self, module: nn.Module, config: Any, training: Training) -> Iterable[Problem]:
        return too_long(config, training)

    def tokens(self, config: Any, training: Training) -> int:
        return training.max_length

    def choices(self, config: Any, classes: int) -> int:
        return classes

    def encode(self, split: Split, source: Source, training: Training, key: str) -> Texts:
        if len(split) == 0:
            return Texts(np.zeros(0, np.int32), None, 0, np.zeros(1, np.int64), split.labels)
        coder, columns = tokenizer(*source), split.columns
        longest = min(training.max_length, coder.model_max_length)
        paired = "token_type_ids" in coder.model_input_names
        if len(columns) == 1:  # of a pair the longer one is cut, so both must be seen whole
            columns = ([_first_words(text, longest) for text in columns[0]],)
        coded = coder(
            *map(list, columns),
            truncation=True,
            max_length=longest,
            return_token_type_ids=paired,
            return_attention_mask=False,
        )
        ids, offsets = end_to_end(coded["input_ids"])
        segments = np.concatenate(coded["token_type_ids"]).astype(np.uint8) if paired else None
        return Texts(ids, segments, coder.pad_token_id or 0, offsets, split.labels)

    def collate(self, examples: Texts, rows: np.ndarray, device: torch.device) -> Batch:
        inside, lie = places(examples.offsets, rows)
        ids = np.full(inside.shape, examples.pad, np.int64)
        ids[inside] = examples.ids[lie]
        inputs = {"input_ids": ids, "attention_mask": inside.astype(np.int64)}
        if examples.segments is not None:
            inputs["token_type_ids"] = np.zeros(inside.shape, np.int64)
            inputs["token_type_ids"][inside] = examples.segments[lie]
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return Batch(tensors, torch.from_numpy(examples.answers[rows]).to(device))

    def answer(self, module: nn.Module, head: nn.Module, batch: Batch) -> Answers:
        return classify(module, head, batch)


def _first_words(text: str, count: int) -> str:
    """The text up to its word number `count`: the rest of an article would cost seconds.

    A word with a letter or digit in it is a token at least; a lone mark may be none.
    """
    words = islice(re.finditer(r"\S*\w\S*", text), count)
    return text[: max((word.end() for word in words), default=0)]
