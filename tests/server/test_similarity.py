"""Euclidean distance between points is the dissimilarity that the docstrings give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from fltac.config import Flat, Product
from fltac.server.similarity import SIMILARITIES, around_mean, flat, layer_grams, plane
from fltac.server.similarity import product as product_of

CONFIGS = [Flat(type="flat"), Product(type="product")]

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 7)


def draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def product(adapters, spec) -> np.ndarray:
    return product_of(adapters, np.zeros(spec.size), spec, Product(type="product"))


def dense_distances(products: list[np.ndarray]) -> np.ndarray:
    """sqrt(2 - 2 mean_l cos), pair by pair, from the matrices themselves."""
    cosines = []
    for matrices in products:
        rows = matrices.reshape(len(matrices), -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines.append(rows @ rows.T)
    return np.sqrt(np.clip(2 - 2 * np.mean(cosines, axis=0), 0, None))


@given(seeds, counts)
def test_product_distance_equals_the_dense_computation(spec, dense, seed, count):
    adapters = draw(seed, (count, spec.size)).astype(np.float32)
    distances = squareform(pdist(product(adapters, spec)))
    np.testing.assert_allclose(distances, dense_distances(dense(adapters)), atol=1e-5)


@given(seeds, counts)
def test_product_is_free_of_gauge(spec, seed, count):
    adapters = draw(seed, (count, spec.size))
    turned = adapters.copy()
    turns = np.eye(spec.rank) + draw(seed + 1, (count, spec.rank, spec.rank)) / 4
    for a, b in spec.factors(turned):
        b[:], a[:] = b @ turns, np.linalg.inv(turns) @ a
    assert np.abs(pdist(product(turned, spec)) - pdist(product(adapters, spec))).max(initial=0) < 1e-5


def test_product_of_an_unchanged_layer_is_orthogonal_to_all(spec):
    adapters = draw(0, (3, spec.size))
    spec.factors(adapters[0])[0][1][:] = 0  # the first layer of the first adapter: B = 0
    spec.factors(adapters[1])[1][1][:] = 0  # and the second layer of the second
    distances = squareform(pdist(product(adapters, spec)))
    assert distances[0, 1] == pytest.approx(np.sqrt(2))  # no layer in common
    assert distances[0, 0] == 0
    v0 = np.zeros((2, spec.size))
    assert pdist(product(v0, spec)) == pytest.approx([np.sqrt(2)])


@given(seeds, counts)
def test_layer_grams_are_inner_products_of_the_changes(spec, dense, seed, count):
    adapters = draw(seed, (count, spec.size))
    for gram, matrices in zip(layer_grams(adapters, spec), dense(adapters), strict=True):
        rows = matrices.reshape(count, -1)
        np.testing.assert_allclose(gram, rows @ rows.T, atol=1e-9)


def test_flat_distance_is_euclidean(spec):
    adapters = np.zeros((2, spec.size), np.float32)
    adapters[0, 0], adapters[1, 1] = 3, 4
    start = draw(0, (spec.size,))
    assert pdist(flat(adapters + start, start, spec, Flat(type="flat"))) == pytest.approx([5])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_v0_is_the_origin(spec, config):
    start = draw(0, (spec.size,)).astype(np.float32)
    for _, b in spec.factors(start):
        b[:] = 0
    adapters = np.stack([start, start + draw(1, (spec.size,)).astype(np.float32)])
    points = SIMILARITIES[config.type](adapters, start, spec, config)
    assert points[0] @ points[1] == pytest.approx(0, abs=1e-6)


@given(seeds, st.integers(3, 7), st.floats(-5, 5))
def test_around_the_mean_what_is_common_goes_and_lengths_are_one(seed, count, common):
    points = draw(seed, (count, 9))
    seen = around_mean(points + common)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1)
    off = points - points.mean(axis=0)
    np.testing.assert_allclose(seen, off / np.linalg.norm(off, axis=1, keepdims=True), atol=1e-9)


@given(seeds, st.integers(1, 7))
def test_around_the_mean_of_equal_adapters_nothing_is_left(spec, seed, count):
    adapters = np.repeat(draw(seed, (1, spec.size)), count, axis=0).astype(np.float32)
    assert not around_mean(product(adapters, spec)).any()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_points_are_one_a_update(spec, config, count):
    points = SIMILARITIES[config.type](
        draw(0, (count, spec.size)).astype(np.float32), np.zeros(spec.size), spec, config
    )
    assert points.shape[0] == count
    assert np.isfinite(points).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 9), (5, 1), (9, 4)])
def test_plane_is_two_numbers_a_point(shape):
    xy = plane(draw(0, shape))
    assert xy.shape == (shape[0], 2)
    np.testing.assert_allclose(xy.mean(axis=0), 0, atol=1e-6)


def test_plane_keeps_the_distances_of_points_in_a_plane():
    corners = np.array([[0, 0], [4, 0], [4, 1], [0, 1.0]])
    points = corners @ np.linalg.qr(draw(0, (7, 7)))[0][:2] + 5  # laid into seven dimensions
    xy = plane(points)
    np.testing.assert_allclose(pdist(xy), pdist(corners), atol=1e-6)
    np.testing.assert_allclose(np.abs(xy), [[2, 0.5]] * 4, atol=1e-6)  # the longer axis first
