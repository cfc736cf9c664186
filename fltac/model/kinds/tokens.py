"""Texts as tokens, shared by the kinds that read text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from fltac.config import Training
from fltac.errors import Problem


def end_to_end(sequences: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as one: ids (tokens,) int32 and offsets (n + 1,) int64; i is ids[offsets[i]:offsets[i + 1]]."""
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in sequences])]).astype(np.int64)
    ids = np.fromiter((token for one in sequences for token in one), np.int32, int(offsets[-1]))
    return ids, offsets


def places(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows' tokens go in a padded batch, (b, longest) bool, and where they lie, (tokens of the rows,)."""
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    columns = np.arange(lengths.max())
    inside = columns < lengths[:, None]
    return inside, (starts[:, None] + columns)[inside]


def too_long(config: Any, training: Training) -> Iterable[Problem]:
    """A `max_length` beyond what the model reads."""
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and training.max_length > longest:
        yield Problem("training.max_length", f"is more than the model reads; at most {longest}", training.max_length)


@cache
def tokenizer(path: str, revision: str | None) -> Any:
    """The model's own."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, revision=revision)
