import socket
import tempfile

import pytest

from fltac.errors import InputError
from fltac.records.files import Lock
from fltac.runtime import cluster
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


def test_what_killed_drivers_left_is_removed_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held = {name: tmp_path / name for name in ("fltac-left", "fltac-held", "fltac-run", "fltac-new", "other")}
    for folder in held.values():
        (folder / "r").mkdir(parents=True)
    for name in ("fltac-left", "fltac-run", "other"):
        Lock(held[name]).release()
    (held["fltac-run"] / "rounds.jsonl").touch()  # somebody's results
    lock = Lock(held["fltac-held"])
    cluster._tidy()
    assert [name for name, folder in held.items() if not folder.exists()] == ["fltac-left"]
    lock.release()
    cluster._tidy()
    assert not held["fltac-held"].exists()
