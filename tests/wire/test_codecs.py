"""decode(encode(m)) is m as the codec says, and the bytes of a message are what its shapes say they are."""

import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fltac.config import Codec, parse_codec
from fltac.wire.codecs import HEADER, SHAPE, decode, encode, expected_bytes, measure, rounded, rounded_head, seal
from fltac.wire.messages import AdapterSpec, Broadcast, Head, Layer, Tensor, Update, WireError

SPEC = AdapterSpec((Layer("query", 3, 4), Layer("value", 2, 4)), rank=2, scale=2.0)  # p = 26, B alone 10
FLOAT32 = Codec("float32")
UINT32 = st.integers(0, 2**32 - 1)
# half of the last bit, relative, and half of the smallest step near zero
ROUNDING = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}
LARGEST = {"float32": 3e38, "float16": 65504.0, "bfloat16": 3e38, "int8": 2.0**127, "int4": 2.0**127}
DENSE = [text + zstd for text in LARGEST for zstd in ("", "+zstd")]
CODECS = [*DENSE, *(f"{text}+top0.3{zstd}" for text in LARGEST for zstd in ("", "+zstd"))]


def messages(largest: float, change: bool = False) -> st.SearchStrategy[Update | Broadcast]:
    def drawn(seed: int, *shape: int) -> np.ndarray:
        """Zeros, numbers near one, and numbers of all sizes, each row of its own kind."""
        draw = np.random.default_rng(seed)
        sizes = np.exp2(draw.uniform(-149, np.log2(largest), shape)) * draw.choice([-1, 1], shape)
        kind = draw.integers(3, size=(*shape[:-1], 1)) if seed % 2 else draw.integers(3, size=shape)
        values = np.choose(kind, [np.zeros(shape), draw.normal(size=shape), sizes])
        return np.clip(values, -largest, largest).astype(np.float32)

    vector = st.builds(drawn, UINT32, st.sampled_from([SPEC.size, SPEC.size_b]))
    matrix = st.builds(drawn, UINT32, st.integers(1, 4), st.integers(1, 5))
    heads = st.lists(st.builds(Head, matrix, UINT32), max_size=3).map(tuple)
    spec, choice = st.just(SPEC.fingerprint), st.integers(-1, 2**31 - 1)
    flags = st.booleans(), st.just(change)
    updates = st.builds(Update, UINT32, UINT32, UINT32, spec, vector, heads, UINT32, choice, *flags)
    return updates if change else updates | st.builds(Broadcast, UINT32, spec, vector, heads)


def of(text: str) -> st.SearchStrategy[Update | Broadcast]:
    return messages(LARGEST[parse_codec(text).numbers], "top" in text)


def coded(message: Update | Broadcast, text: str, seed: int = 0) -> bytes:
    return encode(message, parse_codec(text), SPEC, np.random.default_rng(seed))


def numbers(message: Update | Broadcast) -> np.ndarray:
    return np.concatenate([message.adapter, *(head.matrix.ravel() for head in message.heads)]).astype(np.float64)


def blank(message: Update | Broadcast) -> Update | Broadcast:
    """The message with its numbers forgotten."""
    heads = tuple(Head(np.zeros_like(head.matrix), head.num_examples) for head in message.heads)
    return replace(message, adapter=np.zeros_like(message.adapter), heads=heads)


def update(heads: int = 1, **more) -> Update:
    adapter = np.linspace(-1, 1, SPEC.size, dtype=np.float32)
    head = Head(np.linspace(1, 2, 8, dtype=np.float32).reshape(2, 4), 7)
    return Update(3, 1, 2, SPEC.fingerprint, adapter, (head,) * heads, 7, **more)


@pytest.mark.parametrize("text", CODECS)
@settings(max_examples=15)
@given(st.data())
def test_all_but_the_numbers_arrives_as_it_was(text, data):
    message = data.draw(of(text))
    assert blank(decode(coded(message, text), SPEC)) == blank(message)


