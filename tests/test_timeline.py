"""Spans of rounds, and what holds in which."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.timeline import ALWAYS, Spans, during, holding, joined, overlap, spans, there


class Thing(NamedTuple):
    name: str
    spans: Spans


turns = st.lists(st.integers(2, 12), unique=True, max_size=5).map(sorted)


def alternating(rounds, first):
    return [(round, (index % 2 == 0) == first) for index, round in enumerate(rounds)]


@pytest.mark.parametrize(
    ("given_turns", "found"),
    [
        ([], ALWAYS),
        ([(4, True)], ((4, math.inf),)),
        ([(4, False)], ((1, 3),)),
        ([(3, False), (5, True)], ((1, 2), (5, math.inf))),
        ([(3, True), (5, False)], ((3, 4),)),
        ([(2, True), (3, False), (6, True), (9, False)], ((2, 2), (6, 8))),
    ],
)
def test_turns_make_spans(given_turns, found):
    assert spans(given_turns) == found


@given(turns, st.booleans(), st.integers(1, 14))
def test_who_is_there_is_told_by_the_last_turn(rounds, first, round):
    each = alternating(rounds, first)
    before = [then for turn, then in each if turn <= round]
    expected = before[-1] if before else not (each and each[0][1])
    assert there(Thing("", spans(each)), round) == expected


@given(turns, st.booleans(), turns, st.booleans(), st.integers(1, 14))
def test_an_overlap_is_where_both_are(one, first, other, second, round):
    a, b = spans(alternating(one, first)), spans(alternating(other, second))
    both = there(Thing("", a), round) and there(Thing("", b), round)
    assert there(Thing("", overlap(a, b)), round) == both


def test_what_holds_in_a_round():
    things = {"x": [Thing("a", ((1, 2),)), Thing("b", ((4, math.inf),))], "y": [Thing("c", ((3, 3),))]}
    names = [{key: thing.name for key, thing in holding(things, round).items()} for round in range(6)]
    assert names == [{"x": "a", "y": "c"}, {"x": "a"}, {"x": "a"}, {"y": "c"}, {"x": "b"}, {"x": "b"}]
    assert [thing and thing.name for thing in (during(things["x"], round) for round in (2, 3, 4))] == ["a", None, "b"]


def test_what_follows_without_a_gap_is_one():
    assert joined(((1, 2),), ((3, math.inf),)) == ((1, math.inf),)
    assert joined(((1, 2),), ((4, 5), (7, 8))) == ((1, 2), (4, 5), (7, 8))
    assert joined((), ALWAYS) == joined(ALWAYS, ()) == ALWAYS
