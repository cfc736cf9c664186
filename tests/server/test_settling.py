"""Every update gets a cluster, and what needs no label puts clusters right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.config import Hdbscan
from fltac.server.settling import conflicts, settle
from tests.server.test_tracking import grouping

NOISE = ["nearest", "own", "last"]
labels_lists = st.lists(st.integers(-1, 3), min_size=1, max_size=12)


def rules(**changes) -> Hdbscan:
    return Hdbscan(type="hdbscan", **changes)


def blobs(*names: str, noise: float = 0.6, seed: int = 0) -> np.ndarray:
    """A unit point a letter of each name, about that letter's direction of 30; v0 is the origin."""
    draw = np.random.default_rng(seed)
    letters = "".join(names)
    points = np.eye(30)[[ord(letter) - ord("a") for letter in letters]]
    points = points + noise * draw.normal(size=points.shape) / np.sqrt(30)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def settled(points, labels, owners=None, last=None, kin=None, **changes) -> list[int]:
    n = len(points)
    owners = range(n) if owners is None else owners
    kin = points if kin is None else kin
    return settle(points, kin, np.array(labels), list(owners), last or [None] * n, rules(**changes)).tolist()


# -- laws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("cannot_link", [True, False])
@pytest.mark.parametrize("join", [0.5, None])
@given(labels=labels_lists, data=st.data())
def test_no_update_is_ever_dropped_and_cannot_link_is_kept(noise, cannot_link, join, labels, data):
    n = len(labels)
    last = data.draw(st.lists(st.none() | st.integers(0, 2), min_size=n, max_size=n))
    owners = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    points = blobs("abcdefghijkl"[:n], noise=3.0)
    done = np.array(settled(points, labels, owners, last, noise=noise, cannot_link=cannot_link, join=join))
    assert done.shape == (n,)
    assert done.min() >= 0
    if cannot_link and (max(labels) >= 0 or not any(last)):
        assert conflicts(done, owners) == 0


