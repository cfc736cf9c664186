"""Euclidean distance between points is the dissimilarity that the docstrings give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from fltac.config import B, Blend, Flat, Product, Sketch, Subspace
from fltac.server.comparing import compared
from fltac.server.similarity import around_mean, layer_grams, plane
from fltac.wire.messages import AdapterSpec, Layer

FLAT, FACTOR, PRODUCT, SUBSPACE, BLEND = (cls(type=cls.__name__.lower()) for cls in (Flat, B, Product, Subspace, Blend))  # type: ignore[arg-type]
SKETCHES = [Sketch(type="sketch", basis=basis, size=size) for basis in ("flat", "product") for size in (5, 2000)]
CONFIGS = [FLAT, FACTOR, PRODUCT, SUBSPACE, BLEND, *SKETCHES]
NAMED = {"argvalues": CONFIGS, "ids": lambda config: f"{config.type}{getattr(config, 'basis', '')}"}

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 7)


def points_of(config, now, spec, since=None) -> np.ndarray:
    since = np.zeros_like(now) if since is None else since
    return compared(now, np.broadcast_to(since, now.shape), spec, config).points


def distances(config, now, spec, since=None) -> np.ndarray:
    return squareform(pdist(points_of(config, now, spec, since)))


def gauged(adapters, spec, seed) -> np.ndarray:
    """The same B A written with other factors, each adapter in its own way."""
    turned = adapters.copy()
    turns = np.eye(spec.rank) + draw(seed, (len(adapters), spec.rank, spec.rank)) / 4
    for a, b in spec.factors(turned):
        b[:], a[:] = b @ turns, np.linalg.inv(turns) @ a
    return turned


def draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


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
    np.testing.assert_allclose(distances(PRODUCT, adapters, spec), dense_distances(dense(adapters)), atol=1e-5)


@given(seeds, counts)
def test_product_of_a_step_equals_the_dense_computation(spec, dense, seed, count):
    now, since = draw(seed, (2, count, spec.size)).astype(np.float32)
    steps = [new - old for new, old in zip(dense(now), dense(since), strict=True)]
    np.testing.assert_allclose(distances(PRODUCT, now, spec, since), dense_distances(steps), atol=1e-5)


def left(matrices: np.ndarray, rank: int) -> np.ndarray:
    """Projections on the leading left singular vectors, less what a random subspace's would be."""
    u = np.linalg.svd(matrices)[0][:, :, :rank]
    return u @ u.transpose(0, 2, 1) - rank / matrices.shape[1] * np.eye(matrices.shape[1])


@pytest.mark.parametrize("step", [False, True])
@given(seed=seeds, count=counts)
def test_subspace_distance_equals_the_dense_computation(spec, dense, step, seed, count):
    now, since = draw(seed, (2, count, spec.size)).astype(np.float32)
    since = since if step else np.zeros_like(since)
    steps = [new - old for new, old in zip(dense(now), dense(since), strict=True)]
    expected = dense_distances([left(matrices, spec.rank) for matrices in steps])
    np.testing.assert_allclose(distances(SUBSPACE, now, spec, since), expected, atol=1e-5)


@given(seeds, counts)
def test_blend_is_half_of_both(spec, seed, count):
    adapters = draw(seed, (count, spec.size))
    squares = [distances(config, adapters, spec) ** 2 for config in (BLEND, PRODUCT, SUBSPACE)]
    np.testing.assert_allclose(squares[0], (squares[1] + squares[2]) / 2, atol=1e-8)


def test_of_the_subspace_signs_and_sizes_say_nothing_and_random_ones_share_nothing():
    spec = AdapterSpec((Layer("query", 400, 300),), rank=4, scale=1.0)
    adapters = draw(0, (3, spec.size))
    ((_, b),) = spec.factors(adapters)
    b[1] = -7 * b[0] @ draw(1, (4, 4))
    apart = distances(SUBSPACE, adapters, spec)
    assert apart[0, 1] < 1e-6
    assert apart[0, 2] ** 2 == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("config", [PRODUCT, SUBSPACE, BLEND, SKETCHES[2]], ids=lambda config: config.type)
@given(seed=seeds, count=counts)
def test_what_compares_products_is_free_of_gauge(spec, config, seed, count):
    now, since = draw(seed, (2, count, spec.size))
    before = distances(config, now, spec, since)
    after = distances(config, gauged(now, spec, seed + 1), spec, gauged(since, spec, seed + 2))
    assert np.abs(after - before).max() < 1e-5


@given(seeds, counts)
def test_b_distance_is_that_of_the_b_factors_at_equal_lengths(spec, seed, count):
    adapters = draw(seed, (count, spec.size))
    expected = dense_distances([b for _, b in spec.factors(adapters)])
    np.testing.assert_allclose(distances(FACTOR, adapters, spec), expected, atol=1e-6)


