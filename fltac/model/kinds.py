"""Kinds of model behind one small interface: how examples become numbers, and numbers a batch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples, end to end: example i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: np.ndarray  # (tokens,) int32
    segments: np.ndarray | None  # (tokens,) uint8: 0 in the first text, 1 in the second; None: the model has none
    pad: int  # the id that fills a batch up
    offsets: np.ndarray  # (n + 1,) int64
    labels: np.ndarray  # (n,) int64

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) tokens of each example."""
        return np.diff(self.offsets)


class Batch(NamedTuple):
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


class Kind(Protocol):
    """What a kind of model must know; adding one is one class and one line in `KINDS`."""

    def auto_model(self) -> Any:
        """The transformers Auto class that loads it."""

    def encode(
        self, columns: Sequence[Sequence[str]], labels: np.ndarray, source: tuple[str, str | None], max_length: int
    ) -> Encoded:
        """Examples as numbers, truncated to `max_length`, not padded."""

    def collate(self, examples: Encoded, rows: np.ndarray, device: torch.device) -> Batch:
        """The rows as one batch, padded to its longest."""


class TextClassification:
    """One text or a pair of texts to a class."""

    def auto_model(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    def encode(
        self, columns: Sequence[Sequence[str]], labels: np.ndarray, source: tuple[str, str | None], max_length: int
    ) -> Encoded:
        if len(labels) == 0:
            return Encoded(np.zeros(0, np.int32), None, 0, np.zeros(1, np.int64), labels)
        tokenizer = _tokenizer(*source)
        longest = min(max_length, tokenizer.model_max_length)
        paired = "token_type_ids" in tokenizer.model_input_names
        if len(columns) == 1:  # of a pair the longer one is cut, so both must be seen whole
            columns = [[_first_words(text, longest) for text in columns[0]]]
        coded = tokenizer(
            *map(list, columns),
            truncation=True,
            max_length=longest,
            return_token_type_ids=paired,
            return_attention_mask=False,
        )
        offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in coded["input_ids"]])])
        ids = np.concatenate(coded["input_ids"]).astype(np.int32)
        segments = np.concatenate(coded["token_type_ids"]).astype(np.uint8) if paired else None
        return Encoded(ids, segments, tokenizer.pad_token_id or 0, offsets, labels)

    def collate(self, examples: Encoded, rows: np.ndarray, device: torch.device) -> Batch:
        starts, lengths = examples.offsets[rows], examples.lengths[rows]
        inside = np.arange(lengths.max()) < lengths[:, None]  # (b, longest)
        places = (starts[:, None] + np.arange(lengths.max()))[inside]
        ids = np.full(inside.shape, examples.pad, np.int64)
        ids[inside] = examples.ids[places]
        inputs = {"input_ids": ids, "attention_mask": inside.astype(np.int64)}
        if examples.segments is not None:
            inputs["token_type_ids"] = np.zeros(inside.shape, np.int64)
            inputs["token_type_ids"][inside] = examples.segments[places]
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return Batch(tensors, torch.from_numpy(examples.labels[rows]).to(device))


def _first_words(text: str, count: int) -> str:
    """The text up to its word number `count`: the rest of an article would cost seconds.

    A word with a letter or digit in it is a token at least; a lone mark may be none.
    """
    words = islice(re.finditer(r"\S*\w\S*", text), count)
    return text[: max((word.end() for word in words), default=0)]


@cache
def _tokenizer(path: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, revision=revision)


KINDS: dict[str, Kind] = {"text-classification": TextClassification()}
