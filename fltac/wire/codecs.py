"""Messages as bytes and back: the only place where a byte is counted.

A payload is a fixed header, one shape record a head, then the numbers: adapter first, heads in order.
Its measured parts are `header + 12 * heads`, `itemsize * p` and `itemsize * numbers in heads`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

from fltac.wire.messages import Broadcast, Head, Update

# magic, kind, dtype, heads, round, client, slot, choice, spec, num_examples, numbers in the adapter
HEADER = struct.Struct("<4sBBHIIIi8sQQ")
SHAPE = struct.Struct("<III")  # classes, columns, num_examples of a head
MAGIC = b"FLT1"
UP, DOWN, UP_AFRESH = 1, 2, 3
DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_CODES = {name: code for code, name in enumerate(DTYPES)}
_NAMES = dict(enumerate(DTYPES))


class Bytes(NamedTuple):
    """A payload's measured length and what its heads take of it."""

    total: int
    heads: int


class WireError(ValueError):
    """Bytes that are no message of ours, or a message that does not fit its codec."""


def encode(message: Update | Broadcast, dtype: str) -> bytes:
    """The message as bytes, numbers rounded to `dtype`. Raises WireError where a number does not fit it."""
    client, slot, choice, examples = (
        (message.client, message.slot, message.choice, message.num_examples)
        if isinstance(message, Update)
        else (0, 0, -1, 0)
    )
    kind = (UP_AFRESH if message.afresh else UP) if isinstance(message, Update) else DOWN
    head = (MAGIC, kind, _CODES[dtype], len(message.heads), message.round, client, slot, choice)
    parts = [HEADER.pack(*head, message.spec, examples, message.adapter.size)]
    parts += [SHAPE.pack(*h.matrix.shape, h.num_examples) for h in message.heads]
    for numbers in (message.adapter, *(h.matrix for h in message.heads)):
        with np.errstate(over="ignore"):  # told below, in words
            rounded = np.ascontiguousarray(numbers, dtype=DTYPES[dtype])
        if not np.isfinite(rounded.astype(np.float32)).all():
            largest = float(np.abs(numbers).max())
            raise WireError(
                f"a number of the adapter does not fit {dtype} (largest {largest:g}); lower the learning rate"
            )
        parts.append(rounded.tobytes())
    return b"".join(parts)


def decode(payload: bytes) -> Update | Broadcast:
    """The message in a payload, numbers as float32. Raises WireError for bytes that are no whole message."""
    kind, name, shapes, fields = _read_header(payload)
    round, client, slot, choice, spec, examples, size = fields
    dtype, at = DTYPES[name], HEADER.size + SHAPE.size * len(shapes)
    counts = [size, *(classes * columns for classes, columns, _ in shapes)]
    if len(payload) != at + dtype.itemsize * sum(counts):
        raise WireError(
            f"a payload of {len(payload)} bytes, where its header tells {at + dtype.itemsize * sum(counts)}"
        )
    arrays = []
    for count in counts:
        arrays.append(np.frombuffer(payload, dtype, count, at).astype(np.float32))
        at += dtype.itemsize * count
    adapter, *matrices = arrays
    heads = tuple(Head(m.reshape(c, w), n) for m, (c, w, n) in zip(matrices, shapes, strict=True))
    if kind != DOWN:
        return Update(round, client, slot, spec, adapter, heads, examples, choice, kind == UP_AFRESH)
    return Broadcast(round, spec, adapter, heads)


def rounded(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as they arrive, float32."""
    return np.asarray(numbers, dtype=DTYPES[dtype]).astype(np.float32)


def measure(payload: bytes) -> Bytes:
    """What a payload costs on the wire: its length, and how much of it are the heads' numbers."""
    _, name, shapes, _ = _read_header(payload)
    return Bytes(len(payload), DTYPES[name].itemsize * sum(classes * columns for classes, columns, _ in shapes))


def expected_bytes(adapter_size: int, head_sizes: Sequence[int], dtype: str) -> int:
    """The length of a payload before there is one: for estimates (`fltac check`) and for tests, never for records."""
    return HEADER.size + SHAPE.size * len(head_sizes) + DTYPES[dtype].itemsize * (adapter_size + sum(head_sizes))


def _read_header(payload: bytes) -> tuple[int, str, list[tuple[int, int, int]], tuple]:
    if len(payload) < HEADER.size:
        raise WireError(f"a payload of {len(payload)} bytes is shorter than a header ({HEADER.size})")
    magic, kind, code, heads, *fields = HEADER.unpack_from(payload)
    if magic != MAGIC or kind not in (UP, DOWN, UP_AFRESH) or code not in _NAMES:
        raise WireError("bytes that are no fltac message")
    if len(payload) < HEADER.size + SHAPE.size * heads:
        raise WireError(f"a payload of {len(payload)} bytes is too short for the shapes of {heads} heads")
    shapes = [SHAPE.unpack_from(payload, HEADER.size + SHAPE.size * index) for index in range(heads)]
    return kind, _NAMES[code], shapes, tuple(fields)
