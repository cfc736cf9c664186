"""Payloads that were damaged or forged, and what the reader makes of them.

    .venv/bin/python benchmarks/fuzz.py [--payloads 100000] [--seed 0]

Payloads of every codec are changed: bytes flipped, cut, doubled, put elsewhere, taken from another payload, fields of
the header set to what hurts, heads that swell. Half of them then get the checksum that fits, as a forger would do it. A
reader may refuse with `WireError`, or take a forged one that is a message all the same: finite numbers of the spec's
shape, which are written and read again as they are. All else is counted as wrong, any other exception as a crash. The
exit code is 1 where there is one of either.
"""

import argparse
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fltac.config import Codec, parse_codec
from fltac.wire.codecs import HEADER, SHAPE, SMALL, TIMES, ZSTD, decode, encode, seal
from fltac.wire.messages import AdapterSpec, Broadcast, Head, Layer, Tensor, Update, WireError

SPECS = [
    AdapterSpec((Layer("query", 3, 4), Layer("value", 2, 4)), rank=2, scale=2.0),
    AdapterSpec(tuple(Layer(f"{n}", 48, 32) for n in range(4)), rank=4, scale=1.0),
    AdapterSpec((), 0, 1.0, (Tensor("weight", (3, 4)), Tensor("norm", (5,)))),
]
NUMBERS = ("float32", "float16", "bfloat16", "int8", "int4")
CODECS = [f"{numbers}{top}{zstd}" for numbers in NUMBERS for top in ("", "+top0.3") for zstd in ("", "+zstd")]
WORDS = [0, 1, 2, 3, 7, 8, 26, 127, 128, 255, 256, 65535, 2**16, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
ROOM = 80  # bytes at most that a byte of numbers takes while it is read: int4 is two numbers, which pass by as float64


def originals(draw: np.random.Generator) -> list[tuple[AdapterSpec, bytes]]:
    """Honest payloads of every spec and codec, up and down, of no head, one and three, some of zeros."""
    found = []
    for spec in SPECS:
        for text in CODECS:
            codec = parse_codec(text)
            for shapes in ((), ((2, 4),), ((3, 9), (0, 1), (2, 4))):
                heads = tuple(Head(draw.normal(size=shape).astype(np.float32), 5) for shape in shapes)
                size = spec.size_b if spec.layers and draw.random() < 0.3 else spec.size
                numbers = draw.normal(size=size).astype(np.float32) * (draw.random(size) < 0.7)
                up = Update(3, 1, 2, spec.fingerprint, numbers, heads, 7, change=codec.top is not None)
                down = Broadcast(4, spec.fingerprint, numbers, heads)
                messages = [up] if codec.top is not None else [up, replace(up, afresh=True, choice=2), down]
                found += [(spec, encode(message, codec, spec, draw)) for message in messages]
    return found


def flip(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    for at in draw.integers(len(payload), size=draw.integers(1, 9)):
        payload[at] ^= int(draw.integers(1, 256))


def cut(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    first, last = sorted(draw.integers(len(payload) + 1, size=2))
    del payload[first:last]


def double(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    first, last = sorted(draw.integers(len(payload) + 1, size=2))
    payload[last:last] = payload[first:last]


def move(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    first, last = sorted(draw.integers(len(payload) + 1, size=2))
    part = payload[first:last]
    del payload[first:last]
    at = draw.integers(len(payload) + 1)
    payload[at:at] = part


def graft(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    at, there = draw.integers(len(payload) + 1), draw.integers(len(other) + 1)
    payload[at:] = other[there:]


def field(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    """A word of the header, or of a head's shape behind it."""
    for _ in range(draw.integers(1, 3)):
        at = int(draw.integers(8, min(len(payload) - 3, HEADER.size + 36)))
        struct.pack_into("<I", payload, at, int(draw.choice(WORDS)))


def noise(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    """Everything behind some place, of any length."""
    at = int(draw.integers(8, len(payload) + 1))
    payload[at:] = draw.bytes(int(draw.integers(0, 200)))


def swell(payload: bytearray, other: bytes, draw: np.random.Generator) -> None:
    """One head of zeros, up to 2^31 bytes as told, in a few bytes of zstd."""
    rows, columns = (int(draw.choice([1, 3, 2**8, 2**11, 2**15])) for _ in range(2))
    size = 4 * rows * columns // int(draw.choice([1, 2, 4, 8]))
    part = pa.compress(bytes(min(size, 2**24)), codec="zstd", asbytes=True)
    payload[9] |= ZSTD
    struct.pack_into("<H", payload, 10, 1)
    struct.pack_into("<I", payload, HEADER.size - 4, len(part))
    kept = bytes(payload[HEADER.size : HEADER.size + 104])  # the adapter of a payload without heads, where it is one
    payload[HEADER.size :] = SHAPE.pack(rows, columns, 1) + kept + part


CHANGES: list[Callable[[bytearray, bytes, np.random.Generator], None]] = [
    flip,
    cut,
    double,
    move,
    graft,
    field,
    noise,
    swell,
]


def sound(message: Update | Broadcast, spec: AdapterSpec) -> bool:
    """Whether it is a message that somebody could have sent: the same when it is written and read again."""
    change = isinstance(message, Update) and message.change
    codec = Codec("float32", 1.0) if change else Codec("float32")
    try:
        return decode(encode(message, codec, spec, None), spec) == message
    except ValueError:
        return False


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--payloads", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    draw = np.random.default_rng(asked.seed)
    pool = originals(draw)
    honest = {payload for _, payload in pool}
    count: Counter[str] = Counter()
    most, widest, began = 0, 0.0, time.perf_counter()
    tracemalloc.start()
    for number in range(asked.payloads):
        spec, payload = pool[draw.integers(len(pool))]
        changed = bytearray(payload)
        for _ in range(draw.integers(1, 4)):
            if len(changed) >= HEADER.size:
                CHANGES[draw.integers(len(CHANGES))](changed, pool[draw.integers(len(pool))][1], draw)
        forged = number % 2 == 1 and len(changed) > 8
        sent = seal(bytes(changed)) if forged else bytes(changed)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            message = decode(sent, spec)
        except WireError:
            outcome = "refused"
        except Exception as error:
            outcome = f"CRASH {type(error).__name__}: {error}"
        else:
            outcome = "unchanged" if sent in honest else "sound" if forged and sound(message, spec) else "WRONG"
        taken = tracemalloc.get_traced_memory()[1] - before
        allowed = ROOM * (max(SMALL, TIMES * len(sent)) + 4 * spec.size)
        most, widest = max(most, taken), max(widest, taken / allowed)
        count[f"{'forged' if forged else 'damaged'}: {outcome}"] += 1
        count["TOO MUCH MEMORY"] += taken > allowed
    seconds = time.perf_counter() - began
    print(f"{asked.payloads} payloads from {len(pool)} honest ones, seed {asked.seed}, {seconds:.0f} s")
    for outcome, times in sorted(count.items()):
        if times:
            print(f"{times:8d}  {outcome}")
    print(f"most memory that one took: {most / 1e6:.1f} MB, {widest:.2f} of what is allowed")
    wrong = sum(times for outcome, times in count.items() if any(word in outcome for word in ("CRASH", "WRONG", "TOO")))
    print(f"wrong: {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
