"""When something is there: spans of rounds, and what holds in which round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

Spans = tuple[tuple[int, float], ...]  # first and last rounds, rising and apart
ALWAYS: Spans = ((1, math.inf),)


class Timed(Protocol):
    """What is there in some rounds and not in others."""

    @property
    def spans(self) -> Spans: ...


T = TypeVar("T", bound=Timed)
Key = TypeVar("Key")


def spans(turns: Iterable[tuple[int, bool]]) -> Spans:
    """From turns `(round, there from then on)` in rising order; before the first it is the other way round."""
    found: list[tuple[int, float]] = []
    for round, there in turns:
        if there:
            found.append((round, math.inf))
        else:
            found = [*found[:-1], (found[-1][0] if found else 1, round - 1)]
    return tuple(found) or ALWAYS


def overlap(*each: Spans) -> Spans:
    """The rounds that are in all of them."""
    common = ALWAYS
    for one in each:
        common = tuple((max(a, c), min(b, d)) for a, b in common for c, d in one if max(a, c) <= min(b, d))
    return common


def there(thing: Timed, round: int) -> bool:
    return any(first <= round <= last for first, last in thing.spans)


def holding(things: Mapping[Key, Sequence[T]], round: int) -> dict[Key, T]:
    """Key -> the one of its things that is there in the round; before round 1, the one that will be there first."""
    if round < 1:
        return {key: each[0] for key, each in things.items()}
    return {key: thing for key, each in things.items() for thing in each if there(thing, round)}


def during(things: Sequence[T], round: int) -> T | None:
    """The one that is there in the round."""
    return next((thing for thing in things if there(thing, round)), None)


def joined(one: Spans, other: Spans) -> Spans:
    """Both, one after the other; a gap of no round is none."""
    if one and other and one[-1][1] + 1 == other[0][0]:
        return (*one[:-1], (one[-1][0], other[0][1]), *other[1:])
    return (*one, *other)
