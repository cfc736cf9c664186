"""A Ray of our own: its port, what it leaves, and signals that come while it starts."""

import signal
import socket
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from ray._private import utils

from fltac.errors import InputError
from fltac.records.files import Lock
from fltac.runtime import cluster
from fltac.runtime.cluster import metrics_port
from tests.processes import left, marked


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


@pytest.fixture
def answered():
    """The signals that are answered by ourselves meanwhile."""
    answered = []
    before = {one: signal.signal(one, lambda number, _: answered.append(number)) for one in cluster.SIGNALS}
    yield answered
    for one, answer in before.items():
        signal.signal(one, answer)


def test_a_signal_waits_until_ray_has_started_and_is_answered_by_us(answered):
    def rays(*_):
        raise AssertionError("it would end its processes")

    with cluster._undisturbed():
        utils.set_sigterm_handler(rays)
        signal.raise_signal(signal.SIGTERM)
        assert answered == []
    assert answered == [signal.SIGTERM]
    signal.raise_signal(signal.SIGTERM)
    assert answered == [signal.SIGTERM] * 2


def test_a_second_signal_does_not_wait_for_ray(answered):
    with cluster._undisturbed():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
        assert answered == [signal.SIGHUP]
    assert answered == [signal.SIGHUP]


def test_the_abort_that_rays_c_means_after_sigterm_is_off(answered):
    before = signal.signal(signal.SIGALRM, lambda number, _: answered.append(number))
    with cluster._undisturbed():
        signal.setitimer(signal.ITIMER_REAL, 0.2)  # three seconds there
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.4)
    signal.signal(signal.SIGALRM, before)
    assert answered == [signal.SIGTERM]


def test_where_nobody_else_answers_ray_does(answered):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with cluster._undisturbed():
        utils.set_sigterm_handler(lambda number, _: answered.append("ray"))
    signal.raise_signal(signal.SIGTERM)
    assert answered == ["ray"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_rays_start_has_its_code_and_leaves_nothing(tiny_file, tmp_path, number):
    run = begun(tiny_file, tmp_path)
    while not any("gcs_server" in name for name in names(run.pid)):
        assert run.poll() is None
        time.sleep(0.05)
    assert ended(run, number, tmp_path) == (128 + number, "stopped: nothing had begun")
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_amid_a_round_has_its_code_whatever_ray_makes_of_it(tiny_file, tmp_path, number):
    run, out = begun(tiny_file, tmp_path, "rounds=500"), tmp_path / "run"
    while not (out / "rounds.jsonl").exists():
        assert run.poll() is None
        time.sleep(0.05)
    said = f"stopped: what is finished is kept; fltac resume {out} goes on"
    assert ended(run, number, tmp_path) == (128 + number, said)


def begun(file, folder, *overrides):
    def answering():  # what runs in a shell's background ignores the one, under nohup the other; so would a child
        for one in cluster.SIGNALS:
            signal.signal(one, signal.SIG_DFL)

    command = [sys.executable, "-m", "fltac", "run", str(file), *overrides, "--out", str(folder / "run")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=marked(folder, COLUMNS="1000"), preexec_fn=answering, **pipes)


def ended(run, number, folder):
    """Its code and last line, once none of its processes is left."""
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert left(folder) == []
    return run.returncode, err.splitlines()[-1]


def names(pid):
    return [child.name() for child in psutil.Process(pid).children(recursive=True)]
