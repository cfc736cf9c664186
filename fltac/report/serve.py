"""The page served while runs go on, to browsers of this machine alone; it reloads itself with each finished round."""

from __future__ import annotations

import errno
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from fltac.errors import InputError, Problem
from fltac.records.store import RunDirectory
from fltac.report import embedding as embeddings
from fltac.report.page import environment, render
from fltac.report.reading import read_runs

LOOPBACK = "127.0.0.1"
IDLE_S = 3600.0  # an open page asks all the time: after an hour without any nobody looks


class Page:
    """The page about runs as they are now, written anew only where a round was finished since.

    Raises InputError where a folder is no run directory, or the embedding is not installed.
    """

    def __init__(self, paths: Sequence[Path], embedding: str = "pca", overrides: Sequence[str] = ()) -> None:
        embeddings.require(embedding)
        self.runs = [RunDirectory.open(path) for path in paths]
        self.embedding, self.overrides = embedding, overrides
        self._lock, self._written = Lock(), ("", b"")

    def stamp(self) -> str:
        """Another one after each finished round, and when a run ends."""
        files = [run.path / name for run in self.runs for name in ("rounds.jsonl", "summary.json")]
        seen = [(file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None for file in files]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]

    def text(self) -> bytes:
        """The page, or one that waits where a run has no finished round."""
        with self._lock:  # several browsers, one page
            stamp = self.stamp()  # before the records are read: what comes after is seen by the next one
            if self._written[0] != stamp:
                waiting = [run.path.name for run in self.runs if not run.lines()]
                live = environment().get_template("live.html.j2").render(stamp=stamp, waiting=waiting)
                page = live
                if not waiting:
                    runs = read_runs([run.path for run in self.runs])
                    page = render(runs, self.embedding, self.overrides).replace("</body>", f"{live}</body>")
                self._written = (stamp, page.encode())
            return self._written[1]


class Server(ThreadingHTTPServer):
    """Answers on the loopback interface. Raises InputError where the port is taken; 0 is any free one."""

    daemon_threads = True
    timeout = 1.0  # seconds between looks at the clock

    def __init__(self, page: Page, port: int = 0) -> None:
        self.page, self.asked = page, time.monotonic()
        try:
            super().__init__((LOOPBACK, port), Answer)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            what = f"cannot be had: {error.strerror}; name another, or none for a free one"
            raise InputError(Problem("--port", what, port), "command line") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    """The page at `/`, and at `/stamp` what changes when it does; nothing else, and to no other host's name."""

    server: Server
    timeout = 30.0

    def do_GET(self) -> None:
        names = [f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")]
        if self.headers.get("Host") not in names:  # a page elsewhere whose name was made to lead here
            return self._send(HTTPStatus.FORBIDDEN, b"")
        answers: dict[str, Callable[[], bytes]] = {
            "/": self.server.page.text,
            "/stamp": lambda: self.server.page.stamp().encode(),
        }
        if self.path == "/favicon.ico":  # browsers ask for one, and call it an error where there is none
            return self._send(HTTPStatus.NO_CONTENT, b"")
        if self.path not in answers:
            return self._send(HTTPStatus.NOT_FOUND, b"")
        self.server.asked = time.monotonic()
        return self._send(HTTPStatus.OK, answers[self.path]())

    def _send(self, status: HTTPStatus, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if self.path == "/" else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Who asks is the user alone."""


def serve(page: Page, port: int, tell: Callable[[str], None], idle: float = IDLE_S) -> None:
    """Until it is interrupted, or nobody has asked for so many seconds. Tells the address first."""
    with Server(page, port) as server:
        tell(server.address)
        while time.monotonic() - server.asked < idle:
            server.handle_request()
