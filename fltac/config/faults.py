"""What a run puts up with, and what it does then."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from fltac.config.base import Bound, Config, Positive

Seconds = Annotated[float, Field(gt=0, le=1e9)]  # thirty years; clocks end somewhere
Factor = Annotated[float, Field(gt=1)]


def _never(value: object) -> object:
    return None if value is False else value


class Faults(Config):
    round_deadline_s: Annotated[Seconds | None, BeforeValidator(_never)] = (
        None  # then the round goes on without the late
    )
    clock: Literal["simulated", "real"] = "simulated"  # simulated: by [network], the same on every machine
    late_weight: Bound = None  # of a late update in the next round's mean; false: it is discarded
    max_failures: Annotated[int, Field(ge=-1)] = 3  # of a piece of work, with its actor; then without it; -1: no end
    min_clients: Positive = 1  # whose updates a round needs to go on
    max_norm: Annotated[Factor | None, BeforeValidator(_never)] = 10.0  # from v0, of the median; further is absurd
    timeout_s: Seconds = 21600.0  # after which an actor that does not answer is taken for dead
