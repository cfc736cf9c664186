"""Messages as bytes and back: the only place where a byte is counted.

A payload is a fixed header, one shape record a head, then the numbers in two parts: the adapter, then the heads in
order. Each part is compressed by itself, and travels as it is where that does not shorten it. The header holds the
CRC-32 of all that follows it there: what was damaged on the way is refused, and against fraud it is no help.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence, Sized
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fltac.config import Codec
from fltac.config.codec import NUMBERS
from fltac.wire.messages import AdapterSpec, Broadcast, Head, Update, WireError
from fltac.wire.numbers import (
    FLOATS,
    Shape,
    kept_of,
    pack,
    pack_kept,
    packed_kept_size,
    packed_size,
    unpack,
    unpack_kept,
)

# magic, checksum of what follows, kind, numbers, heads, round, client, slot, choice, spec, num_examples, numbers of the
# adapter, bytes of the heads
HEADER = struct.Struct("<4sIBBHIIIi8sIII")
SEALED = struct.Struct("<4sI").size  # from here on the checksum sees
SHAPE = struct.Struct("<III")  # classes, columns, num_examples of a head
MAGIC = b"FLT4"
UP, AFRESH, CHANGE, ONLY_B = 1, 2, 4, 8  # of a kind; without UP it comes down
ZSTD = 128  # beside the numbers
NOBODY = 0, 0, -1, 0  # client, slot, choice and num_examples of what comes down
SMALL, TIMES = 2**18, 256  # what compressed heads may come to, whose shapes only the payload tells: bytes, or times it


class Bytes(NamedTuple):
    """A payload's measured length and its parts: total = adapter + heads + header."""

    total: int
    adapter: int
    heads: int
    header: int  # shapes of heads included


NOTHING = Bytes(0, 0, 0, 0)  # where nothing is sent


class Header(NamedTuple):
    """What a payload says of itself."""

    checksum: int
    kind: int
    numbers: str
    zstd: bool
    shapes: list[tuple[int, int, int]]  # of the heads, with the examples each was trained on
    round: int
    client: int
    slot: int
    choice: int
    spec: bytes
    num_examples: int
    kept: int
    heads: int  # bytes
    adapter: int  # bytes

    @property
    def size(self) -> int:
        return HEADER.size + SHAPE.size * len(self.shapes)


def encode(message: Update | Broadcast, codec: Codec, spec: AdapterSpec, draw: np.random.Generator | None) -> bytes:
    """The message as bytes, numbers rounded as `codec` says, integers with draws from `draw`.

    An integer's scale is that of a rank component (a row of A, a column of B), or a class of a head. Of a change the
    largest numbers travel, at a scale of their own. Without `draw` go numbers that the codec has rounded before
    (ValueError for others). Raises WireError where a number does not fit, ValueError where the adapter is not of the
    spec, or a codec with `top` is given no change.
    """
    update = message if isinstance(message, Update) else None
    kind = 0 if message.adapter.size == spec.size else ONLY_B
    rows = _rows(message.adapter, codec.numbers, spec)
    if (update is not None and update.change) != (codec.top is not None):
        raise ValueError("a codec with top sends changes, another one adapters")
    if codec.top is None:
        kept, packed = message.adapter.size, pack(rows, codec.numbers, draw)
    else:
        kept = kept_of(message.adapter.size, codec.top)
        packed = pack_kept(message.adapter, codec.top, codec.numbers, draw)
    adapter = _compressed(packed, codec.zstd)
    whole = pack([head.matrix for head in message.heads], codec.numbers, draw)
    heads = _compressed(whole, codec.zstd)
    if len(whole) > _most(heads):
        heads = whole  # all but nothing, such as zeros: nobody would take it
    client, slot, choice, examples = (
        NOBODY if update is None else (update.client, update.slot, update.choice, update.num_examples)
    )
    if update is not None:
        kind |= UP | AFRESH * update.afresh | CHANGE * update.change
    numbers = NUMBERS.index(codec.numbers) | ZSTD * codec.zstd
    sender = message.round, client, slot, choice, message.spec, examples
    shapes = [SHAPE.pack(*head.matrix.shape, head.num_examples) for head in message.heads]
    header = HEADER.pack(MAGIC, 0, kind, numbers, len(message.heads), *sender, kept, len(heads))
    return seal(b"".join([header, *shapes, adapter, heads]))


