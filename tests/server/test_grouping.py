"""Groups grow together as by the plain rule: of all pairs the most alike, again and again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.grouping import Groups, change_over, totals
from fltac.server.similarity import unit

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, count: int):
    draw = np.random.default_rng(seed)
    points = unit(draw.normal(size=(4, 12))[draw.integers(4, size=count)] + draw.normal(size=(count, 12)))
    labels = draw.integers(-1, 4, size=count)
    return points, labels, labels < 0, draw.integers(max(count // 2, 1), size=count)


def plain(points, labels, loose, owners) -> list[set[int]]:
    """The rule, word by word, on sets of points: mean cosine above zero, wholes never, owners apart."""
    groups = [(set(np.flatnonzero(labels == one)), True) for one in np.unique(labels[~loose])]
    groups += [({int(one)}, False) for one in np.flatnonzero(loose)]
    while True:
        pairs = [
            (float(np.mean(points[list(a)] @ points[list(b)].T)), i, j)
            for i, (a, whole) in enumerate(groups)
            for j, (b, other) in enumerate(groups[:i])
            if not (whole and other) and not set(owners[list(a)]) & set(owners[list(b)])
        ]
        best, i, j = max(pairs, default=(0.0, 0, 0))
        if not best > 0:
            return [group for group, _ in groups]
        groups[j] = (groups[i][0] | groups[j][0], groups[i][1] or groups[j][1])
        del groups[i]


@given(seeds, st.integers(1, 14))
def test_the_most_alike_are_put_together_until_none_are(seed, count):
    points, labels, loose, owners = drawn(seed, count)
    groups = Groups(labels, loose, owners, points, points)
    groups.merge(lambda rows: groups.mean_cosine(rows, None))
    found = {frozenset(np.flatnonzero(groups.labels == one).tolist()) for one in np.unique(groups.labels)}
    assert found == {frozenset(map(int, one)) for one in plain(points, labels, loose, owners)}


@given(seeds)
def test_to_forget_what_is_gone_changes_nothing(seed):
    points, labels, loose, owners = drawn(seed, 60)
    both = []
    for crowd in (1000, 4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fltac.server.grouping.CROWD", crowd)
            groups = Groups(labels, loose, owners, points, points)
            groups.merge(lambda rows, groups=groups: groups.mean_cosine(rows, 0.1))
            groups.merge(lambda rows, groups=groups: groups.reliable_cosine(rows) - 0.3)
        both.append({frozenset(np.flatnonzero(groups.labels == one).tolist()) for one in np.unique(groups.labels)})
    assert both[0] == both[1]
    assert len(groups.alive) < len(both[0]) * 2 + 4


def test_what_is_gone_is_not_merged_again():
    points, labels, loose, owners = drawn(3, 40)
    groups = Groups(labels, loose, owners, points, points)
    groups.merge(lambda rows: groups.mean_cosine(rows, 0.1))
    gone = np.flatnonzero(~groups.alive)
    groups.merge(lambda rows: np.ones((len(rows), len(groups.alive))))  # all that may
    assert len(gone)
    assert not np.isin(groups.labels, gone).any()
    np.testing.assert_allclose(groups.seen[groups.labels[0]], points[groups.labels == groups.labels[0]].sum(axis=0))
    np.testing.assert_array_equal(groups.sizes[groups.alive], np.unique(groups.labels, return_counts=True)[1])


def test_blocks_of_scores_say_the_same(monkeypatch):
    points, labels, loose, owners = drawn(1, 60)
    both = []
    for block in (2**21, 7):
        monkeypatch.setattr("fltac.server.grouping.BLOCK", block)
        groups = Groups(labels, loose, owners, points, points)
        groups.merge(lambda rows, groups=groups: groups.reliable_cosine(rows) - 0.1)
        both.append(groups.labels)
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("fixed", [False, True])
def test_who_is_more_like_another_group_goes_over(fixed):
    points = np.eye(6)[[0, 0, 0, 1, 1, 1, 1]] + 0.1 * np.random.default_rng(0).normal(size=(7, 6))
    labels = np.array([5, 5, 5, 5, 9, 9, 9])
    change_over(labels, unit(points), np.arange(7), np.full(7, fixed))
    assert labels.tolist() == ([5, 5, 5, 5, 9, 9, 9] if fixed else [5, 5, 5, 9, 9, 9, 9])


def test_totals_by_hand():
    rows = np.array([[1.0, 0], [2, 1], [4, 5]])
    np.testing.assert_array_equal(totals(rows, np.array([2, 0, 2]), 4), [[2, 1], [0, 0], [5, 5], [0, 0]])
