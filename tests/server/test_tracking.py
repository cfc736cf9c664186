"""Noise is settled by rule, and clusters keep their ids by most of their members."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.tracking import identify, settle_noise

POLICIES = ["nearest", "own", "last"]
labels_lists = st.lists(st.integers(-1, 3), min_size=1, max_size=12)
# two clusters on a line, with centroids 0 and 10; noise is added behind
LINE = np.array([[-1.0], [1], [8], [12]])
LABELS = [0, 0, 1, 1]


def settle(noise, policy="nearest", last=None, bound=0.5):
    points = np.vstack([LINE, np.reshape(noise, (-1, 1))])
    labels = np.array(LABELS + [-1] * len(noise))
    return settle_noise(points, labels, last or [None] * len(points), policy, bound).tolist()


def grouping(labels) -> set[frozenset[int]]:
    """Who is with whom, whatever the groups are called."""
    labels = list(labels)
    return {frozenset(i for i, one in enumerate(labels) if one == label) for label in labels}


@pytest.mark.parametrize("policy", POLICIES)
@given(labels=labels_lists, data=st.data())
def test_no_update_is_ever_dropped(policy, labels, data):
    last = data.draw(st.lists(st.none() | st.integers(0, 2), min_size=len(labels), max_size=len(labels)))
    points = np.random.default_rng(0).normal(size=(len(labels), 3))
    settled = settle_noise(points, np.array(labels), last, policy, 0.95)
    assert settled.shape == (len(labels),)
    assert settled.min() >= 0
    for before, after in zip(labels, settled, strict=True):
        assert before in (-1, after)  # what was in a cluster stays there


@pytest.mark.parametrize("policy", POLICIES)
@given(labels=labels_lists, names=st.permutations(range(4)))
def test_relabelling_clusters_changes_no_settlement(policy, labels, names):
    points = np.random.default_rng(0).normal(size=(len(labels), 3))
    last = [index % 3 for index in range(len(labels))]
    renamed = [label if label < 0 else names[label] for label in labels]
    one, other = (settle_noise(points, np.array(each), last, policy, 0.95) for each in (labels, renamed))
    assert grouping(one) == grouping(other)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ([3.3], [0]),  # 3.3 from 0, 6.7 from 10
        ([3.4], [2]),  # 3.4 is more than half of 6.6
        ([6.7, 20.0], [1, 1]),
        ([21.0, -11.0], [2, 3]),  # alone, each apart
    ],
)
def test_nearest_joins_up_to_half_of_the_way_to_the_second_else_stays_alone(noise, expected):
    assert settle(noise) == LABELS + expected


def test_nearest_joins_the_only_cluster_there_is():
    assert settle_noise(LINE, np.array([0, 0, -1, -1]), [None] * 4, "nearest", 0.5).tolist() == [0] * 4


def test_own_stays_alone_however_near():
    assert settle([0.0, 0.1], "own") == [*LABELS, 2, 3]


def test_last_goes_where_most_of_its_last_cluster_went():
    # slots 0, 1, 2 and the noise shared cluster 7; 0 and 1 are in cluster 0 now. The other noise was never seen.
    assert settle([50.0, 0.0], "last", [7, 7, 7, 8, 7, None]) == [*LABELS, 0, 2]


def test_last_keeps_a_cluster_together_that_is_all_noise():
    assert settle([50.0, -50.0, 0.0], "last", [7, 7, 8, 8, 9, 9, None]) == [*LABELS, 2, 2, 3]


@pytest.mark.parametrize("policy", POLICIES)
def test_where_all_is_noise_slots_that_shared_a_cluster_still_do(policy):
    points = np.array([[0.0], [5], [9], [1]])
    settled = settle_noise(points, np.full(4, -1), [3, 4, 3, None], policy, 0.95)
    assert grouping(settled) == {frozenset({0, 2}), frozenset({1}), frozenset({3})}


def test_where_all_is_noise_in_the_first_round_all_are_alone():
    assert len(set(settle_noise(LINE, np.full(4, -1), [None] * 4, "nearest", 0.95))) == 4


# -- identity: a group is a digit, a slot its place; next_id is 5 --------------------------------------------


def slots(groups: str | list[int]) -> dict[tuple[int, int], int]:
    return {(client, 0): int(group) for client, group in enumerate(groups)}


@pytest.mark.parametrize(
    ("last", "labels", "ids", "events"),
    [
        ("", "2200", "5566", {5: "born", 6: "born"}),
        ("0011", "5533", "0011", {0: "kept", 1: "kept"}),
        ("0000", "0001", "0005", {0: "kept", 5: "split"}),
        ("0000", "000011", "000055", {0: "kept", 5: "born"}),
        ("00000", "000111", "000555", {0: "kept", 5: "split"}),  # two of three came from a cluster that lives on
        ("00111", "00000", "11111", {0: "merged away", 1: "merged"}),
        ("00011222", "00022222", "00022222", {0: "kept", 1: "merged away", 2: "merged"}),
        ("00011222", "00002222", "00002222", {0: "kept", 1: "died", 2: "kept"}),  # half went here, half there
    ],
    ids=["birth", "kept", "split", "new among old", "mostly split", "merge", "merge of two in three", "death"],
)
def test_events(last, labels, ids, events):
    found, named, next_id = identify(slots(labels), slots(last), 5)
    assert found == slots(ids)
    assert named == events
    assert next_id == 5 + sum(event in ("born", "split") for event in events.values())


groupings = st.lists(st.integers(0, 4), min_size=1, max_size=10)


@given(groupings, groupings, st.permutations(range(5)))
def test_how_clusters_are_numbered_says_nothing(labels, last, names):
    renamed = [names[label] for label in labels]
    assert identify(slots(renamed), slots(last), 5) == identify(slots(labels), slots(last), 5)


@given(groupings, groupings)
def test_ids_follow_the_grouping_one_to_one_and_are_never_reused(labels, last):
    now, before = map(slots, (labels, last))
    ids, events, next_id = identify(now, before, 5)
    assert grouping(ids[key] for key in sorted(ids)) == grouping(labels)
    fresh = set(ids.values()) - set(before.values())
    assert fresh == set(range(5, next_id))
    assert set(events) == set(ids.values()) | set(before.values())


@given(groupings)
def test_the_same_grouping_keeps_its_ids(labels):
    last = [label + 10 for label in labels]
    ids, events, next_id = identify(slots(labels), slots(last), 20)
    assert ids == slots(last)
    assert set(events.values()) == {"kept"}
    assert next_id == 20
