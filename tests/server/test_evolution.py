"""Sketches follow adapters from v0 whatever their gauge; the layer table names the layer in which clusters differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from fltac.server.evolution import PAIRED, SIZE, layer_rows, sketches
from fltac.server.similarity import plane
from fltac.wire.messages import AdapterSpec, Layer

seeds = st.integers(0, 2**32 - 1)
WIDE = AdapterSpec(tuple(Layer(f"l{i}", 24, 16) for i in range(3)), rank=2, scale=1.0)


def draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def rows_of(adapters, clusters, spec, start=None, seed=0):
    start = np.zeros(spec.size) if start is None else start
    return layer_rows(adapters, start, np.asarray(clusters), spec, np.random.default_rng(seed))


def gauged(adapters, spec, seed):
    """The same B A written with other factors, each adapter in its own way."""
    turned = adapters.copy()
    turns = np.eye(spec.rank) + draw(seed, (len(adapters), spec.rank, spec.rank)) / 4
    for a, b in spec.factors(turned):
        b[:], a[:] = b @ turns, np.linalg.inv(turns) @ a
    return turned


def test_a_sketch_is_its_formula(spec, dense):
    """Linear in the change of the product: a random bilinear form a number, so that two add up."""
    now, start = draw(0, (3, spec.size)), draw(1, (spec.size,))
    seen = sketches(now, start, spec)
    assert seen.shape == (3, SIZE)
    assert seen.dtype == np.float32
    from_zero = sketches(np.vstack([now, start]), np.zeros(spec.size), spec)
    np.testing.assert_allclose(seen, from_zero[:3] - from_zero[3], atol=1e-5)
    assert not sketches(start[None], start, spec).any()  # v0 lies at zero


@given(seeds)
def test_neither_sketch_nor_layer_table_sees_the_gauge(seed):
    now, start = draw(seed, (5, WIDE.size)), draw(seed + 1, (1, WIDE.size))
    turned, turned_start = gauged(now, WIDE, seed + 2), gauged(start, WIDE, seed + 3)[0]
    before, after = sketches(now, start[0], WIDE), sketches(turned, turned_start, WIDE)
    assert np.abs(after - before).max() < 1e-4 * np.abs(before).max()
    clusters = [0, 0, 1, 1, 1]
    for one, other in zip(
        rows_of(now, clusters, WIDE, start[0]), rows_of(turned, clusters, WIDE, turned_start), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-6)


def test_the_map_is_the_same_in_every_round_and_in_whatever_company():
    adapters = draw(0, (150, WIDE.size))
    together = sketches(adapters, np.zeros(WIDE.size), WIDE)
    for number in (0, 64, 149):
        alone = sketches(adapters[number : number + 1], np.zeros(WIDE.size), WIDE)
        np.testing.assert_allclose(alone[0], together[number], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layers", "rank", "low", "bound"), [(1, 1, 8, 8), (12, 4, 2, 3)], ids=["one", "many"])
def test_squared_distances_err_within_the_stated_bound(layers, rank, low, bound):
    """Over 400 adapters: the spread is sqrt(8 / SIZE) for one rank-one layer, near sqrt(2 / SIZE) for many, a fifth
    more for chance; the mean is right as far as one map that all share can be."""
    spec = AdapterSpec(tuple(Layer(f"l{i}", 40, 40) for i in range(layers)), rank=rank, scale=1.0)
    adapters = draw(0, (400, spec.size))
    exact = sum(((b @ a) ** 2).sum(axis=(1, 2)) for a, b in spec.factors(adapters))
    ratios = (sketches(adapters, np.zeros(spec.size), spec).astype(float) ** 2).sum(axis=1) / exact
    assert ratios.mean() == pytest.approx(1, abs=0.1)
    assert 0.8 * np.sqrt(low / SIZE) < ratios.std() < 1.2 * np.sqrt(bound / SIZE)


def test_the_plane_of_sketches_follows_the_adapters():
    """Two tasks that leave v0 at a right angle, four rounds long: so do their sketches, round by round."""
    tasks = draw(3, (2, WIDE.size))
    for a, b in WIDE.factors(tasks):
        a[1], b[1] = a[0], np.linalg.qr(np.hstack([b[0], b[1]]))[0][:, 2:]  # the same inputs, other outputs
        b[0] = np.linalg.qr(b[0])[0]
    steps = []
    for task in tasks:
        for round in range(1, 5):
            adapter = task.copy()
            for _, b in WIDE.factors(adapter):
                b *= round
            steps.append(adapter)
    exact = np.array([np.concatenate([(b @ a).ravel() for a, b in WIDE.factors(one)]) for one in steps])
    seen = plane(sketches(np.array(steps), np.zeros(WIDE.size), WIDE))
    apart, true = pdist(seen), pdist(exact)
    assert np.abs(apart / true - 1).max() < 3 * np.sqrt(8 / SIZE) / 2  # three standard errors of a distance
    lengths = np.linalg.norm(np.diff(seen.reshape(2, 4, 2), axis=1), axis=2)  # (tasks, steps): straight, equal steps
    np.testing.assert_allclose(lengths, lengths[:, :1] * np.ones(3), rtol=1e-4)


def test_the_layer_in_which_alone_clusters_differ_is_named():
    """Every layer is noise but l1, which is cluster by cluster the same change and a little noise."""
    clusters = np.arange(24) % 3
    adapters = draw(0, (24, WIDE.size))
    (_, common) = WIDE.factors(draw(1, (3, WIDE.size)))[1]
    a, b = WIDE.factors(adapters)[1]
    a[:], b[:] = draw(2, a.shape[1:]) + 0.2 * a, common[clusters] + 0.2 * b
    noise, told, other = rows_of(adapters, clusters, WIDE)
    assert [row["layer"] for row in (noise, told, other)] == ["l0", "l1", "l2"]
    assert told["separation"] == 1 - told["within"] / told["between"] > 0.7
    assert told["within"] < 0.3 < 0.6 < told["between"]
    for row in (noise, other):
        assert row["separation"] == pytest.approx(0, abs=0.05)


def test_distances_by_hand(spec):
    """B A of the first layer is e1 e1^T, 2 e1 e1^T, -e1 e1^T: cosines 1 and -1; the second layer did not change."""
    adapters = np.zeros((3, spec.size))
    ((a, b), _) = spec.factors(adapters)
    a[:, 0, 0], b[:, 0, 0] = 1, [1, 2, -1]
    query, value = rows_of(adapters, [4, 4, 7], spec)
    assert query == {"layer": "query", "within": 0, "between": 2, "separation": 1}
    assert value == {"layer": "value", "within": 1, "between": 1, "separation": 0}


def test_clusters_that_are_one_point_are_not_separated(spec):
    adapters = np.repeat(draw(0, (1, spec.size)), 4, axis=0)
    assert [row["separation"] for row in rows_of(adapters, [0, 0, 1, 1], spec)] == [None, None]


@pytest.mark.parametrize(
    ("clusters", "there"),
    [([0, 0, 0], ["within"]), ([0, 1, 2], ["between"]), ([0], []), ([], [])],
    ids=["one", "each", "alone", "nobody"],
)
def test_what_has_no_pairs_is_null(spec, clusters, there):
    rows = rows_of(draw(0, (len(clusters), spec.size)), clusters, spec)
    assert [row["layer"] for row in rows] == ["query", "value"]
    for row in rows:
        assert [name for name in ("within", "between", "separation") if row[name] is not None] == there


def test_the_number_of_pairs_is_bounded_and_the_choice_is_seeded(spec):
    adapters, clusters = draw(0, (3 * PAIRED, spec.size)), np.arange(3 * PAIRED) % 2
    row = rows_of(adapters, clusters, spec)[0]
    assert row == rows_of(adapters, clusters, spec)[0]
    assert row != rows_of(adapters, clusters, spec, seed=1)[0]
