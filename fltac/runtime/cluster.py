"""On Ray: client actors that host clients, one central aggregator actor, payloads by reference.

The actors are thin shells around `Host` and `Aggregator`; what they compute is what `local.py` computes.
"""

from __future__ import annotations

import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from fltac.errors import InputError, Problem
from fltac.runtime.capacity import Need, Node, check, cores
from fltac.server.aggregator import Aggregator
from fltac.server.state import Post, Setup, Step, dump, load

if TYPE_CHECKING:  # torch is for client actors: the aggregator's process starts without it, the driver beside it
    from fltac.client import Job, Ledger, Order
    from fltac.data.shards import Shard
    from fltac.model.training import Score
    from fltac.world import World

REACH_SECONDS = 10.0  # for a named cluster to answer
READY_SECONDS = 300.0  # for an actor to start; a cluster that is busy for longer is told as such


class ClientActor:
    """Hosts clients on one resident model; holds nothing of a round when the round is over."""

    def __init__(self, num_cpus: float, num_gpus: float) -> None:
        import torch

        torch.set_num_threads(max(1, int(num_cpus)))
        if 0 < num_gpus < 1 and torch.cuda.is_available():  # Ray only keeps books; the driver must not take it all
            torch.cuda.set_per_process_memory_fraction(num_gpus)

    def warm_up(self, kind: str) -> None:
        """Imports what is slow to import, while the driver still prepares the world."""
        import fltac.host  # noqa: F401
        from fltac.model.backbone import warm_up

        warm_up(kind)

    def load(self, world: World) -> None:
        from fltac.host import Host

        self.host = Host(world)

    def train(self, round: int, orders: Sequence[Order], indices: Sequence[int], *payloads: bytes) -> Iterator[Any]:
        yield from self.host.train(round, orders, dict(zip(indices, payloads, strict=True)))

    def evaluate(self, jobs: Sequence[Job], indices: Sequence[int], *payloads: bytes) -> list[Score]:
        return self.host.evaluate(jobs, dict(zip(indices, payloads, strict=True)))