@pytest.mark.parametrize("noise", NOISE)
@given(labels=labels_lists, names=st.permutations(range(4)))
def test_how_clusters_are_numbered_says_nothing(noise, labels, names):
    points = blobs("aaabbbcccddd"[: len(labels)], noise=1.0)
    last = [index % 3 for index in range(len(labels))]
    owners = [index // 2 for index in range(len(labels))]
    renamed = [label if label < 0 else names[label] for label in labels]
    one, other = (settled(points, each, owners, last, noise=noise) for each in (labels, renamed))
    assert grouping(one) == grouping(other)


# -- noise -------------------------------------------------------------------------------------------------


def test_noise_joins_the_cluster_it_is_like():
    points = blobs("aaaa", "bbbb", "ab")
    assert settled(points, [0] * 4 + [1] * 4 + [-1, -1]) == [0] * 4 + [1] * 4 + [0, 1]


def test_noise_unlike_every_cluster_stays_alone():
    points = blobs("aaaa", "bbbb", "cd")
    assert grouping(settled(points, [0] * 4 + [1] * 4 + [-1, -1])) == grouping([0] * 4 + [1] * 4 + [2, 3])


def test_noise_does_not_join_where_its_client_is_already():
    points = blobs("aaaa", "bbbb", "a")
    owners = [*range(8), 0]  # the last point is a second slot of client 0
    assert settled(points, [0] * 4 + [1] * 4 + [-1], owners)[-1] == 2
    assert settled(points, [0] * 4 + [1] * 4 + [-1], owners, cannot_link=False)[-1] == 0


def test_own_noise_stays_alone_however_like():
    points = blobs("aaaa", "bbbb", "ab")
    assert grouping(settled(points, [0] * 4 + [1] * 4 + [-1, -1], noise="own")) == grouping([0] * 4 + [1] * 4 + [2, 3])


def test_last_noise_goes_where_most_of_its_last_cluster_went():
    points = blobs("aaaa", "bbbb", "bc")
    last = [7] * 4 + [8] * 4 + [7, None]
    done = settled(points, [0] * 4 + [1] * 4 + [-1, -1], last=last, noise="last")
    assert grouping(done) == grouping([0] * 4 + [1] * 4 + [0, 2])


@pytest.mark.parametrize("noise", NOISE)
def test_where_all_is_noise_slots_that_shared_a_cluster_still_do(noise):
    done = settled(blobs("abcd"), [-1] * 4, last=[3, 4, 3, None], noise=noise)
    assert grouping(done) == {frozenset({0, 2}), frozenset({1}), frozenset({3})}


def test_where_all_is_noise_and_unlike_in_the_first_round_all_are_alone():
    assert len(set(settled(blobs("abcd"), [-1] * 4))) == 4


def test_where_all_is_noise_and_alike_all_are_one_unless_a_client_says_otherwise():
    assert set(settled(blobs("aaaa"), [-1] * 4)) == {0}
    assert set(settled(blobs("aaaa"), [-1] * 4, last=[3, 4, 3, None])) == {0}
    assert len(set(settled(blobs("aaaa"), [-1] * 4, owners=[0, 1, 2, 2]))) == 4
    assert len(set(settled(blobs("aaaa"), [-1] * 4, owners=[0, 1, 2, 2], cannot_link=False))) == 1
    assert len(set(settled(blobs("aaaa"), [-1] * 4, structure=0))) == 4
    assert len(set(settled(blobs("aaa"), [-1] * 3))) == 3


# -- what puts clusters right ------------------------------------------------------------------------------


def test_a_cluster_of_two_tasks_comes_apart_by_its_clients():
    points = blobs("ababab", "cccc")
    owners = [0, 0, 1, 1, 2, 2, *range(4)]
    together = [0] * 6 + [1] * 4
    assert conflicts(np.array(together), owners) == 3
    assert grouping(settled(points, together, owners)) == grouping([0, 1, 0, 1, 0, 1, 2, 2, 2, 2])
    assert grouping(settled(points, together, owners, cannot_link=False)) == grouping(together)


def test_a_split_task_is_joined_again():
    points = blobs("aaaaaa", "bbbb")
    split = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert grouping(settled(points, split)) == grouping([0] * 6 + [1] * 4)
    assert grouping(settled(points, split, join=None)) == grouping(split)


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_one_task_are_one_where_there_is_nothing_else(seed):
    """Around the mean of one task nothing is left but chance; seen from v0 its parts are alike."""
    points = blobs("a" * 10, noise=2.0, seed=seed)
    halves = (points[:, 1] > np.median(points[:, 1])).astype(int)
    assert set(settled(points, halves)) == {0}
    assert grouping(settled(points, halves, join=None)) == grouping(halves)


def test_parts_picked_because_they_differ_are_one_where_all_pairs_are_about_alike():
    """Two halves of one task that share a quirk each: .56 of what they are in themselves, more than half of join."""
    points = blobs("a" * 12, noise=0.3)
    points[:6] += 0.9 * blobs("b" * 6, noise=0)
    points[6:] += 0.9 * blobs("c" * 6, noise=0)
    halves = [0] * 6 + [1] * 6
    assert set(settled(points, halves)) == {0}
    assert grouping(settled(points, halves, structure=0)) == grouping(halves)
    owners = [*range(6), *range(5), 11]  # five clients hold both: two tasks
    assert grouping(settled(points, halves, owners)) == grouping(halves)


@pytest.mark.parametrize("seed", range(5))
def test_two_tasks_alone_stay_two(seed):
    points = blobs("aaaaa", "bbbbb", noise=1.5, seed=seed)
    assert grouping(settled(points, [0] * 5 + [1] * 5)) == grouping([0] * 5 + [1] * 5)


def test_parts_that_move_the_same_outputs_are_one_though_the_other_way():
    """Two halves of a task pull opposite ways: only what they move at all (kin) is alike."""
    points, kin = blobs("aaaa", "aaaa", "bbbb"), blobs("aaaa", "aaaa", "bbbb", seed=1)
    points[4:8] *= -1
    torn = [0] * 4 + [1] * 4 + [2] * 4
    assert grouping(settled(points, torn)) == grouping(torn)
    assert grouping(settled(points, torn, kin=kin)) == grouping([0] * 8 + [1] * 4)


def test_a_member_changes_over_to_the_cluster_that_it_is_more_like():
    points = blobs("aaaa", "abbbb")
    labels, right = [0] * 4 + [1] * 5, [0] * 5 + [1] * 4
    assert grouping(settled(points, labels)) == grouping(right)
    assert grouping(settled(points, labels, join=None)) == grouping(labels)
    owners = [0, 1, 2, 3, 0, 4, 5, 6, 7]  # its client is there already
    assert grouping(settled(points, labels, owners)) == grouping(labels)


@pytest.mark.parametrize("noise", [0.2, 0.6])
def test_related_tasks_are_joined_up_to_the_bound_however_noisy(noise):
    """Two directions at a cosine of .6: one task at join = .4, two at .8 if told that pairs so alike may be two, and
    two for clients that hold both."""
    points = blobs("a" * 8, "b" * 8, noise=noise)
    points[8:] += 0.6 * blobs("a" * 8, noise=0) - 0.2 * blobs("b" * 8, noise=0)
    labels = [0] * 8 + [1] * 8
    assert len(set(settled(points, labels, join=0.4))) == 1
    assert grouping(settled(points, labels, join=0.8, structure=0)) == grouping(labels)
    assert grouping(settled(points, labels, [*range(8), *range(8)], join=0.4)) == grouping(labels)


@pytest.mark.parametrize("seed", range(5))
def test_small_clusters_beside_a_large_one_stay_apart(seed):
    points = blobs("a" * 20, "bbb", "ccc", noise=0.3, seed=seed)
    labels = [0] * 20 + [1] * 3 + [2] * 3
    assert grouping(settled(points, labels)) == grouping(labels)


@given(order=st.permutations(range(14)))
def test_the_order_of_points_says_nothing(order):
    points = blobs("aaaa", "bbbbb", "ab", "ccc", noise=1.0)
    labels, owners = [0] * 4 + [1] * 2 + [2] * 3 + [-1, -1] + [0, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 0, 1, 2, 3]
    moved = settled(points[order], [labels[i] for i in order], [owners[i] for i in order])
    assert grouping(moved[order.index(i)] for i in range(14)) == grouping(settled(points, labels, owners))


def test_conflicts_are_counted_by_pairs_and_not_among_noise():
    labels = np.array([0, 0, 0, 1, 1, -1, -1])
    assert conflicts(labels, [1, 1, 1, 2, 3, 4, 4]) == 3
    assert conflicts(np.array([-1, -1]), [0, 0]) == 0
