import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from fltac.server.spanning import spanning_tree


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 6), st.sampled_from([0, 1e3, 1e6]))
def test_the_tree_joins_all_points_and_none_is_shorter(seed, n, d, away):
    points = away + np.random.default_rng(seed).normal(size=(n, d))
    tree = spanning_tree(points)
    assert tree is not None
    assert tree.nnz == 2 * (n - 1)
    assert connected_components(tree)[0] == 1
    assert abs(tree - tree.T).max() == 0
    exact = minimum_spanning_tree(squareform(pdist(points)))
    assert np.sort(tree.data)[::2] == pytest.approx(np.sort(exact.data))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("strange", [0.0, np.nan, np.inf])
def test_of_equal_points_and_of_such_as_are_not_finite_there_is_none(strange):
    assert spanning_tree(np.array([[0.0, 1.0], [3.0, 5.0], [strange, 1.0]])) is None


def test_points_are_left_as_they_are():
    points = np.random.default_rng(0).normal(size=(9, 3))
    before = points.copy()
    spanning_tree(points)
    assert np.array_equal(points, before)