@pytest.mark.parametrize("text", ["float32", "float32+zstd"])
@given(messages(LARGEST["float32"]))
def test_float32_loses_nothing(text, message):
    assert decode(coded(message, text), SPEC) == message


@pytest.mark.parametrize("text", [*ROUNDING, *(f"{text}+zstd" for text in ROUNDING)])
@given(st.data())
def test_floats_are_rounded_within_their_last_bit(text, data):
    message = data.draw(of(text))
    once = decode(coded(message, text), SPEC)
    relative, absolute = ROUNDING[parse_codec(text).numbers]
    assert np.all(np.abs(numbers(once) - numbers(message)) <= relative * np.abs(numbers(message)) + absolute)


@pytest.mark.parametrize("text", DENSE)
@settings(max_examples=15)
@given(st.data(), UINT32, UINT32)
def test_rounding_happens_once_whatever_is_drawn(text, data, one, other):
    message = data.draw(of(text))
    once = decode(coded(message, text, one), SPEC)
    assert decode(coded(once, text, other), SPEC) == once
    assert decode(encode(once, parse_codec(text), SPEC, None), SPEC) == once


@pytest.mark.parametrize("text", DENSE)
@settings(max_examples=15)
@given(st.data(), UINT32)
def test_what_is_rounded_alone_is_what_arrives(text, data, seed):
    message, codec = data.draw(of(text)), parse_codec(text)
    draw = np.random.default_rng(seed)
    arrived = decode(coded(message, text, seed), SPEC)
    np.testing.assert_array_equal(rounded(message.adapter, codec, SPEC, draw), arrived.adapter)
    for head, other in zip(message.heads, arrived.heads, strict=True):
        np.testing.assert_array_equal(rounded_head(head.matrix, codec, draw), other.matrix)


@pytest.mark.parametrize("text", ["int8", "int4", "int8+zstd"])
def test_a_scale_is_that_of_a_rank_component(text):
    """Each row of A and column of B has a scale of its own: a large one spoils no small one beside it."""
    message = update(heads=0)
    sizes = []
    for number, (a, b) in enumerate(SPEC.factors(message.adapter)):
        for component in range(SPEC.rank):
            a[component] = 0.7 * 10.0 ** (4 * component - number)
            b[:, component] = 0.7 * 10.0 ** (4 - 8 * component + number)
            sizes += [a[component, 0], b[0, component]]
    assert max(sizes) > 1e6 * min(sizes)
    arrived = decode(coded(message, text), SPEC).adapter
    np.testing.assert_allclose(arrived, message.adapter, rtol=2 / (127 if "int8" in text else 7))


