"""How long a client's round takes, by its line and machine."""

import pytest

from fltac.config import Network, Tier
from fltac.wire.lines import lines, seconds, tiers

SLOW = Tier(name="slow", share=0.25, up_mbps=1.0, down_mbps=8.0, latency_ms=500.0, tokens_per_s=10.0)
NETWORK = Network(up_mbps=20.0, down_mbps=100.0, latency_ms=50.0, tokens_per_s=5000.0, tiers=(SLOW,))


def test_seconds_by_hand():
    # twice the latency, 1 MB down at 8 Mbit/s, 100 tokens at 10 a second, 0.5 MB up at 1 Mbit/s
    assert seconds(SLOW, tokens=100, bytes_up=500_000, bytes_down=1_000_000) == pytest.approx(1 + 1 + 10 + 4)
    assert seconds(NETWORK, tokens=0, bytes_up=0, bytes_down=0) == pytest.approx(0.1)


def test_each_client_has_what_its_tier_has():
    named = tiers(8, 0, NETWORK)
    assert sorted(named) == ["others"] * 6 + ["slow"] * 2
    assert [line is SLOW for line in lines(8, 0, NETWORK)] == [name == "slow" for name in named]
    assert tiers(8, 0, NETWORK) == named
    assert len({tuple(tiers(8, seed, NETWORK)) for seed in range(5)}) > 1
