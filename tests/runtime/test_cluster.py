import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.errors import InputError
from fltac.runtime.cluster import metrics_port, spread


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(1, 6))
def test_everything_is_given_out_once_and_in_order(costs, workers):
    shares = spread(costs, workers)
    assert len(shares) == workers
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)


def test_the_longest_go_first_to_whoever_has_least():
    assert spread([1, 5, 2, 4], 2) == [[0, 1], [2, 3]]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_no_worker_has_more_than_a_job_above_the_mean(costs, workers):
    loads = [sum(costs[index] for index in share) for share in spread(costs, workers)]
    assert max(loads) <= sum(costs) / workers + max(costs) + 1e-6


def test_metrics_have_the_port_that_is_asked_for(monkeypatch):
    monkeypatch.delenv("FLTAC_METRICS_PORT", raising=False)
    assert metrics_port() is None
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("FLTAC_METRICS_PORT", str(port))
        with pytest.raises(
            InputError, match="environment: FLTAC_METRICS_PORT: must be a free port: Address already in"
        ):
            metrics_port()
    assert metrics_port() == port


@pytest.mark.parametrize("asked", ["none", "-1", "65536"])
def test_a_port_that_is_none_is_refused(monkeypatch, asked):
    monkeypatch.setenv("FLTAC_METRICS_PORT", asked)
    with pytest.raises(InputError, match=f"must be a free port: that is none; .* \\(got '{asked}'\\)"):
        metrics_port()
