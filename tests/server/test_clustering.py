"""What each clusterer finds where the answer is known."""

import hdbscan
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from fltac.config import Agglomerative, Each, Hdbscan, Kmeans, Oracle, Single, Spectral
from fltac.server.clustering import CLUSTERERS, Hints
from fltac.server.spanning import spanning_tree

HDBSCAN = Hdbscan(type="hdbscan")
AGGLOMERATIVE, SPECTRAL = Agglomerative(type="agglomerative"), Spectral(type="spectral")
TOLD = [Kmeans(type="kmeans"), Oracle(type="oracle")]
FINDERS = [HDBSCAN, AGGLOMERATIVE, SPECTRAL]
CONFIGS = [*FINDERS, *TOLD, Single(type="single"), Each(type="each")]


def groups(*sizes: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Well separated groups of points in 20 dimensions, and the name of each point's group."""
    draw = np.random.default_rng(seed)
    names = [f"group {index}" for index, size in enumerate(sizes) for _ in range(size)]
    centres = 10 * draw.normal(size=(len(sizes), 20))
    return np.repeat(centres, sizes, axis=0) + draw.normal(size=(len(names), 20)), names


def found(config, points, names=(), seed=0):
    hints = Hints(np.random.default_rng(seed), names, len(set(names)))
    return CLUSTERERS[config.type](points, config, hints)


def same_groups(labels, names) -> bool:
    """The two groupings are one, up to how groups are called."""
    pairs = set(zip(np.asarray(labels).tolist(), names, strict=True))
    return len(pairs) == len({label for label, _ in pairs}) == len({name for _, name in pairs})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_every_point_gets_a_label_and_the_same_again(config, count):
    points, names = groups(count)
    labels = found(config, points, names).labels
    assert labels.shape == (count,)
    assert labels.min() >= -1
    np.testing.assert_array_equal(found(config, points, names).labels, labels)


@pytest.mark.parametrize("config", [*FINDERS, *TOLD], ids=lambda config: config.type)
def test_separate_groups_are_found(config):
    points, names = groups(4, 2, 7)
    order = np.random.default_rng(1).permutation(len(points))
    assert same_groups(found(config, points[order], [names[i] for i in order]).labels, [names[i] for i in order])


def test_hdbscan_is_not_told_how_many_and_calls_a_stray_point_noise():
    points, _ = groups(5, 5)
    result = found(HDBSCAN, np.vstack([points, np.full(20, 1000.0)]))
    assert result.labels[-1] == -1
    assert set(result.labels[:-1]) == {0, 1} == set(result.persistence)


@pytest.mark.parametrize(("smallest", "count"), [(2, 1), (2, 3), (3, 5)])
def test_hdbscan_cannot_show_two_clusters_with_fewer_than_twice_the_smallest(smallest, count):
    points, _ = groups(*[1] * count)
    result = found(Hdbscan(type="hdbscan", min_cluster_size=smallest), points)
    np.testing.assert_array_equal(result.labels, -1)


def test_kmeans_makes_as_many_as_it_is_told():
    points, _ = groups(3, 3, 3, 3)
    assert len(set(found(Kmeans(type="kmeans", k=3), points).labels)) == 3


def test_kmeans_makes_no_more_clusters_than_distinct_points():
    points, _ = groups(1, 1)
    labels = found(Kmeans(type="kmeans", k=5), np.repeat(points, 3, axis=0)).labels
    assert same_groups(labels, "aaabbb")


def test_single_and_each_are_the_two_extremes():
    points, _ = groups(2, 2)
    assert same_groups(found(Single(type="single"), points).labels, "aaaa")
    assert same_groups(found(Each(type="each"), points).labels, "abcd")


def test_oracle_groups_by_what_it_is_told():
    points, _ = groups(4)
    assert same_groups(found(Oracle(type="oracle"), points, ["b", "a", "b", "c"]).labels, "babc")


@pytest.mark.parametrize("config", [AGGLOMERATIVE, SPECTRAL], ids=lambda config: config.type)
@pytest.mark.parametrize("seed", range(3))
def test_one_cluster_is_a_possible_answer(config, seed):
    draw = np.random.default_rng(seed)
    points = np.ones(200) + draw.normal(size=(12, 200))  # one direction, and noise that has none
    assert len(set(found(config, points).labels)) == 1


def test_k_given_is_k():
    points, _ = groups(3, 3, 3)
    for config in (Agglomerative(type="agglomerative", k=2), Spectral(type="spectral", k=2)):
        assert len(set(found(config, points).labels)) == 2


def test_hdbscan_keeps_how_firmly_points_belong():
    points, _ = groups(5, 5)
    result = found(HDBSCAN, np.vstack([points, np.full(20, 1000.0)]))
    assert result.membership[-1] == 0
    assert (result.membership[:-1] > 0).all()


@pytest.mark.parametrize(
    "points", [np.eye(6), np.array([[1.0, 0], [-1, 0]]), np.zeros((3, 4))], ids=["apart", "opposite", "zero"]
)
def test_spectral_calls_points_that_are_like_nobody_noise(points):
    assert (found(SPECTRAL, points).labels == -1).all()


def test_agglomerative_makes_the_two_that_it_is_told():
    assert len(set(found(Agglomerative(type="agglomerative", k=2), np.array([[1.0, 0], [-1, 0]])).labels)) == 2


@pytest.mark.parametrize("config", FINDERS, ids=lambda config: config.type)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_points_says_nothing(config, seed):
    points, _ = groups(5, 3, 6, seed=seed)
    order = np.random.default_rng(seed).permutation(len(points))
    assert same_groups(found(config, points[order]).labels, found(config, points).labels[order])


@pytest.mark.parametrize("equal", [0, 1])
@pytest.mark.parametrize(("smallest", "alone"), [(2, False), (5, False), (2, True)])
def test_hdbscan_on_our_tree_finds_what_the_library_finds_on_its_own(smallest, alone, equal):
    """Of groups of unequal spread and stray points, and where two are equal."""
    draw = np.random.default_rng(3)
    centres = np.repeat(4 * draw.normal(size=(6, 8)), 40, axis=0)
    points = centres + draw.uniform(0.2, 2, (240, 1)) * draw.normal(size=(240, 8))
    points = np.concatenate([points, points[:equal], 30 * draw.normal(size=(5, 8))])
    config = Hdbscan(type="hdbscan", min_cluster_size=smallest, allow_single_cluster=alone, centre=False)
    assert (spanning_tree(points) is None) == bool(equal)
    ours = found(config, points)
    theirs = hdbscan.HDBSCAN(smallest, 1, allow_single_cluster=alone, approx_min_span_tree=False).fit(points)
    assert adjusted_rand_score(ours.labels, theirs.labels_) == 1
    assert np.array_equal(ours.labels < 0, theirs.labels_ < 0)
    assert ours.membership == pytest.approx(theirs.probabilities_, abs=1e-6)
    assert sorted(ours.persistence.values()) == pytest.approx(sorted(theirs.cluster_persistence_), abs=1e-6)