def seal(payload: bytes) -> bytes:
    """The payload with the checksum that its other bytes have."""
    return payload[: len(MAGIC)] + struct.pack("<I", zlib.crc32(payload[SEALED:])) + payload[SEALED:]


def decode(payload: bytes, spec: AdapterSpec) -> Update | Broadcast:
    """The message in a payload, numbers as float32. Raises WireError for bytes that are no whole message of the spec.

    An adapter that travelled as float32, uncompressed, is a view of the payload, which nobody may write: ten thousand
    of them are there once and not twice.
    No more memory is taken than the spec, the payload's length and, of compressed heads, SMALL and TIMES allow.
    """
    header = _read_header(payload)
    if header.checksum != zlib.crc32(memoryview(payload)[SEALED:]):
        raise WireError("a payload that is not as it was sent: its checksum differs")
    if header.spec != spec.fingerprint:
        raise WireError("a message about adapters of another shape than this run's")
    if header.kind & ONLY_B and spec.tensors:
        raise WireError("a payload of B alone, where the model itself is trained")
    size = spec.size_b if header.kind & ONLY_B else spec.size
    if header.kept > size or (header.kept != size and not header.kind & CHANGE):
        raise WireError(f"a payload of {header.kept} numbers, where an adapter has {size}")
    middle, numbers = header.size + header.adapter, memoryview(payload)
    part = numbers[header.size : middle]
    if header.kind & CHANGE:
        whole = _whole(part, packed_kept_size(size, header.kept, header.numbers), header.zstd)
        adapter = unpack_kept(whole, size, header.kept, header.numbers)
    elif header.numbers in FLOATS:
        whole = _whole(part, packed_size([(1, size)], header.numbers), header.zstd)
        adapter = unpack(whole, [(1, size)], header.numbers)[0][0]
    else:
        adapter = np.empty(size, dtype=np.float32)
        rows = spec.rows(adapter)
        whole = _whole(part, packed_size(_shapes(rows), header.numbers), header.zstd)
        for view, values in zip(rows, unpack(whole, _shapes(rows), header.numbers), strict=True):
            view[:] = values
    head_shapes = [(classes, columns) for classes, columns, _ in header.shapes]
    length = packed_size(head_shapes, header.numbers)
    if length > max(header.heads, _most(numbers[middle:])):
        raise WireError(f"heads of {length} bytes in {header.heads}")
    matrices = unpack(_whole(numbers[middle:], length, header.zstd), head_shapes, header.numbers)
    heads = tuple(Head(m.copy(), examples) for m, (_, _, examples) in zip(matrices, header.shapes, strict=True))
    if not header.kind & UP:
        return Broadcast(header.round, header.spec, adapter, heads)
    return Update(
        header.round,
        header.client,
        header.slot,
        header.spec,
        adapter,
        heads,
        header.num_examples,
        header.choice,
        bool(header.kind & AFRESH),
        bool(header.kind & CHANGE),
    )


def rounded(adapter: np.ndarray, codec: Codec, spec: AdapterSpec, draw: np.random.Generator) -> np.ndarray:
    """A flat adapter, or its B alone, as it arrives, float32; rounded again it stays the same."""
    arrived = np.empty_like(adapter, dtype=np.float32)
    for view, values in zip(spec.rows(arrived), _rounded(spec.rows(adapter), codec, draw), strict=True):
        view[:] = values
    return arrived


def rounded_head(matrix: np.ndarray, codec: Codec, draw: np.random.Generator) -> np.ndarray:
    """A head's matrix as it arrives, float32; rounded again it stays the same."""
    return _rounded([matrix], codec, draw)[0]


