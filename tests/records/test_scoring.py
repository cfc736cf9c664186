"""How good a clustering is, where the answer is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.records.scoring import agreement

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("clusters", "truths", "ari", "matched"),
    [
        ("001122", "aabbcc", 1, 1),
        ("220011", "aabbcc", 1, 1),  # how clusters are called says nothing
        ("000", "aaa", 1, 1),
        ("0000", "aabb", 0, 0.5),  # all in one: the match finds one of two tasks
        ("0123", "aabb", 0, 0.5),
        # pairs together: 2 in the clusters, 3 in the tasks, 1 in both, of 6
        ("0011", "aaab", (1 - 2 * 3 / 6) / (5 / 2 - 2 * 3 / 6), 3 / 4),
        # 3 + 1 in the clusters, 3 + 3 in the tasks, 3 + 1 in both, of 15
        ("000112", "aaabbb", (4 - 4 * 6 / 15) / (10 / 2 - 4 * 6 / 15), 5 / 6),
    ],
)
def test_by_hand(clusters, truths, ari, matched):
    found = agreement(list(clusters), list(truths))
    assert found.matched_accuracy == pytest.approx(matched)
    assert found.ari == pytest.approx(ari)


def test_no_truth_no_score():
    assert agreement([], []) == (None, None, None)


@given(pairs)
def test_scores_are_bounded_and_one_where_all_is_right(pairs):
    clusters, truths = zip(*pairs, strict=True)
    found = agreement(clusters, truths)
    assert -0.5 <= found.ari <= 1 + 1e-9
    assert -1e-9 <= found.nmi <= 1 + 1e-9
    assert 1 / len(pairs) <= found.matched_accuracy <= 1
    assert agreement(truths, truths) == pytest.approx((1, 1, 1))


@given(pairs, st.permutations(range(4)))
def test_how_clusters_are_called_says_nothing(pairs, names):
    clusters, truths = zip(*pairs, strict=True)
    renamed = [names[cluster] for cluster in clusters]
    assert agreement(renamed, truths) == pytest.approx(agreement(clusters, truths))
