"""Clusters keep their ids by most of their members."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.tracking import Stay, hold, identify


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


# -- hysteresis: a row a round, a slot its place; slots 0, 1 begin in cluster 0, slots 2, 3 in cluster 1 ------


def walked(*rounds: str, patience=2) -> list[str]:
    last, stays, out = slots(rounds[0]), dict.fromkeys(slots(rounds[0]), Stay(1)), []
    for found in rounds[1:]:
        last, stays = hold(slots(found), last, stays, patience)
        out.append("".join(str(last[key]) for key in sorted(last)))
    return out


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        (
            ["0011", "0011", "0111", "0011", "0111", "0111"],
            ["0011", "0011", "0011", "0011", "0111"],
        ),  # odd, then for good
        (["0011", "0111"], ["0111"]),  # not settled yet: it moves at once
        (["0011", "0011", "0211"], ["0011", "0211"]),  # a cluster of its own is no move to another
        (["0011", "0011", "0000"], ["0011", "0000"]),  # nor is a merge
        (["00112", "00112", "01112", "02112"], ["00112", "00112", "00112"]),  # never twice in a row in one place
        (["00112", "00112", "01112", "02112", "02112"], ["00112", "00112", "00112", "02112"]),
    ],
    ids=["odd", "new", "split", "merge", "wandering", "arrived"],
)
def test_a_settled_slot_moves_only_when_it_is_seen_elsewhere_in_a_row(rounds, expected):
    assert walked(*rounds) == expected
    assert walked(*rounds, patience=1) == rounds[1:]


def test_a_slot_is_not_held_where_its_client_has_another():
    last = {(0, 0): 0, (0, 1): 1, (1, 0): 0, (2, 0): 1}
    swapped = {(0, 0): 1, (0, 1): 0, (1, 0): 0, (2, 0): 1}
    ids, _ = hold(swapped, last, dict.fromkeys(last, Stay(5)), 2)
    assert [ids[0, 0], ids[0, 1]] in ([0, 1], [1, 0])


@given(groupings, groupings, st.integers(1, 3))
def test_held_or_not_every_slot_has_a_cluster_that_is_its_own_or_the_one_found(labels, last, patience):
    found, before = slots(labels), slots(last)
    ids, stays = hold(found, before, dict.fromkeys(before, Stay(3)), patience)
    assert set(ids) == set(stays) == set(found)
    assert all(ids[key] in (found[key], before.get(key)) for key in ids)
