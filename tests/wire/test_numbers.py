"""Integers with a scale a row: near, right in the mean, and the same when rounded again; and the largest are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fltac.config.codec import NUMBERS
from fltac.wire.messages import WireError
from fltac.wire.numbers import INTEGERS, kept_of, pack, pack_kept, packed_kept_size, packed_size, unpack, unpack_kept

TINY = 2.0**-126  # the least scale
SHAPES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), max_size=3)
SEEDS = st.integers(0, 2**32)


@st.composite
def matrices(draw, largest=2.0**127):
    number = st.floats(-largest, largest, width=32) | st.floats(-1, 1, width=32)
    return [draw(arrays(np.float32, shape, elements=number)) for shape in draw(SHAPES)]


def arrived(matrices, numbers, seed=0):
    packed = pack(matrices, numbers, np.random.default_rng(seed))
    assert len(packed) == packed_size([matrix.shape for matrix in matrices], numbers)
    return unpack(packed, [matrix.shape for matrix in matrices], numbers)


@pytest.mark.parametrize("numbers", INTEGERS)
@given(matrices(), SEEDS)
def test_each_row_is_off_by_less_than_its_scale(numbers, given, seed):
    for one, other in zip(given, arrived(given, numbers, seed), strict=True):
        exact, got = one.astype(np.float64), other.astype(np.float64)
        largest = np.abs(exact).max(axis=1, keepdims=True)
        scale = np.maximum(2 * largest / INTEGERS[numbers], TINY)  # s < 2 max|x| / 127
        assert np.all(np.abs(got - exact) <= np.where(largest > 0, scale, 0))


@pytest.mark.parametrize(("numbers", "scale"), [("int8", 2.0**-6), ("int4", 2.0**-2)])
def test_scales_by_hand(numbers, scale):
    """127 / 64 and 7 / 4 are the largest numbers with these scales; a bit more, and they double."""
    top = np.float32(INTEGERS[numbers] * scale)
    rows = np.array([[top, 0.3], [np.nextafter(top, np.float32(9)), 0.3]], dtype=np.float32)
    draws = np.stack([arrived([rows], numbers, seed)[0][:, 1] for seed in range(20)]).astype(np.float64)
    for row, step in enumerate((scale, 2 * scale)):
        below = np.floor(np.float64(rows[row, 1]) / step) * step
        assert set(draws[:, row]) == {below, below + step}


@pytest.mark.parametrize("numbers", INTEGERS)
@given(matrices(), SEEDS, SEEDS)
def test_what_was_rounded_stays_as_it_is_whatever_is_drawn_or_nothing(numbers, given, one, other):
    once = arrived(given, numbers, one)
    shapes = [matrix.shape for matrix in given]
    again = [arrived(once, numbers, other), unpack(pack(once, numbers, None), shapes, numbers)]
    for twice in again:
        for before, after in zip(once, twice, strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("numbers", INTEGERS)
def test_numbers_that_are_not_rounded_need_draws(numbers):
    with pytest.raises(ValueError, match="generator"):
        pack([np.array([[1.0, 0.3]], np.float32)], numbers, None)


@pytest.mark.parametrize("numbers", INTEGERS)
def test_rounding_is_right_in_the_mean(numbers):
    """A draw's variance is at most (s / 2)^2, so the mean of n lies within 5 s / (2 sqrt(n)) but once in 10^6."""
    count, draw = 4000, np.random.default_rng(0)
    rows = (draw.normal(size=(3, 40)) * [[1e-3], [1.0], [1e3]]).astype(np.float32)
    total = np.zeros(rows.shape)
    for _ in range(count):
        total += unpack(pack([rows], numbers, draw), [rows.shape], numbers)[0]
    scale = 2 * np.abs(rows).max(axis=1, keepdims=True) / INTEGERS[numbers]
    assert np.all(np.abs(total / count - rows) < 5 * scale / 2 / np.sqrt(count))


def test_int4_is_two_to_a_byte_and_keeps_its_signs():
    row = np.arange(-7, 8, dtype=np.float32)[None]
    packed = pack([row], "int4", None)
    assert len(packed) == 1 + 8
    assert packed[:3] == bytes([0, 0b1010_1001, 0b1100_1011])  # 2^0; -7 = 1001, -6 = 1010, -5 = 1011, -4 = 1100
    np.testing.assert_array_equal(unpack(packed, [row.shape], "int4")[0], row)


def test_a_row_of_zeros_and_a_row_too_small_for_a_scale_arrive():
    rows = np.array([[0, -0.0], [1e-45, 0], [1, 0.5]], np.float32)
    got = arrived([rows], "int8")[0]
    np.testing.assert_array_equal(got[[0, 2]], rows[[0, 2]])
    assert np.all(np.abs(got[1]) <= TINY)


@pytest.mark.parametrize("numbers", INTEGERS)
@pytest.mark.parametrize("bad", [3e38, -3e38, np.inf, np.nan])
def test_what_could_be_rounded_up_to_no_number_is_refused(numbers, bad):
    with pytest.raises(WireError, match=f"does not fit {numbers}"):
        pack([np.array([[1, bad]], np.float32)], numbers, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("packed", "numbers"),
    [(b"\x00\x80", "int8"), (b"\x00\x08", "int4"), (b"\x7f\x7f", "int8"), (b"\x7f\x07", "int4")],
)
def test_integers_that_are_none_of_ours_are_refused(packed, numbers):
    with pytest.raises(WireError):
        unpack(packed, [(1, 1)], numbers)


@pytest.mark.parametrize("numbers", ["float32", "float16", "bfloat16"])
def test_floats_that_are_not_finite_are_refused(numbers):
    with pytest.raises(WireError, match="not finite"):
        unpack(b"\xff" * packed_size([(1, 1)], numbers), [(1, 1)], numbers)


@pytest.mark.parametrize("numbers", NUMBERS)
@given(st.data())
def test_the_largest_are_kept_and_the_rest_are_zero(numbers, data):
    whole = data.draw(arrays(np.int8, st.integers(1, 30), elements=st.integers(-7, 7)))  # each codec holds these
    values, share = whole.astype(np.float32), data.draw(st.floats(0.01, 1))
    packed, kept = pack_kept(values, share, numbers, None), kept_of(len(values), share)
    assert (
        len(packed)
        == packed_kept_size(len(values), kept, numbers)
        == (len(values) + 7) // 8 + len(pack([np.zeros((1, kept), np.float32)], numbers, None))
    )
    got = unpack_kept(packed, len(values), kept, numbers)
    expected, places = np.zeros_like(values), sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:kept]
    expected[places] = values[places]
    np.testing.assert_array_equal(got, expected)


def test_a_share_is_of_all_numbers_and_never_none():
    assert [kept_of(1000, 0.1), kept_of(5, 0.01), kept_of(7, 1.0), kept_of(30, 0.1)] == [100, 1, 7, 3]


@pytest.mark.parametrize("bits", [0b1100_0000, 0b0000_0000, 0b0000_0100], ids=["two", "none", "beyond the last"])
def test_places_that_are_not_as_many_as_were_told_are_refused(bits):
    with pytest.raises(WireError, match="places"):
        unpack_kept(bytes([bits, 0, 1]), 5, 1, "int8")


def test_a_number_that_is_left_out_must_be_one_too():
    with pytest.raises(WireError, match="does not fit"):
        pack_kept(np.array([1, np.nan, 2], np.float32), 0.3, "float32", None)
