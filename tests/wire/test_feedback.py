"""What was sent over rounds and what is still remembered sum to all that changed."""

import numpy as np
import pytest

from fltac.config import Codec
from fltac.config.codec import NUMBERS
from fltac.wire.codecs import decode
from fltac.wire.feedback import encode_change
from fltac.wire.messages import AdapterSpec, Layer, Update

SPEC = AdapterSpec((Layer("query", 30, 20), Layer("value", 10, 20)), rank=3, scale=2.0)


@pytest.mark.parametrize("only_b", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_sent_changes_and_the_memory_sum_to_the_changes(numbers, share, only_b):
    draw, codec = np.random.default_rng(0), Codec(numbers, share)
    size = SPEC.size_b if only_b else SPEC.size
    memory, sent, changed = np.zeros(size, np.float32), np.zeros(size), np.zeros(size)
    for round in range(1, 9):
        start = draw.normal(size=size).astype(np.float32)
        adapter = start + draw.normal(size=size).astype(np.float32)
        update = Update(round, 0, 0, SPEC.fingerprint, adapter, (), 1)
        payload, memory = encode_change(update, start, memory, codec, SPEC, draw)
        arrived = decode(payload, SPEC)
        assert arrived.change
        assert memory.dtype == np.float32
        sent, changed = sent + arrived.adapter, changed + (adapter - start)
        if share < 1:
            assert np.abs(arrived.adapter - (adapter - start)).max() > 0.1  # a round alone tells only part
    np.testing.assert_allclose(sent + memory, changed, atol=1e-5)


def test_nothing_waits_for_ever():
    """A number that is never among the largest of its round is sent once its memory is."""
    start, change = np.zeros(SPEC.size, np.float32), np.ones(SPEC.size, np.float32)
    memory, times = start, np.zeros(SPEC.size)
    change[: SPEC.size // 2] = 1.5
    for round in range(1, 31):
        update = Update(round, 0, 0, SPEC.fingerprint, change, (), 1)
        payload, memory = encode_change(update, start, memory, Codec("float32", 0.1), SPEC, np.random.default_rng(0))
        times += decode(payload, SPEC).adapter != 0
    assert times.min() >= 1
    assert times[: SPEC.size // 2].mean() > times[SPEC.size // 2 :].mean()
