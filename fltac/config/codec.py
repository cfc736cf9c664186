"""How numbers travel, read from one string: `NUMBERS[+topSHARE][+zstd]`."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

NUMBERS = ("float32", "float16", "bfloat16", "int8", "int4")
_GRAMMAR = re.compile(rf"({'|'.join(NUMBERS)})(?:\+top(\d+(?:\.\d+)?(?:e-\d+)?))?(\+zstd)?")


class Codec(NamedTuple):
    """What becomes of a message's numbers on the wire (`fltac.wire.codecs`)."""

    numbers: str  # one of NUMBERS
    top: float | None = None  # share of the adapter's numbers that is sent, those that changed most
    zstd: bool = False


def parse_codec(text: str) -> Codec:
    """`"int8+top0.1+zstd"` -> Codec("int8", 0.1, True). Raises ValueError with the remedy."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(
            f"is no codec; write NUMBERS[+topSHARE][+zstd], e.g. int8+top0.1+zstd, NUMBERS one of {', '.join(NUMBERS)}"
        )
    numbers, share, zstd = match.groups()
    if share is not None and not 0 < float(share) <= 1:
        raise ValueError("top sends a share above 0 and at most 1 of the numbers, e.g. +top0.1")
    return Codec(numbers, None if share is None else float(share), zstd is not None)


def _readable(text: str) -> str:
    parse_codec(text)
    return text


def _whole(text: str) -> str:
    if parse_codec(text).top is not None:
        raise ValueError(
            "goes without +top: a client keeps no adapter between rounds, so there is nothing that a change could be"
            " a change of; remove it"
        )
    return text


UpCodec = Annotated[str, AfterValidator(_readable)]
DownCodec = Annotated[str, AfterValidator(_whole)]
