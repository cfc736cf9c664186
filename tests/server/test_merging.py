"""Means by hand, and what averaging the factors apart costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.config import Mean
from fltac.server.merging import MERGERS, aggregation_error, mean, mean_adapter, weights

RULES = ["uniform", "examples"]
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 6)


@pytest.mark.parametrize("rule", RULES)
@given(examples=st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_weights_are_positive_and_sum_to_one(rule, examples):
    weight = weights(np.array(examples), rule)
    assert weight.sum() == pytest.approx(1)
    assert np.all(weight > 0)


def test_weights_by_hand():
    np.testing.assert_array_equal(weights(np.array([1, 3]), "uniform"), [0.5, 0.5])
    np.testing.assert_array_equal(weights(np.array([1, 3]), "examples"), [0.25, 0.75])


@pytest.mark.parametrize(("rule", "expected"), [("uniform", [2.0, 4.0]), ("examples", [3.0, 6.0])])
def test_mean_by_hand(rule, expected):
    adapters = np.array([[0, 0], [4, 8]], dtype=np.float32)
    merged, weight = MERGERS["mean"](adapters, np.array([1, 3]), Mean(type="mean", weights=rule))
    np.testing.assert_array_equal(merged, expected)
    assert merged.dtype == np.float32
    np.testing.assert_array_equal(weight, weights(np.array([1, 3]), rule))


@given(seeds, counts)
def test_the_mean_of_equals_is_the_member(seed, count):
    member = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    merged = mean(np.stack([member] * count), np.full(count, 1 / count))
    np.testing.assert_allclose(merged, member, rtol=1e-6)


def test_the_mean_is_summed_in_float64():
    # in float32 the small member would vanish beside the large ones: 2^25 + 4 - 2^25
    stacked = np.array([[2.0**25], [4.0], [-(2.0**25)], [0.0]], dtype=np.float32)
    np.testing.assert_array_equal(mean(stacked, np.full(4, 0.25)), [1.0])


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, count=counts)
def test_aggregation_error_equals_the_dense_one(rule, spec, dense, seed, count):
    draw = np.random.default_rng(seed)
    adapters = draw.normal(size=(count, spec.size)).astype(np.float32)
    merged, weight = mean_adapter(adapters, draw.integers(1, 99, count), Mean(type="mean", weights=rule))
    exact = [np.tensordot(weight, products, axes=1) for products in dense(adapters)]
    gap = [product - one for product, one in zip(dense(merged), exact, strict=True)]
    expected = np.sqrt(sum(np.sum(g**2) for g in gap) / sum(np.sum(e**2) for e in exact))
    assert aggregation_error(adapters, merged, weight, spec) == pytest.approx(expected, abs=1e-6)


def test_aggregation_error_is_nothing_where_one_factor_is_common(spec):
    adapters = np.random.default_rng(0).normal(size=(4, spec.size))
    for a, _ in spec.factors(adapters):
        a[:] = a[0]  # A frozen at the start, as in FFA-LoRA: then the mean is exact
    assert aggregation_error(adapters, adapters.mean(axis=0), np.full(4, 0.25), spec) < 1e-7


def test_aggregation_error_of_adapters_that_change_nothing_is_nought(spec):
    assert aggregation_error(np.zeros((3, spec.size)), np.zeros(spec.size), np.full(3, 1 / 3), spec) == 0
