"""A connection to Ray: a cluster that is there, or one of our own that ends with us."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray._private import utils

from fltac.errors import SIGNALS, InputError, Problem, StoppedError, in_one_line
from fltac.records.files import LOCK, Lock
from fltac.runtime.access import make_token, require_closed, require_token
from fltac.runtime.capacity import Need, Node, check, cores
from fltac.runtime.nodes import gathered

RAY = "r"  # in the folder of a Ray of our own; short, since its sockets lie in it
REACH_SECONDS = 10.0  # for a named cluster to answer


class Cluster:
    """A connection to Ray: the named cluster, or one of our own that ends with us."""

    def __init__(self, needs: Callable[[Sequence[Node]], Need], address: str | None) -> None:
        """`needs` tells the actors of an experiment, or of one of several side by side, on the nodes that there are."""
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.folder: str | None = None
        self.warning = ""
        if ray.is_initialized():
            what = "Ray is connected in this process already; call ray.shutdown() first"
            raise InputError(Problem("--address", what, self.address))
        try:
            self._join(needs)
        except BaseException:
            self.__exit__()
            raise

    def _join(self, needs: Callable[[Sequence[Node]], Need]) -> None:
        """Connects or starts, once the actors are known to fit."""
        if self.address:
            self._connect()
            self.nodes, self.need = gathered(needs)
        else:
            gpus = _gpus() if needs([Node("this machine", cores(), 1)]).num_gpus else 0  # asking takes torch: seconds
            self.need = needs([Node("this machine", cores(), gpus)])
            slots = max(cores(), self.need.cpus)  # more slots than cores only makes them share
            self.nodes = [Node("this machine", slots, gpus)]
            check(self.need, self.nodes)
            if slots > cores():
                self.warning = f"{self.need.actors} actors of {self.need.num_cpus:g} CPUs share {cores()} cores"
            self._start(slots, gpus)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.lock.release()

    def _connect(self) -> None:
        key = require_token(self.address or "")
        try:
            _reach(self.address or "")
            with _undisturbed():
                context = ray.init(address=self.address, logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            reason = in_one_line(error)
            what = (
                f"no Ray cluster answers there; check the address and the token's file, RAY_AUTH_TOKEN_PATH ({reason})"
            )
            raise InputError(Problem("--address", what, self.address)) from None
        if key:
            require_closed(self.address or "", context.dashboard_url or "")

    def _start(self, slots: int, gpus: int) -> None:
        make_token()
        port = metrics_port()
        _tidy()
        self.folder = tempfile.mkdtemp(prefix="fltac-")
        self.lock = Lock(Path(self.folder))
        try:
            with _undisturbed():
                ray.init(
                    address="local",
                    num_cpus=slots,
                    num_gpus=gpus,
                    include_dashboard=False,
                    logging_level="ERROR",
                    log_to_driver=False,
                    _temp_dir=f"{self.folder}/{RAY}",  # Ray opens it to all; the folder around it is closed
                    _metrics_export_port=port,
                )
        except Exception as error:  # what Ray raises where its processes are not up in time
            what = f"Ray did not start here ({in_one_line(error)}); try again when there is less to do"
            raise StoppedError(f"{what}, or name a cluster with --address") from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While Ray starts, a signal waits until it has: an exception amid its C++ ends in a crash, and so does Ray's own
    answer to SIGTERM, which ends its processes under it. A second signal does not wait."""
    if threading.current_thread() is not threading.main_thread():  # where no signal is answered
        yield
        return
    known = {one: answer for one in SIGNALS if callable(answer := signal.getsignal(one))}
    came: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.alarm(0)  # by which Ray's C++, where it was amid its own start, means to abort in three seconds
        if len(came) > 1:
            known[signal.Signals(number)](number, frame)

    asked: list[Any] = []
    rays, utils.set_sigterm_handler = utils.set_sigterm_handler, asked.append
    for one in known:
        signal.signal(one, wait)
    try:
        yield
    finally:
        utils.set_sigterm_handler = rays
        last = {signal.SIGTERM: asked[-1]} if asked else {}
        for one, answer in {**last, **known}.items():
            signal.signal(one, answer)  # above that of C++, which prints a stack
        if len(came) == 1:
            signal.raise_signal(came[0])


def _tidy() -> None:
    """Removes what drivers that were killed have left: folders of ours whose lock nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob("fltac-*"):
        with suppress(OSError, InputError):  # somebody's, or somebody else is quicker
            if {one.name for one in folder.iterdir()} == {LOCK, RAY} and folder.stat().st_uid == os.getuid():
                Lock(folder).release()
                shutil.rmtree(folder, ignore_errors=True)


def _reach(address: str) -> None:
    """Raises OSError where nobody listens at host:port; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()


def metrics_port() -> int | None:
    """Where a Ray of our own tells Prometheus its metrics: FLTAC_METRICS_PORT, or any port that is free."""
    asked = os.environ.get("FLTAC_METRICS_PORT")
    if not asked:
        return None
    what = "must be a free port: {}; name another, or leave it out"
    if not (asked.isdecimal() and 0 < int(asked) < 2**16):
        raise InputError(Problem("FLTAC_METRICS_PORT", what.format("that is none"), asked), "environment")
    try:
        socket.create_server(("", int(asked))).close()
    except OSError as error:
        problem = Problem("FLTAC_METRICS_PORT", what.format(error.strerror), asked)
        raise InputError(problem, "environment") from None
    return int(asked)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
