"""Means by hand, and what averaging the factors apart costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.config import Mean, Median, NormClip, ProductSvd, TrimmedMean
from fltac.server.merging import (
    AVERAGES,
    MERGERS,
    aggregation_error,
    mean,
    median,
    norm_clip,
    outlier_scores,
    product_svd,
    trimmed_mean,
    weights,
)

SVD = ProductSvd(type="product_svd")
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
    merged = mean(adapters, weights(np.array([1, 3]), rule))
    np.testing.assert_array_equal(merged, expected)
    assert merged.dtype == np.float32


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
    weight = weights(draw.integers(1, 99, count), rule)
    merged = MERGERS["mean"](adapters, weight, Mean(type="mean"), spec)
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


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, count=counts)
def test_product_svd_is_the_nearest_of_its_rank_to_the_mean_product(rule, spec, dense, seed, count):
    draw = np.random.default_rng(seed)
    adapters = draw.normal(size=(count, spec.size)).astype(np.float32)
    weight = weights(draw.integers(1, 99, count), rule)
    merged = product_svd(adapters, weight, SVD, spec)
    assert merged.shape == (spec.size,)
    for products, found in zip(dense(adapters), dense(merged), strict=True):
        u, s, vt = np.linalg.svd(np.tensordot(weight, products, axes=1))
        nearest = u[:, : spec.rank] * s[: spec.rank] @ vt[: spec.rank]
        np.testing.assert_allclose(found, nearest, atol=1e-5)


@given(seed=seeds, count=counts)
def test_product_svd_is_free_of_gauge_and_exact_for_equals(spec, dense, seed, count):
    draw = np.random.default_rng(seed)
    adapters = np.repeat(draw.normal(size=(1, spec.size)), count, axis=0).astype(np.float32)
    turned = adapters.copy()
    for a, b in spec.factors(turned):
        turns = np.linalg.qr(draw.normal(size=(count, spec.rank, spec.rank)))[0]
        b[:], a[:] = b @ turns, turns.transpose(0, 2, 1) @ a
    for found, product in zip(
        dense(product_svd(turned, np.full(count, 1 / count), SVD, spec)), dense(adapters), strict=True
    ):
        np.testing.assert_allclose(found, product[0], atol=1e-4)


def test_product_svd_of_what_changes_nothing_changes_nothing_and_can_learn(spec, dense):
    adapters = np.random.default_rng(0).normal(size=(2, spec.size)).astype(np.float32)
    for _, b in spec.factors(adapters):
        b[:] = 0
    merged = product_svd(adapters, np.full(2, 0.5), SVD, spec)
    assert all(not product.any() for product in dense(merged))
    for a, b in spec.factors(merged):
        assert not b.any()
        np.testing.assert_allclose(a @ a.T, np.eye(spec.rank), atol=1e-6)  # B's gradient goes through A


# -- merging where some members are poisoned ----------------------------------------------------------------

MEDIAN = Median(type="median")
ROBUST = [TrimmedMean(type="trimmed_mean"), TrimmedMean(type="trimmed_mean", trim=0.1), MEDIAN]
ROBUST += [NormClip(type="norm_clip"), NormClip(type="norm_clip", factor=2)]


def test_trimmed_mean_by_hand():
    stacked = np.array([[0, 9], [1, 5], [2, 6], [100, -100], [3, 7]], np.float32)
    config = TrimmedMean(type="trimmed_mean", trim=0.2)  # one at either end
    np.testing.assert_allclose(trimmed_mean(stacked, np.full(5, 0.2), config), [2, 6])
    weight = np.array([0.1, 0.1, 0.4, 0.2, 0.2])  # kept are (1, 2, 3) and (5, 6, 7) with .1, .4, .2
    np.testing.assert_allclose(
        trimmed_mean(stacked, weight, config), [(0.1 + 0.8 + 0.6) / 0.7, (0.5 + 2.4 + 1.4) / 0.7]
    )
    assert trimmed_mean(stacked[:2], np.full(2, 0.5), config).tolist() == [0.5, 7]  # too few to leave one out


def test_median_by_hand():
    stacked = np.array([[0, 9], [1, 5], [100, -100]], np.float32)
    assert median(stacked, np.full(3, 1 / 3), MEDIAN).tolist() == [1, 5]


def test_norm_clip_by_hand():
    stacked = np.array(
        [[0, 0], [3, 4], [0, 10], [-100, 0], [0, 0]], np.float32
    )  # median (0, 0), distances 0 5 10 100 0
    clipped = norm_clip(stacked, np.full(5, 0.2), NormClip(type="norm_clip"))  # to 5: (3, 4), (0, 5), (-5, 0)
    np.testing.assert_allclose(clipped, [(3 - 5) / 5, (4 + 5) / 5], rtol=1e-6)


def test_who_has_no_weight_is_not_looked_at():
    stacked = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    config, some = NormClip(type="norm_clip"), np.array([0.5, 0.25, 0, 0.25, 0])
    expected = norm_clip(stacked[[0, 1, 3]], some[[0, 1, 3]], config)
    np.testing.assert_array_equal(norm_clip(stacked, some, config), expected)
    np.testing.assert_array_equal(weights(np.array([3, 1]), "examples", np.zeros(2)), [0.5, 0.5])


def test_outlier_scores_by_hand():
    assert outlier_scores(np.float32([[0, 0], [3, 4], [0, 10], [-100, 0], [0, 0]])) == [0, 1, 2, 20, 0]
    assert outlier_scores(np.float32([[0], [1]])) == [None, None]
    assert outlier_scores(np.float32([[1], [1], [1], [5]])) == [None] * 4


@pytest.mark.parametrize("config", ROBUST, ids=str)
@given(seed=seeds, count=counts)
def test_robust_means_of_equals_are_the_member_and_know_no_order(config, seed, count):
    draw = np.random.default_rng(seed)
    average, member = AVERAGES[config.type], draw.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(average(np.stack([member] * count), np.full(count, 1 / count), config), member)
    several, weight = draw.normal(size=(count, 2, 3)).astype(np.float32), np.full(count, 1 / count)
    merged = average(several, weight, config)
    assert (merged.dtype, merged.shape) == (np.float32, (2, 3))
    np.testing.assert_allclose(average(several[draw.permutation(count)], weight, config), merged, atol=1e-6)


@pytest.mark.parametrize("config", ROBUST, ids=str)
@pytest.mark.parametrize("poison", [-1e6, 1e15])
def test_one_of_ten_draws_a_robust_mean_no_further_than_the_honest_lie_apart(config, poison):
    honest = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    sent = np.vstack([honest, np.full((1, 40), poison, np.float32)])
    merged = AVERAGES[config.type](sent, np.full(10, 0.1), config)
    apart = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.linalg.norm(merged - honest.mean(axis=0)) < apart
    assert np.linalg.norm(mean(sent, np.full(10, 0.1)) - honest.mean(axis=0)) > 1000 * apart
    assert outlier_scores(sent)[-1] > 1000 > 2 > max(outlier_scores(sent)[:-1])


@pytest.mark.parametrize("config", ROBUST, ids=str)
def test_where_a_is_frozen_robust_merging_leaves_it(config, spec):
    adapters = np.random.default_rng(0).normal(size=(7, spec.size)).astype(np.float32)
    for a, _ in spec.factors(adapters):
        a[:] = a[0]
    merged = MERGERS[config.type](adapters, np.full(7, 1 / 7), config, spec)
    for (a, _), (before, _) in zip(spec.factors(merged), spec.factors(adapters[0]), strict=True):
        np.testing.assert_array_equal(a, before)
