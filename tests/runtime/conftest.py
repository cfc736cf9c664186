import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ray_address():
    """A local Ray cluster of eight CPU slots, named as a user would name one; ends with the session."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="session")
def token_head():
    """A Ray head on loopback that asks for a token: its dashboard's URL, and the environment that has the token."""
    folder = Path(tempfile.mkdtemp(prefix="fltac-head-"))  # short: Ray's sockets lie in it
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_A", "FLTAC_RUNS"))}
    env = {**own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": path}
    url = f"http://127.0.0.1:{(dashboard := free_port())}"
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=4"),
        *(f"--temp-dir={folder / 'ray'}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"),
        *(f"--port={free_port()}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}"),
        *(f"--ray-client-server-port={free_port()}", "--disable-usage-stats"),
    ]
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(120):
            if asked(f"{url}/api/version", token.read_text()) == 200 or head.poll() is not None:
                break
            time.sleep(0.5)
        assert head.poll() is None, (folder / "log").read_text()
        yield url, env
    finally:
        head.terminate()  # and with it all that it started
        head.wait(timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def asked(url, token=None, data=None):
    """The status that a server answers with; None where there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
