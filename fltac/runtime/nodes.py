"""The nodes of a named cluster: who is there, who is waited for, and what storage they share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fltac.errors import InputError, Problem
from fltac.runtime.capacity import Need, Node, check

PROBE_SECONDS = 60.0  # for a task to start on each node


def there() -> list[Node]:
    """The nodes that are alive."""
    return [
        Node(node["NodeManagerAddress"], node["Resources"].get("CPU", 0), int(node["Resources"].get("GPU", 0)))
        for node in _alive()
    ]


def gathered(needs: Callable[[Sequence[Node]], Need]) -> tuple[list[Node], Need]:
    """The nodes and the actors that fit on them.

    A cluster that grows says so by FLTAC_WAIT_S in the environment: its autoscaler is asked for the actors' resources,
    and waited for so many seconds. Raises InputError where the actors do not fit then.
    """
    seconds = _patience()
    end = time.monotonic() + seconds
    try:
        while True:
            nodes = there()
            need = needs(nodes)
            try:
                check(need, nodes)
                return nodes, need
            except InputError:
                if time.monotonic() >= end:
                    raise
            request_resources(bundles=need.bundles)
            time.sleep(1)
    finally:
        if seconds:
            request_resources(bundles=[])  # from here on the actors hold them, and idle nodes may go


def require_shared(folder: Path, option: str = "--out") -> None:
    """Raises InputError where a node does not see what the driver writes into a folder, or the driver not what it does.

    Nothing is left in the folder, nor the folder where there was none.
    """
    here = ray.get_runtime_context().get_node_id()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in _alive() if node["NodeID"] != here}
    if not others:
        return
    mark, new = secrets.token_hex(8), not folder.exists()
    probe = folder / f".probe-{mark}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text(mark)
        answers = {node: _answer(node, probe, mark) for node in others}
        for node, answer in answers.items():
            wrong = _heard(answer)
            if not wrong and not probe.with_name(f"{probe.name}-{node}").is_file():
                wrong = "what it writes there does not arrive here"
            if wrong:
                what = f"must be on storage that all nodes share, but on {others[node]} {wrong}; name a shared folder"
                raise InputError(Problem(option, what, str(folder)), "command line")
    except OSError as error:
        what = f"cannot be written: {error.strerror}; name another folder"
        raise InputError(Problem(option, what, str(folder)), "command line") from None
    finally:
        for left in folder.glob(f"{probe.name}*"):
            left.unlink()
        if new and folder.is_dir():
            folder.rmdir()


def _answer(node: str, probe: Path, mark: str) -> Any:
    """A task on a node that reads the driver's mark and leaves one of its own."""
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(_probe).options(num_cpus=0, scheduling_strategy=place).remote(str(probe), mark, node)


def _probe(probe: str, mark: str, node: str) -> str:
    """What is wrong with the storage, as a node sees it."""
    try:
        if Path(probe).read_text() != mark:
            return "another file lies there"
        Path(f"{probe}-{node}").touch()
    except OSError as error:
        return f"there is {(error.strerror or str(error)).lower()}"
    return ""


def _heard(answer: Any) -> str:
    try:
        return str(ray.get(answer, timeout=PROBE_SECONDS))
    except GetTimeoutError:
        return f"no task started in {PROBE_SECONDS:g} s"


def _patience() -> float:
    said = os.environ.get("FLTAC_WAIT_S", "0")
    try:
        return max(0.0, float(said))
    except ValueError:
        raise InputError(Problem("FLTAC_WAIT_S", "is a number of seconds", said), "environment") from None


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
