"""What is missing from a round, and why."""

from __future__ import annotations

from typing import NamedTuple


class LeftOut(NamedTuple):
    """A client of which nothing came in a round (`slot` is None), or an update that is not merged in it."""

    client: int
    slot: int | None
    why: str  # a word
    what: str  # a sentence