@pytest.mark.parametrize("basis", ["flat", "product"])
@pytest.mark.parametrize("seed", range(3))
def test_a_sketch_keeps_squared_distances_within_its_stated_error(spec, basis, seed):
    """Over 300 sketches the mean is right and the spread at most what the docstring says (and a fifth for chance)."""
    size = 60
    adapters = draw(seed, (2, spec.size))
    exact = distances(FLAT if basis == "flat" else PRODUCT, adapters, spec)[0, 1] ** 2
    sketches = [Sketch(type="sketch", basis=basis, size=size, seed=number) for number in range(300)]
    ratios = np.array([distances(config, adapters, spec)[0, 1] ** 2 for config in sketches]) / exact
    error = np.sqrt((2 if basis == "flat" else 8) / size)
    assert abs(ratios.mean() - 1) < 4 * error / np.sqrt(300)
    assert ratios.std() < 1.2 * error


def test_a_sketch_of_what_differs_in_one_layer_alone_errs_as_that_layer_does():
    spec = AdapterSpec(tuple(Layer(f"l{i}", 5, 5) for i in range(12)), rank=1, scale=1.0)
    adapters = np.repeat(draw(0, (1, spec.size)), 2, axis=0)
    spec.factors(adapters[1])[3][1][:] = draw(1, (5, 1))
    exact = distances(PRODUCT, adapters, spec)[0, 1] ** 2
    sketches = [Sketch(type="sketch", basis="product", size=12 * 40, seed=number) for number in range(300)]
    ratios = np.array([distances(config, adapters, spec)[0, 1] ** 2 for config in sketches]) / exact
    assert ratios.mean() == pytest.approx(1, abs=4 * np.sqrt(8 / 40 / 300))
    assert 0.5 * np.sqrt(8 / 40) < ratios.std() < 1.2 * np.sqrt(8 / 40)


def test_low_and_wide_layers_have_subspaces_too():
    spec = AdapterSpec((Layer("low", 3, 8), Layer("narrow", 8, 3)), rank=3, scale=1.0)
    now, since = draw(0, (2, 4, spec.size))
    assert np.isfinite(points_of(SUBSPACE, now, spec)).all()
    assert np.isfinite(points_of(SUBSPACE, now, spec, since)).all()


def test_product_of_an_unchanged_layer_is_orthogonal_to_all(spec):
    adapters = draw(0, (3, spec.size))
    spec.factors(adapters[0])[0][1][:] = 0  # the first layer of the first adapter: B = 0
    spec.factors(adapters[1])[1][1][:] = 0  # and the second layer of the second
    for config in (PRODUCT, SUBSPACE):
        apart = distances(config, adapters, spec)
        assert apart[0, 1] == pytest.approx(np.sqrt(2))  # no layer in common
        assert apart[0, 0] == 0
        assert pdist(points_of(config, np.zeros((2, spec.size)), spec)) == pytest.approx([np.sqrt(2)])


@given(seeds, counts)
def test_layer_grams_are_inner_products_of_the_changes(spec, dense, seed, count):
    adapters = draw(seed, (count, spec.size))
    for gram, matrices in zip(layer_grams(spec.factors(adapters)), dense(adapters), strict=True):
        rows = matrices.reshape(count, -1)
        np.testing.assert_allclose(gram, rows @ rows.T, atol=1e-9)


def test_flat_distance_is_euclidean_whatever_the_start(spec):
    adapters = np.zeros((2, spec.size), np.float32)
    adapters[0, 0], adapters[1, 1] = 3, 4
    start = draw(0, (spec.size,))
    assert distances(FLAT, adapters + start, spec, start)[0, 1] == pytest.approx(5)


@pytest.mark.parametrize("config", **NAMED)
def test_no_change_is_like_nothing(spec, config):
    start = draw(0, (spec.size,)).astype(np.float32)
    now = np.stack([start, start + draw(1, (spec.size,)).astype(np.float32)])
    points = points_of(config, now, spec, np.stack([start, start]))
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
    assert not around_mean(points_of(PRODUCT, adapters, spec)).any()


@pytest.mark.parametrize("config", **NAMED)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_points_are_one_a_update(spec, config, count):
    points = points_of(config, draw(0, (count, spec.size)).astype(np.float32), spec)
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


@pytest.mark.parametrize("of", ["adapter", "step"])
def test_kinship_is_by_subspace_whatever_the_similarity(spec, of):
    now, since = draw(1, (6, spec.size)), draw(2, (6, spec.size))
    by_subspace = points_of(SUBSPACE, now, spec, since)
    sketch, of_subspace = (Sketch(type="sketch", of=of, basis=basis) for basis in ("flat", "subspace"))
    assert np.array_equal(compared(now, since, spec, Flat(type="flat", of=of)).kin, by_subspace)
    kin = compared(now, since, spec, sketch).kin
    np.testing.assert_allclose(pdist(kin), pdist(points_of(of_subspace, now, spec, since)), atol=0.3)
    assert compared(now, since, spec, sketch, settled=False).kin is None
