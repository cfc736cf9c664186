"""The clients' lines and machines: who is in which tier, and how long a round takes them. Reckoned, not measured."""

from __future__ import annotations

import math

from fltac.config import Network, Tier
from fltac.seeds import generator

OTHERS = "others"  # clients in no tier


def tiers(clients: int, seed: int, network: Network) -> list[str]:
    """The tier of each client: shares of a seeded permutation, rounded to whole clients, the rest in none."""
    order = generator(seed, "tiers").permutation(clients)
    names, ends = [OTHERS] * clients, 0.0
    for tier in network.tiers:
        begin, ends = ends, ends + tier.share
        for client in order[math.floor(begin * clients + 0.5) : math.floor(ends * clients + 0.5)]:
            names[client] = tier.name
    return names


def lines(clients: int, seed: int, network: Network) -> list[Network | Tier]:
    """What each client has."""
    named: dict[str, Network | Tier] = {OTHERS: network, **{tier.name: tier for tier in network.tiers}}
    return [named[name] for name in tiers(clients, seed, network)]


def seconds(line: Network | Tier, tokens: int, bytes_up: int, bytes_down: int) -> float:
    """A client's round: 2 latency + 8 bytes_down / down + tokens / speed + 8 bytes_up / up."""
    wire = 8e-6 * bytes_down / line.down_mbps + 8e-6 * bytes_up / line.up_mbps
    return 2e-3 * line.latency_ms + wire + tokens / line.tokens_per_s
