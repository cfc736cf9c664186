"""Everything in this process, one client after another: the debugger's runtime, and the measure of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fltac.client import Job, Ledger, Order
from fltac.host import Host
from fltac.model.training import Score
from fltac.server.aggregator import Aggregator
from fltac.server.state import Post, Setup, Step, dump, load
from fltac.world import World


class LocalRuntime:
    """One worker and the aggregator in process. Threads follow `resources.client.num_cpus`, as in an actor."""

    def __init__(self, world: World, setup: Setup) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(max(1, int(world.experiment.resources.client.num_cpus)))
        self.host = Host(world)
        self.aggregator = Aggregator(setup)

    def __enter__(self) -> LocalRuntime:
        return self

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self._threads)

    def start(self, files: Mapping[str, bytes]) -> Post:
        self.state = load(files, self.aggregator.setup) if files else self.aggregator.start()
        return self.aggregator.post(self.state)

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[list[Any], Ledger]:
        *updates, ledger = self.host.train(round, orders, dict(enumerate(post.payloads)))
        assert isinstance(ledger, Ledger)
        return updates, ledger

    def aggregate(self, updates: Sequence[Any]) -> tuple[Post, Step]:
        self.state, step = self.aggregator.step(self.state, [payload for each in updates for payload in each])
        return self.aggregator.post(self.state), step

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        return self.host.evaluate(jobs, dict(enumerate(post.payloads)))

    def snapshot(self) -> dict[str, bytes]:
        return dump(self.state, self.aggregator.setup.spec)