@pytest.mark.parametrize("text", [text for text in CODECS if "zstd" not in text])
@settings(max_examples=15)
@given(st.data())
def test_length_is_a_function_of_shapes_alone(text, data):
    message, codec = data.draw(of(text)), parse_codec(text)
    payload = coded(message, text)
    shapes = [head.matrix.shape for head in message.heads]
    only_b = message.adapter.size == SPEC.size_b
    bits = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "int4": 4}[codec.numbers]
    scale = int(bits < 16)  # bytes a row
    if codec.top is None:
        adapter = scale * SPEC.rank * (2 if only_b else 4) + (bits * message.adapter.size + 7) // 8
    else:
        adapter = -(-message.adapter.size // 8) + scale + (bits * round(0.3 * message.adapter.size) + 7) // 8
    heads = scale * sum(rows for rows, _ in shapes) + (bits * sum(rows * columns for rows, columns in shapes) + 7) // 8
    header = 48 + 12 * len(shapes)
    assert measure(payload) == (len(payload), adapter, heads, header)
    assert len(payload) == adapter + heads + header == expected_bytes(SPEC, shapes, codec, only_b)


@pytest.mark.parametrize("text", CODECS)
@settings(max_examples=15)
@given(st.data(), UINT32)
def test_zstd_changes_nothing_but_the_length_and_never_makes_it_more(text, data, seed):
    plain = text.removesuffix("+zstd")
    message = data.draw(of(text))
    short, full = coded(message, f"{plain}+zstd", seed), coded(message, plain, seed)
    assert decode(short, SPEC) == decode(full, SPEC)
    assert len(short) <= len(full)
    measured = measure(short)
    assert measured.total == len(short) == sum(measured[1:])
    shapes = [head.matrix.shape for head in message.heads]
    assert len(short) <= expected_bytes(SPEC, shapes, parse_codec(text), message.adapter.size == SPEC.size_b)


def test_zstd_shortens_each_part_by_itself():
    spec = AdapterSpec((Layer("query", 200, 300),), rank=2, scale=2.0)
    noise = np.random.default_rng(0).normal(size=spec.size).astype(np.float32)
    message = Update(1, 0, 0, spec.fingerprint, noise, (Head(np.zeros((9, 50), np.float32)),), 1)
    measured = measure(encode(message, Codec("float32", zstd=True), spec, None))
    assert measured.heads < 40 < 4 * 9 * 50
    assert 0.8 * 4 * spec.size < measured.adapter <= 4 * spec.size


@pytest.mark.parametrize(
    ("text", "part"), [("float16", 1 / 2), ("int8", 1 / 4), ("int4", 1 / 8), ("int8+top0.1", 0.1 / 4 + 1 / 32)]
)
def test_of_a_real_adapter_a_codec_takes_its_part(text, part):
    """Rank 4 on query and value of six layers of width 384, as in all-MiniLM-L6-v2."""
    spec = AdapterSpec(tuple(Layer(f"{n}", 384, 384) for n in range(12)), rank=4, scale=2.0)
    draw = np.random.default_rng(0)
    message = Update(1, 0, 0, spec.fingerprint, draw.normal(size=spec.size).astype(np.float32), (), 1)
    full = measure(encode(message, FLOAT32, spec, None)).adapter
    codec = parse_codec(text)
    assert full == 4 * spec.size == 147456
    sent = encode(replace(message, change=codec.top is not None), codec, spec, draw)
    assert measure(sent).adapter == pytest.approx(part * full, rel=0.03)


def test_header_of_one_head_is_within_its_promise():
    assert HEADER.size + SHAPE.size <= 256


@pytest.mark.parametrize("text", ["bfloat16", "int8", "int4+zstd"])
def test_decoded_numbers_are_writable_float32_of_their_own(text):
    decoded = decode(coded(update(), text), SPEC)
    for one in (decoded.adapter, decoded.heads[0].matrix):
        assert one.dtype == np.float32
        one[:] = 0  # a view of the payload would refuse


def test_a_change_is_never_taken_for_an_adapter():
    change = update(change=True)
    with pytest.raises(ValueError, match="changes"):
        encode(change, FLOAT32, SPEC, None)
    with pytest.raises(ValueError, match="changes"):
        encode(update(), Codec("float32", 0.5), SPEC, None)
    assert decode(encode(change, Codec("float32", 1.0), SPEC, None), SPEC) == change != update()


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CODECS)
@settings(max_examples=15)
@given(st.data())
def test_a_truncated_payload_is_refused(text, data):
    payload = coded(data.draw(messages(1.0, "top" in text)), text)
    with pytest.raises(WireError):
        decode(payload[: data.draw(st.integers(0, len(payload) - 1))], SPEC)


@pytest.mark.parametrize("text", CODECS)
@settings(max_examples=15)
@given(st.data())
def test_changed_bytes_are_refused_and_forged_ones_are_a_message_or_refused(text, data):
    payload = coded(data.draw(messages(1.0, "top" in text)), text)
    changed = bytearray(payload)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(payload) - 1), st.integers(0, 255)), max_size=4)):
        changed[at] = byte
    if changed != payload:
        with pytest.raises(WireError):
            decode(bytes(changed), SPEC)
    try:
        forged = decode(seal(bytes(changed)), SPEC)
    except WireError:
        return
    codec = Codec("float32", 1.0) if isinstance(forged, Update) and forged.change else FLOAT32
    assert decode(encode(forged, codec, SPEC, None), SPEC) == forged


