"""The page served while a run goes on: to this machine, and anew with each round."""

import http.client
import re
import signal
import subprocess
import sys
from functools import partial
from threading import Thread

import pytest

from fltac.errors import InputError
from fltac.report.serve import LOOPBACK, Page, Server, serve
from tests.report.test_report import Kind, record, write_run


@pytest.fixture
def served(tmp_path):
    """A run of one round of two, its page and its server."""
    page = Page([write_run(tmp_path / "run", Kind(rounds=1, planned=2))])
    with Server(page) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield page, server
        server.shutdown()


def get(server, path, host=None):
    asked = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=60)
    asked.request("GET", path, headers={"Host": host} if host else {})
    answer = asked.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_that_of_the_last_finished_round(served):
    page, server = served
    assert server.server_address[0] == "127.0.0.1"
    before = get(server, "/stamp")
    status, text = get(server, "/")
    assert (status, before[0]) == (200, 200)
    assert "running, 1 of 2 rounds" in text
    assert f'"{before[1]}"' in text  # what it compares with
    assert text.count("</html>") == 1
    page.runs[0].finish_round(record(2, Kind()), {"server.safetensors": b""}, {})
    assert get(server, "/stamp") != before
    assert "running, 2 of 2 rounds" in get(server, "/")[1]


def test_nothing_else_is_served_and_to_no_other_name(served):
    _, server = served
    assert get(server, "/experiment.json")[0] == 404
    assert get(server, "/favicon.ico") == (204, "")  # which a browser would call an error
    assert get(server, "/", host="example.org")[0] == 403
    assert get(server, "/stamp", host=f"localhost:{server.server_port}")[0] == 200


def test_a_browser_that_goes_away_is_no_error(served, capsys):
    _, server = served
    for error, told in ((BrokenPipeError(), False), (ValueError("wrong"), True)):
        try:
            raise error
        except (OSError, ValueError):
            server.handle_error(None, ("127.0.0.1", 1))
        assert ("Traceback" in capsys.readouterr().err) == told


def test_a_run_without_a_finished_round_is_waited_for(tmp_path):
    page = Page([write_run(tmp_path / "run", Kind(rounds=0))])
    assert b"No finished round yet" in page.text()
    assert b"location.reload" in page.text()


def test_a_port_that_is_taken_is_told(served):
    page, server = served
    with pytest.raises(InputError, match="--port: cannot be had"):
        Server(page, server.server_port)


def test_it_ends_when_nobody_has_asked_for_long(served):
    told = []
    serve(served[0], 0, told.append, idle=0.0)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", told[0])


def test_the_command_serves_until_ctrl_c(tmp_path):
    folder = write_run(tmp_path / "run")
    command = [sys.executable, "-m", "fltac", "report", folder, "--serve"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which is ignored in what a shell runs beside itself
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        try:
            port = int(re.search(r"http://127.0.0.1:(\d+)/", process.stdout.readline())[1])
            asked = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
            asked.request("GET", "/")
            assert b"2 rounds, finished" in asked.getresponse().read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("words", [["-o", "x.html"], []])
def test_what_cannot_be_served_is_refused(fltac, tmp_path, words):
    folder = write_run(tmp_path / "run")
    if not words:
        (folder / "sweep.json").write_text("{}")
    code, _, err = fltac("report", folder, "--serve", *words)
    assert code == 2
    assert ("is not written by --serve" if words else "--serve: is for runs") in err
