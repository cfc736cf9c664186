"""Clusters keep their ids by most of their members."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.tracking import identify


def grouping(labels) -> set[frozenset[int]]:
    """Who is with whom, whatever the groups are called."""
    labels = list(labels)
    return {frozenset(i for i, one in enumerate(labels) if one == label) for label in labels}


# a group is a digit, a slot its place; next_id is 5 --------------------------------------------


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
