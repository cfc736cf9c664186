"""What is told of clusters, by hand: two clusters of two points on a line, and one that ended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.clustering import Found
from fltac.server.diagnostics import Sight, churn, cluster_rows, update_rows
from fltac.wire.messages import Update

KEYS = [(0, 0), (0, 1), (1, 0), (1, 1)]
POINTS = np.array([[0.0], [10], [2], [14]])
NOW = {(0, 0): 4, (0, 1): 5, (1, 0): 4, (1, 1): 5}
LAST = {(0, 0): 4, (0, 1): 4, (1, 1): 9}  # (1, 0) is new
# the clusterer numbers its clusters as it likes: what is 0 once settled was its 1
FOUND = Found(np.array([1, 0, 1, -1]), {1: 0.5, 0: 0.25}, np.array([1.0, 0.5, 0.25, 0.0]))
SIGHT = Sight(KEYS, POINTS, FOUND, NOW, {4: "kept", 5: "split", 9: "died"}, 6, {})


def test_clusters_by_hand():
    kept, split, died = cluster_rows(SIGHT, {4: 0.125}, LAST)
    # silhouettes: 0 has 2 to its own and 12 to the others, 2 has 2 and 10; 10 has 4 and 9, 14 has 4 and 13
    silhouettes = [np.mean([10 / 12, 8 / 10]), np.mean([5 / 9, 9 / 13])]
    assert kept == {
        **{"cluster": 4, "size": 2, "event": "kept", "arrived": 1, "left": 1, "persistence": 0.5},
        **{"aggregation_error": 0.125, "spread": 1.0, "silhouette": pytest.approx(silhouettes[0])},
        **{"rival": 5, "rival_distance": 11.0},
    }
    assert split == {
        **{"cluster": 5, "size": 2, "event": "split", "arrived": 2, "left": 0, "persistence": 0.25},
        **{"aggregation_error": None, "spread": 2.0, "silhouette": pytest.approx(silhouettes[1])},
        **{"rival": 4, "rival_distance": 11.0},
    }
    assert died == {"cluster": 9, "size": 0, "event": "died", "arrived": 0, "left": 1}


def test_one_cluster_has_no_rival_and_no_silhouette():
    alone = Sight(KEYS, POINTS, FOUND, dict.fromkeys(KEYS, 4), {4: "kept"}, 6, {})
    (row,) = cluster_rows(alone, {}, {})
    assert (row["rival"], row["rival_distance"], row["silhouette"]) == (None, None, None)


def test_updates_tell_where_they_came_from():
    updates = [Update(1, *key, b"", np.array([3.0, 4.0], np.float32), (), 1) for key in KEYS]
    merged = {
        key: {"outlier": score, "agreement": 1.0, "weight": 0.5}
        for key, score in zip(KEYS, [1.5, None, 0.5, None], strict=True)
    }
    rows = update_rows(updates, SIGHT, LAST, np.float32([[0.5, n] for n in range(4)]), merged)
    assert [row["outlier"] for row in rows] == [1.5, None, 0.5, None]
    assert {row["weight"] for row in rows} == {0.5}
    assert [row["moved_from"] for row in rows] == [None, 4, None, 9]
    assert [row["cluster"] for row in rows] == [4, 5, 4, 5]
    assert [row["membership"] for row in rows] == [1.0, 0.5, 0.25, 0.0]
    assert [row["is_noise"] for row in rows] == [False, False, False, True]
    assert [row["sketch"] for row in rows] == [[0.5, n] for n in range(4)]
    assert {row["norm"] for row in rows} == {5.0}


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 3)), st.data())
def test_churn_is_the_share_of_those_known_that_went_elsewhere(last, data):
    ids = {key: data.draw(st.integers(0, 3)) for key in range(10)}
    moved = [key for key in last if last[key] != ids[key]]
    assert churn(ids, last) == (len(moved) / len(last) if last else 0)
