"""The shape of adapters, agreed once, and messages that cannot name a task."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.wire.messages import AdapterSpec, Broadcast, Head, Layer, Update

SPEC = AdapterSpec((Layer("query", 2, 3), Layer("value", 1, 2)), rank=1, scale=2.0)
specs = st.builds(
    AdapterSpec,
    layers=st.lists(
        st.builds(Layer, st.just("layer"), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3
    ).map(tuple),
    rank=st.integers(1, 3),
    scale=st.just(1.0),
)


def test_messages_name_no_task():
    assert [field.name for field in fields(Update)] == [
        *("round", "client", "slot", "spec", "adapter", "heads", "num_examples", "choice", "afresh", "change")
    ]
    assert [field.name for field in fields(Broadcast)] == ["round", "spec", "adapter", "heads"]


def test_size_counts_both_factors_of_each_layer():
    assert SPEC.size == (3 + 2) + (2 + 1)


def test_factors_lie_layer_by_layer_a_before_b():
    (query_a, query_b), (value_a, value_b) = SPEC.factors(np.arange(8.0))
    np.testing.assert_array_equal(query_a, [[0, 1, 2]])  # (r, d_in)
    np.testing.assert_array_equal(query_b, [[3], [4]])  # (d_out, r)
    np.testing.assert_array_equal(value_a, [[5, 6]])
    np.testing.assert_array_equal(value_b, [[7]])


def test_factors_are_views():
    flat = np.zeros(8)
    for a, b in SPEC.factors(flat):
        a[:], b[:] = 1, 2
    np.testing.assert_array_equal(flat, [1, 1, 1, 2, 2, 1, 1, 2])


@given(specs, st.integers(1, 3))
def test_factors_hold_every_number_once_and_in_order(spec, count):
    stacked = np.arange(count * spec.size, dtype=np.float32).reshape(count, spec.size)
    parts = [part.reshape(count, -1) for factors in spec.factors(stacked) for part in factors]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), stacked)
    for row in range(count):
        for (a, b), (one_a, one_b) in zip(spec.factors(stacked), spec.factors(stacked[row]), strict=True):
            np.testing.assert_array_equal(a[row], one_a)
            np.testing.assert_array_equal(b[row], one_b)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_factors_refuse_another_length(length):
    with pytest.raises(ValueError, match=f"has 8 numbers, not {length}"):
        SPEC.factors(np.zeros(length))


def test_fingerprint_is_eight_bytes_of_the_content():
    again = AdapterSpec((Layer("query", 2, 3), Layer("value", 1, 2)), rank=1, scale=2.0)
    assert again.fingerprint == SPEC.fingerprint
    assert len(SPEC.fingerprint) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 2},
        {"scale": 1.0},
        {"layers": SPEC.layers[:1]},
        {"layers": SPEC.layers[::-1]},
        {"layers": (Layer("query", 3, 2), Layer("value", 1, 2))},
        {"layers": (Layer("key", 2, 3), Layer("value", 1, 2))},
    ],
    ids=str,
)
def test_fingerprint_changes_with(change):
    assert replace(SPEC, **change).fingerprint != SPEC.fingerprint


def test_messages_are_equal_by_content():
    def update(number: float, head: float) -> Update:
        return Update(1, 0, 0, b"12345678", np.array([number]), (Head(np.array([[head]]), 4),), 4)

    assert update(1, 2) == update(1, 2)
    assert update(1, 2) != update(9, 2)
    assert update(1, 2) != update(1, 9)
    assert update(1, 2) != Broadcast(1, b"12345678", np.array([1]), ())


@given(specs)
def test_b_comes_out_as_it_went_in_and_a_stays(spec):
    flat, b = np.arange(spec.size, dtype=np.float32), -np.arange(spec.size_b, dtype=np.float32)
    whole = spec.with_b(flat, b)
    np.testing.assert_array_equal(spec.only_b(whole), b)
    np.testing.assert_array_equal(spec.with_b(whole, spec.only_b(flat)), flat)
    np.testing.assert_array_equal(spec.with_b(flat, spec.only_b(flat)), flat)


def test_another_length_of_b_is_refused():
    with pytest.raises(ValueError, match="has 3 numbers, not 4"):
        SPEC.with_b(np.zeros(8), np.zeros(4))