@pytest.mark.parametrize("text", ["float32+zstd", "int4+zstd"])
def test_heads_that_would_swell_are_refused_before_memory_is_taken(text):
    """A few bytes of zstd stand for as many zeros as one likes; what an honest sender has of them travels as it is."""
    zeros = Head(np.zeros((1024, 1024), np.float32))
    message = replace(update(heads=0), heads=(zeros,))
    payload = coded(message, text)
    assert measure(payload).heads == {"float32": 4 * 2**20, "int4": 2**19 + 2**10}[text[: -len("+zstd")]]
    assert decode(payload, SPEC).heads == message.heads
    packed = pa.compress(payload[-measure(payload).heads :], codec="zstd", asbytes=True)
    start = payload[: -measure(payload).heads]
    bomb = seal(start[:44] + struct.pack("<I", len(packed)) + start[48:] + packed)
    tracemalloc.start()
    with pytest.raises(WireError, match=r"heads of \d+ bytes in"):
        decode(bomb, SPEC)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2**18


@given(st.binary(max_size=200), st.booleans())
def test_bytes_of_anybody_are_refused(data, ours):
    start = HEADER.pack(b"FLT4", 0, 1, 0, 1, 1, 0, 0, -1, SPEC.fingerprint, 1, SPEC.size, 32) if ours else b""
    for reader in (measure, lambda payload: decode(seal(payload), SPEC)):
        if reader is not measure or not ours:
            with pytest.raises(WireError):
                reader(start + data)


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, b"X"), (8, b"\x02"), (8, b"\x04"), (8, b"\x10"), (8, b"\xff"), (9, b"\x05"), (9, b"\xff")],
    ids=["magic", *4 * ["kind"], *2 * ["numbers"]],
)
def test_another_header_is_refused(at, byte):
    payload = coded(update(), "float32")
    broken = payload[:at] + byte + payload[at + 1 :]
    for reader in (lambda payload: decode(payload, SPEC), measure):
        with pytest.raises(WireError, match="no fltac message"):
            reader(broken)


def test_a_payload_with_a_tail_is_refused():
    for text in ("float32", "int8+zstd"):
        with pytest.raises(WireError, match="its header tells"):
            decode(seal(coded(update(), text) + b"\x00"), SPEC)
        with pytest.raises(WireError, match="its checksum differs"):
            decode(coded(update(), text) + b"\x00", SPEC)


def test_an_adapter_of_float32_is_a_view_of_its_payload_that_nobody_may_write():
    payload = coded(update(), "float32")
    adapter = decode(payload, SPEC).adapter
    assert np.shares_memory(adapter, np.frombuffer(payload, np.uint8))
    assert not adapter.flags.writeable


def test_adapters_of_another_run_are_refused():
    with pytest.raises(WireError, match="another shape"):
        decode(coded(update(), "float32"), replace(SPEC, scale=1.0))
    with pytest.raises(ValueError, match="10 numbers, not 25"):
        encode(replace(update(), adapter=np.zeros(25, np.float32)), FLOAT32, SPEC, None)


def test_more_heads_than_there_are_bytes_is_refused():
    payload = coded(update(heads=0), "float32")
    broken = payload[:10] + b"\xff\xff" + payload[12:]
    for reader in (lambda payload: decode(payload, SPEC), measure):
        with pytest.raises(WireError, match="65535 heads"):
            reader(broken)


@pytest.mark.parametrize("text", DENSE)
@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1), (2**32 - 1, 1), (1, 2**30), (2**31, 0), (0, 2**31)])
def test_a_hostile_head_is_refused_before_memory_is_taken(text, shape):
    payload = coded(update(), text)
    broken = payload[: HEADER.size] + struct.pack("<II", *shape) + payload[HEADER.size + 8 :]
    with pytest.raises(
        WireError, match=r"heads of \d+ bytes|no fltac|where its header tells|without columns|decompress"
    ):
        decode(seal(broken), SPEC)