class AggregatorActor:
    """The server: keeps the state between steps, hands out payloads and snapshots."""

    def load(self, setup: Setup) -> None:
        self.aggregator = Aggregator(setup)

    def start(self, files: Mapping[str, bytes]) -> Iterator[Any]:
        self.state = load(files, self.aggregator.setup) if files else self.aggregator.start()
        yield from self._post(None)

    def warm_up(self) -> None:
        self.aggregator.warm_up()

    def step(self, *updates: Sequence[bytes]) -> Iterator[Any]:
        self.state, report = self.aggregator.step(self.state, [payload for each in updates for payload in each])
        yield from self._post(report)

    def snapshot(self) -> dict[str, bytes]:
        return dump(self.state, self.aggregator.setup.spec)

    def _post(self, report: Step | None) -> Iterator[Any]:
        """The report and all addresses, then each payload as an object of its own, owned by the driver."""
        post = self.aggregator.post(self.state)
        yield report, post.addresses, post.judged
        yield from (payload for payload in post.payloads)  # Ray sends into its generators: a bare list does not take it


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
            self.nodes = [
                Node(node["NodeManagerAddress"], node["Resources"].get("CPU", 0), int(node["Resources"].get("GPU", 0)))
                for node in ray.nodes()
                if node["Alive"]
            ]
            self.need = needs(self.nodes)
            check(self.need, self.nodes)
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

    def _connect(self) -> None:
        try:
            _reach(self.address or "")
            ray.init(address=self.address, logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            what = f"no Ray cluster answers there; check the address and RAY_AUTH_MODE ({reason})"
            raise InputError(Problem("--address", what, self.address)) from None

    def _start(self, slots: int, gpus: int) -> None:
        port = metrics_port()
        self.folder = tempfile.mkdtemp(prefix="fltac-")  # short: Ray's sockets lie in it
        ray.init(
            address="local",
            num_cpus=slots,
            num_gpus=gpus,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
            _temp_dir=self.folder,
            _metrics_export_port=port,
        )


class RayRuntime:
    """Client actors and an aggregator actor on a cluster. The driver passes references and decodes no payload."""

    def __init__(self, need: Need, group: PlacementGroup | None = None) -> None:
        """With a placement group of `need.bundles` all actors live in it, which they would not by themselves."""
        place = PlacementGroupSchedulingStrategy(group) if group else None
        self.need = need
        self.actors = [
            ray.remote(ClientActor)
            .options(num_cpus=each["CPU"], num_gpus=each.get("GPU", 0), scheduling_strategy=place)
            .remote(need.num_cpus, need.num_gpus)
            for each in need.bundles
        ]
        self.aggregator = ray.remote(AggregatorActor).options(num_cpus=0, scheduling_strategy=place).remote()

    def __enter__(self) -> RayRuntime:
        return self

    def __exit__(self, *error: object) -> None:
        for actor in (*self.actors, self.aggregator):
            ray.kill(actor)

    def warm_up(self, kind: str) -> None:
        """Has the actors import what a kind of model takes, while the driver does something else."""
        for actor in self.actors:
            actor.warm_up.remote(kind)

    def load(self, world: World, setup: Setup) -> None:
        """The world goes once into the object store, where every actor on a node maps it without a copy."""
        self.world = world
        shared = ray.put(world)
        loading = [actor.load.remote(shared) for actor in self.actors] + [self.aggregator.load.remote(setup)]
        if late := unfinished(loading, READY_SECONDS):
            free = ray.available_resources()
            what = (
                f"{len(late)} of {len(loading)} actors did not start in {READY_SECONDS:g} s: "
                f"each needs {self.need.num_cpus:g} CPUs and {self.need.num_gpus:g} GPUs, "
                f"free are {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs"
            )
            raise TimeoutError(what)

    def start(self, files: Mapping[str, bytes]) -> Post:
        post, _ = self._posted(self.aggregator.start.options(num_returns="streaming").remote(dict(files)))
        self.aggregator.warm_up.remote()  # while the clients train
        return post

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[list[Any], Ledger]:
        held = self.world.held(round)
        packs = [list(pack) for _, pack in groupby(range(len(orders)), key=lambda index: orders[index].pack)]
        costs = [sum(self._cost(held[orders[index].client].values()) for index in pack) for pack in packs]
        updates: dict[int, Any] = {}
        last = []
        for actor, shares in zip(self.actors, spread(costs, len(self.actors)), strict=True):
            share = [index for place in shares for index in packs[place]]
            mine = [orders[index] for index in share]
            if not mine:
                continue
            indices = sorted({index for order in mine for index in order.payloads})
            call = actor.train.options(num_returns=len(mine) + 1)
            *refs, ledger = call.remote(round, mine, indices, *[post.payloads[index] for index in indices])
            updates.update(zip(share, refs, strict=True))
            last.append(ledger)
        from fltac.client import Ledger

        ledgers = first_error_first(last)
        rows = sorted((row for ledger in ledgers for row in ledger.rows), key=lambda row: (row["client"], row["slot"]))
        states = {client: state for ledger in ledgers for client, state in ledger.states.items()}
        return [updates[index] for index in range(len(orders))], Ledger(rows, states)

    def aggregate(self, updates: Sequence[Any]) -> tuple[Post, Step]:
        return self._posted(self.aggregator.step.options(num_returns="streaming").remote(*updates))

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        costs = [float(self.world.tasks[job.task].split(job.split).lengths.sum()) for job in jobs]
        shares = [share for share in spread(costs, len(self.actors)) if share]
        calls = []
        for actor, share in zip(self.actors, shares, strict=False):
            indices = sorted({jobs[index].payload for index in share})
            payloads = [post.payloads[index] for index in indices]
            calls.append(actor.evaluate.remote([jobs[index] for index in share], indices, *payloads))
        scores: dict[int, Score] = {}
        for share, answer in zip(shares, first_error_first(calls), strict=True):
            scores.update(zip(share, answer, strict=True))
        return [scores[index] for index in range(len(jobs))]

    def snapshot(self) -> dict[str, bytes]:
        files: dict[str, bytes] = ray.get(self.aggregator.snapshot.remote())
        return files

    def _posted(self, generator: Any) -> tuple[Post, Any]:
        first, *payloads = list(generator)
        report, addresses, judged = ray.get(first)
        return Post(payloads, addresses, judged), report

    def _cost(self, shards: Iterable[Shard]) -> float:
        """Tokens of a step, over a client's shards: what its part of the round takes, up to a factor."""
        return sum(float(self.world.tasks[s.task].train.lengths[s.indices].mean()) for s in shards)


def spread(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Indices of the costs for each worker, longest first to whoever has least; within a worker in order."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0.0] * workers
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = loads.index(min(loads))
        shares[least].append(index)
        loads[least] += costs[index]
    return [sorted(share) for share in shares]


def first_error_first(refs: Sequence[Any]) -> list[Any]:
    """All values, in order; an error is raised as soon as it is there, not when the slower ones are done."""
    unfinished(refs)
    return list(ray.get(list(refs)))


def unfinished(refs: Sequence[Any], seconds: float = math.inf) -> list[Any]:
    """Those that are not done in time; raises the first error as soon as it is there."""
    pending, end = list(refs), time.monotonic() + seconds
    while pending and (left := end - time.monotonic()) > 0:
        ready, pending = ray.wait(pending, num_returns=1, timeout=None if left == math.inf else left)
        ray.get(ready)
    return pending


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
