import socket

import pytest

from fltac.errors import InputError
from fltac.runtime.cluster import metrics_port


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
