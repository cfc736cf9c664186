"""Unit costs of docs/scale.md: seconds of one core and bytes for one adapter of 36,864 numbers.

    python -m benchmarks.units

Processor time, so that a busy machine disturbs it less; the median of ten blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.planted import Planted
from fltac.config import parse_codec
from fltac.wire.codecs import decode, encode
from fltac.wire.messages import Head, Update

BLOCKS, EACH = 10, 20


def main() -> None:
    planted, codec = Planted(10), parse_codec("float32")
    spec, head = planted.spec, (Head(np.zeros((2, 385), np.float32), 64),)
    adapter = planted.adapter(0, 0, planted.start)
    update = Update(1, 0, 0, spec.fingerprint, adapter, head, 64)
    payload = encode(update, codec, spec, None)
    total = np.zeros(spec.size)
    with threadpool_limits(1):
        print(f"payload {len(payload):,} bytes")
        print(f"encode  {cost(lambda: encode(update, codec, spec, None)):8.1f} us")
        print(f"decode  {cost(lambda: decode(payload, spec)):8.1f} us")
        print(f"add     {cost(lambda: np.add(total, 0.5 * adapter, out=total)):8.1f} us (to a mean, in float64)")


def cost(do: Callable[[], object]) -> float:
    """Microseconds of one core."""
    took = []
    for _ in range(BLOCKS):
        began = time.process_time()
        for _ in range(EACH):
            do()
        took.append((time.process_time() - began) / EACH)
    return statistics.median(took) * 1e6


if __name__ == "__main__":
    main()