@pytest.mark.parametrize("text", ["float32+zstd", "int8+zstd", "float32+top0.3+zstd"])
@pytest.mark.parametrize("kept", [0, 1, 25, 27, 2**32 - 1])
def test_a_hostile_number_of_numbers_is_refused(text, kept):
    message = replace(update(change="top" in text), adapter=np.zeros(SPEC.size, np.float32))
    payload = coded(message, text)
    assert payload[40:44] == struct.pack("<I", round(SPEC.size * (0.3 if "top" in text else 1)))
    with pytest.raises(WireError, match=r"numbers|places|where its header tells|decompress"):
        decode(seal(payload[:40] + struct.pack("<I", kept) + payload[44:]), SPEC)


@pytest.mark.parametrize(
    ("text", "number"),
    [("float16", 65536.0), ("bfloat16", 3.4e38), ("int8", 3.4e38), ("int4", 3.4e38)]
    + [(text, bad) for text in LARGEST for bad in (np.nan, -np.inf)],
)
@pytest.mark.parametrize("place", ["adapter", "head"])
def test_a_number_that_does_not_fit_is_refused(text, number, place):
    message = update()
    (message.adapter if place == "adapter" else message.heads[0].matrix).flat[1] = number
    with pytest.raises(WireError, match=f"does not fit {text}"):
        coded(message, text)


MODEL = AdapterSpec((), 0, 1.0, (Tensor("weight", (3, 4)), Tensor("norm", (5,)), Tensor("scale", (2, 1, 3))))


@pytest.mark.parametrize("text", CODECS)
def test_a_whole_model_travels_with_a_scale_a_row(text):
    """Rows of every size: a step of each is 2^-6 or 2^-2 of its own largest at most."""
    codec = parse_codec(text)
    rows = MODEL.rows(np.arange(MODEL.size))
    sizes = np.concatenate([np.full(row.shape, 10.0**-number).ravel() for number, row in enumerate(rows)])
    change = (sizes * np.random.default_rng(0).uniform(0.5, 1, MODEL.size)).astype(np.float32)
    sent = Update(3, 1, 0, MODEL.fingerprint, change, (), 7, change=codec.top is not None)
    payload = encode(sent, codec, MODEL, np.random.default_rng(0))
    arrived = decode(payload, MODEL).adapter
    assert len(payload) <= expected_bytes(MODEL, [], codec)
    assert "zstd" in text or len(payload) == expected_bytes(MODEL, [], codec)
    if codec.top is None:
        step = {"int8": 2.0**-6, "int4": 2.0**-2}.get(codec.numbers, 2.0**-8)
        assert np.all(np.abs(arrived - change) <= step * sizes)
    else:
        assert np.count_nonzero(arrived) <= np.ceil(0.3 * MODEL.size)


def test_b_alone_of_a_whole_model_is_refused():
    payload = bytearray(
        encode(Broadcast(1, MODEL.fingerprint, np.zeros(MODEL.size, np.float32), ()), FLOAT32, MODEL, None)
    )
    alone = encode(Broadcast(1, SPEC.fingerprint, np.zeros(SPEC.size_b, np.float32), ()), FLOAT32, SPEC, None)
    payload[:12] = alone[:12]
    with pytest.raises(WireError, match="where the model itself is trained"):
        decode(seal(bytes(payload)), MODEL)


@pytest.mark.parametrize("sender", [{"client": 1}, {"slot": 1}, {"choice": 0}, {"num_examples": 1}])
def test_what_comes_down_has_no_sender(sender):
    fields = {"round": 1, "client": 0, "slot": 0, "choice": -1, "spec": SPEC.fingerprint, "num_examples": 0} | sender
    down = encode(Broadcast(1, SPEC.fingerprint, np.zeros(SPEC.size, np.float32), ()), FLOAT32, SPEC, None)
    start = HEADER.pack(b"FLT4", 0, 0, 0, 0, *fields.values(), SPEC.size, 0)
    with pytest.raises(WireError, match="with a sender"):
        decode(seal(start + down[HEADER.size :]), SPEC)
