"""What clients have: lines to the server and machines; and what bytes cost.

Costs are read after a run. Only where a round has a deadline, or selects more clients than it waits for, do lines and
machines say who is late.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fltac.config.base import Config, Share

Rate = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


class Tier(Config):
    """A part of the clients with lines and machines of their own."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    share: Share  # of all clients; who is in it is drawn
    up_mbps: Rate
    down_mbps: Rate
    latency_ms: Amount = 50.0
    tokens_per_s: Rate = 5000.0


class Network(Config):
    """Of clients in no tier, and prices. The defaults are a home line and what clouds ask for traffic; set your own."""

    up_mbps: Rate = 20.0
    down_mbps: Rate = 100.0
    latency_ms: Amount = 50.0  # one way
    tokens_per_s: Rate = 5000.0  # that a client trains on; an image counts as one
    tiers: Annotated[tuple[Tier, ...], Field(strict=False)] = ()
    usd_per_gb: Amount = 0.09  # of traffic, both ways; 1 GB is 10^9 bytes
    usd_per_server_hour: Amount = 0.20
    usd_per_gb_month: Amount = 0.02  # of what the server keeps

    @model_validator(mode="after")
    def _at_most_all(self) -> Network:
        if sum(tier.share for tier in self.tiers) > 1 + 1e-9:
            raise ValueError("the tiers have more than all clients; lower a share")
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names) or "others" in names:
            raise ValueError("tiers need names of their own, and none may be 'others'")
        return self
