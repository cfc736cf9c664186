"""Jobs on a cluster that asks for a token: who may send one, what it prints, how it ends."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fltac.errors import InputError
from fltac.runtime.access import takes_anybody
from fltac.runtime.jobs import submit
from tests.runtime.conftest import asked

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_stranger_is_answered_401(token_head):
    url, _ = token_head
    sent = json.dumps({"entrypoint": "true"}).encode()
    assert asked(f"{url}/api/version") == 401
    assert asked(f"{url}/api/jobs/") == 401
    assert asked(f"{url}/api/jobs/", data=sent) == 401
    assert asked(f"{url}/api/jobs/", "another token", sent) == 403


def test_a_cluster_is_told_by_its_dashboard_to_strangers(token_head, tmp_path):
    tokens = []

    class Open(BaseHTTPRequestHandler):
        def do_GET(self):
            tokens.append(self.headers["Authorization"])
            self.send_response(200 if self.path == "/api/version" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    url, _ = token_head
    assert not takes_anybody(url.removeprefix("http://"))
    assert not takes_anybody("")
    with HTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert takes_anybody(f"127.0.0.1:{server.server_port}")
        with pytest.raises(InputError, match="takes anybody: it asks for no token"):
            submit(["run", "a.toml"], tmp_path, f"http://127.0.0.1:{server.server_port}/", print)
        assert tokens == [None, None]
        server.shutdown()


def test_a_job_is_sent_followed_and_ends_as_its_run_ends(token_head, tiny_file, tmp_path):
    """Three at once: one without a token, one whose results would lie nowhere, and a good one."""
    url, env = token_head

    def fltac(*words, **more):
        command = [sys.executable, "-m", "fltac", "submit", tiny_file.name, "rounds=1", "--address", url, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tiny_file.parent, env={**env, **more}, **pipes)

    good = fltac("training.steps=1", "--out", str(tmp_path / "run"))
    stranger = fltac(RAY_AUTH_TOKEN_PATH="", HOME=str(tmp_path))
    homeless = fltac()
    _, err = stranger.communicate(timeout=120)
    assert stranger.returncode == 2, err
    assert err.endswith(f"--address: asks for a token; set RAY_AUTH_TOKEN_PATH to the file of its own (got '{url}')\n")
    out, err = homeless.communicate(timeout=120)
    assert homeless.returncode == 2, err
    assert "environment: FLTAC_RUNS: set it to an absolute folder" in out
    out, err = good.communicate(timeout=400)
    assert good.returncode == 0, out + err
    assert re.match(rf"job raysubmit_\w+ at {url}: its log follows", out)
    assert "round 1/1  loss " in out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["rounds"] == 1
    token = Path(env["RAY_AUTH_TOKEN_PATH"]).read_text()
    written = [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert not any(token.encode() in content for content in written)


def test_what_is_no_job_server_is_told_in_one_line(token_head, tmp_path, monkeypatch):
    url, env = token_head
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", env["RAY_AUTH_TOKEN_PATH"])
    with pytest.raises(InputError, match=r"--address: takes no job; name the dashboard's URL .* \(got 'http"):
        submit(["run", "x.toml"], tmp_path, f"{url}/elsewhere", print)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://127.0.0.1:10001", "auto"])
def test_only_the_urls_of_dashboards_are_taken(address, tmp_path):
    with pytest.raises(InputError, match="--address: is the URL of the cluster's dashboard"):
        submit(["run", "x.toml"], tmp_path, address, print)
