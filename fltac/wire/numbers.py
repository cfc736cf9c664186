"""Numbers as bytes and back: floats, integers with a scale a row, and the few of many that are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from fltac.wire.messages import NotFiniteError, WireError

Shape = tuple[int, int]  # rows, columns
FLOATS: dict[str, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
INTEGERS = {"int8": 127, "int4": 7}  # the largest
LARGEST = 2.0**127  # of what is written as integers: rounded up it is still a float32
LEAST, ZEROS = -126, -128  # exponents: of the least scale, a normal float32; of a row of zeros


def packed_size(shapes: Sequence[Shape], numbers: str) -> int:
    """How many bytes `pack` makes of matrices of these shapes."""
    count = sum(rows * columns for rows, columns in shapes)
    if numbers in FLOATS:
        return FLOATS[numbers].itemsize * count
    return sum(rows for rows, _ in shapes) + (count if numbers == "int8" else (count + 1) // 2)


def pack(matrices: Sequence[np.ndarray], numbers: str, draw: np.random.Generator | None) -> bytes:
    """Matrices as bytes, row after row: floats to the nearest; integers after one exponent (int8) a row.

    An integer is q = floor(x / s + u), u ~ U[0, 1) from `draw`, so that E[s q] = x. The scale s of a row is the least
    power of two with max|x| <= 127 s (int4: 7 s), 2^-126 at least, so that |s q - x| < s and what was unpacked
    packs to itself whatever is drawn. Such numbers alone go without a `draw`: for others ValueError is raised.
    int4 is two to a byte, the first in the lower half. Raises WireError where a number does not fit.
    Source of unbiased rounding with a scale: QSGD, arXiv 1610.02132, section 3.1.
    """
    values = np.concatenate([np.empty(0, np.float32), *(m.ravel() for m in matrices)])
    if numbers in FLOATS:
        with np.errstate(over="ignore"):  # told below, in words
            rounded = values.astype(FLOATS[numbers])
        if not np.isfinite(rounded.astype(np.float32)).all():
            raise _misfit(values, numbers)
        return rounded.tobytes()
    if not (np.abs(values) <= LARGEST).all():
        raise _misfit(values, numbers)
    exponents, integers = [np.empty(0, np.int8)], [np.empty(0, np.int8)]
    for matrix in matrices:
        exact = matrix.astype(np.float64)
        exponent = _exponents(np.abs(exact).max(axis=1), INTEGERS[numbers])
        scaled = np.ldexp(exact, -exponent[:, None])  # exact, as float64 and a power of two are
        below = np.floor(scaled)
        rest = scaled - below  # compared, not added: floor(x + u) of a whole x could be x + 1
        if draw is None and rest.any():
            raise ValueError(f"numbers that are no {numbers} yet are rounded by a generator's draws; name one")
        up = 0 if draw is None else draw.random(rest.shape) < rest
        exponents.append(exponent.astype(np.int8))
        integers.append((below + up).astype(np.int8).ravel())
    return np.concatenate(exponents).tobytes() + _written(np.concatenate(integers), numbers)


def unpack(packed: bytes | memoryview, shapes: Sequence[Shape], numbers: str) -> list[np.ndarray]:
    """The matrices that `pack` wrote, float32: views, where they were. Raises WireError for what it would not write.

    `packed` must be `packed_size` long.
    """
    count, rows = sum(r * c for r, c in shapes), sum(r for r, _ in shapes)
    if numbers in FLOATS:
        values, exponents = np.frombuffer(packed, FLOATS[numbers]), None
    else:
        exponents = np.frombuffer(packed, np.int8, rows).astype(np.int32)
        values = _read(packed[rows:], count, numbers)
    matrices, at, row = [], 0, 0
    for r, c in shapes:
        matrix = values[at : at + r * c].reshape(r, c)
        with np.errstate(over="ignore"):  # told below
            if exponents is not None:
                own = exponents[row : row + r, None]
                matrix = np.where(own == ZEROS, 0.0, np.ldexp(matrix.astype(np.float64), own))
            matrices.append(matrix.astype(np.float32, copy=False))
        at, row = at + r * c, row + r
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise NotFiniteError("a payload with a number that is not finite")
    return matrices


def kept_of(size: int, share: float) -> int:
    """How many of so many numbers a share is, one at least."""
    return max(1, round(share * size))


def packed_kept_size(size: int, kept: int, numbers: str) -> int:
    """How many bytes `pack_kept` makes."""
    return (size + 7) // 8 + packed_size([(1, kept)], numbers)


def pack_kept(values: np.ndarray, share: float, numbers: str, draw: np.random.Generator | None) -> bytes:
    """The largest of some numbers (n,), of equals the first: a bit a place, then those kept as one row."""
    if not np.isfinite(values).all():  # of those that are left out too, which would stay with the client
        raise _misfit(values, numbers)
    places = np.argsort(-np.abs(values), kind="stable")[: kept_of(values.size, share)]
    there = np.zeros(values.size, dtype=bool)
    there[places] = True
    return np.packbits(there).tobytes() + pack([values[None, there]], numbers, draw)


def unpack_kept(packed: bytes | memoryview, size: int, kept: int, numbers: str) -> np.ndarray:
    """What `pack_kept` wrote, zero where nothing was kept (n,). Raises WireError for what it would not write."""
    bits = (size + 7) // 8
    places = np.flatnonzero(np.unpackbits(np.frombuffer(packed, np.uint8, bits)))
    if len(places) != kept or (places >= size).any():
        raise WireError(f"a payload that names {len(places)} places, where its header tells {kept} of {size}")
    values = np.zeros(size, dtype=np.float32)
    values[places] = unpack(packed[bits:], [(1, kept)], numbers)[0][0]
    return values


def _exponents(largest: np.ndarray, top: int) -> np.ndarray:
    """For each row's largest the least e >= LEAST with largest <= top * 2^e; ZEROS where it is zero."""
    mantissa, exponent = np.frexp(largest / top)  # in [1/2, 1); 53 bits tell any float32 from top times a power of two
    exponent = np.maximum(np.where(mantissa == 0.5, exponent - 1, exponent), LEAST)
    return np.where(largest == 0, ZEROS, exponent)


def _written(integers: np.ndarray, numbers: str) -> bytes:
    if numbers == "int8":
        return integers.tobytes()
    halves = np.zeros(2 * math.ceil(integers.size / 2), dtype=np.uint8)
    halves[: integers.size] = integers.view(np.uint8) & 15
    return (halves[0::2] | halves[1::2] << 4).tobytes()


def _read(packed: bytes | memoryview, count: int, numbers: str) -> np.ndarray:
    integers = np.frombuffer(packed, np.int8)
    if numbers == "int4":
        pairs = integers.view(np.uint8)
        halves = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:count]
        integers = (halves ^ 8).astype(np.int8) - np.int8(8)  # two's complement of four bits
    if (integers < -INTEGERS[numbers]).any():
        raise WireError(f"a payload with an integer that is no {numbers} of ours")
    return integers


def _misfit(values: np.ndarray, numbers: str) -> WireError:
    largest = float(np.abs(values).max())
    return WireError(f"a number of the adapter does not fit {numbers} (largest {largest:g}); lower the learning rate")
