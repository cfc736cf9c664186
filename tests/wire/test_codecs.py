"""decode(encode(m)) == m, and the bytes of a message are what its shapes say they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fltac.wire.codecs import DTYPES, WireError, decode, encode, expected_bytes, measure
from fltac.wire.messages import Broadcast, Head, Update

UINT32 = st.integers(0, 2**32 - 1)
# half of the last bit, relative, and half of the smallest step near zero
ROUNDING = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}
LARGEST = {"float32": 3e38, "float16": 65504.0, "bfloat16": 3e38}


def messages(largest: float) -> st.SearchStrategy[Update | Broadcast]:
    bound = float(np.float32(largest))
    number = st.floats(-bound, bound, width=32)
    vector = arrays(np.float32, st.integers(0, 20), elements=number)
    matrix = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=number)
    heads = st.lists(st.builds(Head, matrix, UINT32), max_size=3).map(tuple)
    spec = st.binary(min_size=8, max_size=8)
    examples, choice = st.integers(0, 2**64 - 1), st.integers(-1, 2**31 - 1)
    updates = st.builds(Update, UINT32, UINT32, UINT32, spec, vector, heads, examples, choice, st.booleans())
    return updates | st.builds(Broadcast, UINT32, spec, vector, heads)


def numbers(message: Update | Broadcast) -> np.ndarray:
    return np.concatenate([message.adapter, *(head.matrix.ravel() for head in message.heads)]).astype(np.float64)


def update(heads: int = 1) -> Update:
    adapter = np.arange(5, dtype=np.float32)
    return Update(3, 1, 2, b"12345678", adapter, (Head(np.ones((2, 4), np.float32), 7),) * heads, 7)


@given(messages(LARGEST["float32"]))
def test_float32_loses_nothing(message):
    assert decode(encode(message, "float32")) == message


@pytest.mark.parametrize("dtype", ROUNDING)
@given(data=st.data())
def test_rounding_is_within_the_dtype_and_happens_once(dtype, data):
    message = data.draw(messages(LARGEST[dtype]))
    once = decode(encode(message, dtype))
    relative, absolute = ROUNDING[dtype]
    assert np.all(np.abs(numbers(once) - numbers(message)) <= relative * np.abs(numbers(message)) + absolute)
    assert decode(encode(once, dtype)) == once


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_length_is_a_function_of_shapes_alone(dtype, data):
    message = data.draw(messages(LARGEST[dtype]))
    payload = encode(message, dtype)
    itemsize = 4 if dtype == "float32" else 2
    head_sizes = [head.matrix.size for head in message.heads]
    assert len(payload) == 48 + 12 * len(head_sizes) + itemsize * (message.adapter.size + sum(head_sizes))
    assert len(payload) == expected_bytes(message.adapter.size, head_sizes, dtype)
    assert measure(payload) == (len(payload), itemsize * sum(head_sizes))


def test_header_of_one_head_is_within_its_promise():
    assert len(encode(update(), "float32")) - 4 * (5 + 2 * 4) <= 256


def test_decoded_numbers_are_writable_float32_of_their_own():
    decoded = decode(encode(update(), "bfloat16"))
    assert decoded.adapter.dtype == np.float32
    assert decoded.heads[0].matrix.dtype == np.float32
    decoded.adapter[:] = 0  # a view of the payload would refuse


@given(messages(1.0), st.data())
def test_a_truncated_payload_is_refused(message, data):
    payload = encode(message, "float32")
    with pytest.raises(WireError):
        decode(payload[: data.draw(st.integers(0, len(payload) - 1))])


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, b"X"), (4, b"\x00"), (4, b"\x04"), (5, b"\x03"), (5, b"\xff")],
    ids=["magic", *2 * ["kind"], *2 * ["dtype"]],
)
def test_another_header_is_refused(at, byte):
    payload = encode(update(), "float32")
    broken = payload[:at] + byte + payload[at + 1 :]
    for reader in (decode, measure):
        with pytest.raises(WireError, match="no fltac message"):
            reader(broken)


def test_a_payload_with_a_tail_is_refused():
    with pytest.raises(WireError, match="its header tells"):
        decode(encode(update(), "float32") + b"\x00")


def test_more_heads_than_there_are_bytes_is_refused():
    payload = encode(update(heads=0), "float32")
    broken = payload[:6] + b"\xff\xff" + payload[8:]
    for reader in (decode, measure):
        with pytest.raises(WireError, match="65535 heads"):
            reader(broken)


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("float16", 65536.0), ("bfloat16", 3.4e38), *((dtype, bad) for dtype in DTYPES for bad in (np.nan, -np.inf))],
)
@pytest.mark.parametrize("place", ["adapter", "head"])
def test_a_number_that_does_not_fit_is_refused(dtype, number, place):
    message = update()
    (message.adapter if place == "adapter" else message.heads[0].matrix).flat[1] = number
    with pytest.raises(WireError, match=f"does not fit {dtype}"):
        encode(message, dtype)
