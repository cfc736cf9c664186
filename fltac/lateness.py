"""Who comes too late in a round: by simulated time the same on every machine, by real time whoever is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fltac.world import World


def late(world: World, round: int, rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Client -> why, of those beyond `faults.round_deadline_s`, and beyond as many as the round waits for."""
    faults, wanted = world.experiment.faults, world.awaited(round)
    if faults.clock == "real":  # the runtime did not wait for them
        return {}
    found, limit = {}, faults.round_deadline_s
    for place, (seconds, client) in enumerate(sorted({(row["simulated_s"], row["client"]) for row in rows})):
        if limit is not None and seconds > limit:
            found[client] = f"{seconds:.3g} s, the deadline is {limit:g}"
        elif place >= wanted:
            found[client] = f"{seconds:.3g} s, after the {wanted} that the round waits for"
    return found


def deadline(world: World, round: int) -> tuple[float, int] | None:
    """By real time: seconds, and clients, after which a round does not wait; None where all are waited for."""
    limit, clients = world.experiment.faults.round_deadline_s, world.experiment.clients
    if world.experiment.faults.clock == "simulated" or (limit is None and clients.select == 1):
        return None
    return math.inf if limit is None else limit, world.awaited(round)