def measure(payload: bytes) -> Bytes:
    """What a payload costs on the wire: its length and its parts, which sum to it."""
    header = _read_header(payload)
    return Bytes(len(payload), header.adapter, header.heads, header.size)


def expected_bytes(spec: AdapterSpec, heads: Sequence[Shape], codec: Codec, only_b: bool = False) -> int:
    """The length of a payload before there is one, at most that where zstd compresses it.

    For estimates (`fltac check`) and for tests, never for records.
    """
    size = spec.size_b if only_b else spec.size
    if codec.top is None:
        adapter = packed_size(_shapes(spec.rows(np.empty(size, np.float32))), codec.numbers)
    else:
        adapter = packed_kept_size(size, kept_of(size, codec.top), codec.numbers)
    return HEADER.size + SHAPE.size * len(heads) + adapter + packed_size(heads, codec.numbers)


def _rounded(matrices: Sequence[np.ndarray], codec: Codec, draw: np.random.Generator) -> list[np.ndarray]:
    return unpack(pack(matrices, codec.numbers, draw), _shapes(matrices), codec.numbers)


def _rows(adapter: np.ndarray, numbers: str, spec: AdapterSpec) -> list[np.ndarray]:
    """A flat adapter as matrices: integers have a scale a row, floats travel in the adapter's own order."""
    rows = spec.rows(adapter)  # which raises where it is not of the spec
    return [adapter[None]] if numbers in FLOATS else rows


def _shapes(matrices: Sequence[np.ndarray]) -> list[Shape]:
    return [(matrix.shape[0], matrix.shape[1]) for matrix in matrices]


def _compressed(packed: bytes, zstd: bool) -> bytes:
    shorter: bytes = pa.compress(packed, codec="zstd", asbytes=True) if zstd else packed
    return shorter if len(shorter) < len(packed) else packed  # of equal length it would be taken for what it is not


def _most(part: Sized) -> int:
    """Bytes that compressed heads may come to."""
    return max(SMALL, TIMES * len(part))


def _whole(part: memoryview, length: int, zstd: bool) -> bytes | memoryview:
    """A part of a payload as it was before it was compressed. Raises WireError unless it has this length."""
    if len(part) == length:
        return part
    if not zstd or len(part) > length:
        raise WireError(f"a part of {len(part)} bytes, where its header tells {length}")
    try:
        whole: bytes = pa.decompress(part, decompressed_size=length, codec="zstd", asbytes=True)
    except OSError as error:
        raise WireError(f"a part of {len(part)} bytes that does not decompress to {length}") from error
    return whole


def _read_header(payload: bytes) -> Header:
    if len(payload) < HEADER.size:
        raise WireError(f"a payload of {len(payload)} bytes is shorter than a header ({HEADER.size})")
    magic, checksum, kind, numbers, heads, *fields = HEADER.unpack_from(payload)
    ours = magic == MAGIC and kind < 2 * ONLY_B and (kind & UP or kind & ~ONLY_B == 0)
    if not ours or numbers & ~ZSTD >= len(NUMBERS):
        raise WireError("bytes that are no fltac message")
    if len(payload) < HEADER.size + SHAPE.size * heads:
        raise WireError(f"a payload of {len(payload)} bytes is too short for the shapes of {heads} heads")
    shapes = [SHAPE.unpack_from(payload, HEADER.size + SHAPE.size * index) for index in range(heads)]
    if any(columns == 0 for _, columns, _ in shapes):  # of no classes there may be none: the model's own head is used
        raise WireError("a head without columns")
    fields.append(len(payload) - HEADER.size - SHAPE.size * heads - fields[-1])
    if fields[-1] < 0:
        raise WireError(f"a payload of {len(payload)} bytes is too short for the {fields[-2]} of its heads")
    header = Header(checksum, kind, NUMBERS[numbers & ~ZSTD], bool(numbers & ZSTD), shapes, *fields)
    if not kind & UP and (header.client, header.slot, header.choice, header.num_examples) != NOBODY:
        raise WireError("a payload that comes down, with a sender")
    if header.choice < -1:
        raise WireError(f"a choice of cluster {header.choice}")
    return header
