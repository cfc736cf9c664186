"""Do the actors fit? Counted per node and per device before anything starts, so that nothing waits for ever."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from fltac.config import Experiment
from fltac.errors import InputError, Problem


@dataclass(frozen=True)
class Node:
    """What one machine has in all: CPUs may be slots, GPUs are devices."""

    name: str
    cpus: float
    gpus: int


@dataclass(frozen=True)
class Need:
    """Client actors and what each takes; the aggregator takes no CPU."""

    actors: int
    num_cpus: float
    num_gpus: float

    @property
    def cpus(self) -> int:
        """CPUs of all actors, as Ray counts them."""
        return math.ceil(self.actors * self.num_cpus)

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What each actor is made with, as Ray's resources: a placement group of it has room for all."""
        return [{"CPU": self.num_cpus, "GPU": self.num_gpus} if self.num_gpus else {"CPU": self.num_cpus}] * self.actors


def fits(node: Node, need: Need) -> int:
    """How many of the actors one node takes: a fraction of a GPU lies on one device, whole GPUs are whole devices."""
    by_cpu = math.floor(node.cpus / need.num_cpus + 1e-9)
    if need.num_gpus == 0:
        return by_cpu
    if need.num_gpus < 1:
        return min(by_cpu, node.gpus * math.floor(1 / need.num_gpus + 1e-9))
    return min(by_cpu, node.gpus // int(need.num_gpus))


def needed(experiment: Experiment, nodes: Sequence[Node], beside: int = 1) -> Need:
    """The actors of an experiment on these nodes: as many as it says, or as fit (at most one a client).

    With so many experiments side by side each takes its part of the room, and one actor at least. Where all data are
    in one place there is one, unless the experiment says more.
    """
    one = experiment.resources.client
    if experiment.resources.actors == "auto" and experiment.exchange.data == "pooled":
        return Need(1, one.num_cpus, one.num_gpus)
    if experiment.resources.actors != "auto":
        return Need(experiment.resources.actors, one.num_cpus, one.num_gpus)
    room = sum(fits(node, Need(1, one.num_cpus, one.num_gpus)) for node in nodes)
    return Need(max(1, min(room // beside, experiment.clients.count)), one.num_cpus, one.num_gpus)


def check(need: Need, nodes: Sequence[Node]) -> None:
    """Raises InputError that tells what is needed and what each node takes, where the actors do not fit."""
    room = [fits(node, need) for node in nodes]  # several nodes may have one name
    if sum(room) >= need.actors:
        return
    each = [f"{n.name} has {n.cpus:g} CPUs, {n.gpus} GPUs: takes {k}" for n, k in zip(nodes, room, strict=True)]
    there = "; ".join(each) or "no node"
    what = (
        f"needs {need.actors} client actors of {need.num_cpus:g} CPUs and {need.num_gpus:g} GPUs each, "
        f"but {there}; lower resources.actors or what each takes"
    )
    lacks_gpu = need.num_gpus > max((node.gpus for node in nodes), default=0)  # not even one actor's share is there
    key, got = ("resources.client.num_gpus", need.num_gpus) if lacks_gpu else ("resources.actors", need.actors)
    raise InputError(Problem(key, what, got))


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
