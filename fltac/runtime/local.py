"""Everything in this process, one client after another: the debugger's runtime, and the measure of the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from fltac.host import Host
from fltac.lateness import deadline
from fltac.model.training import Score
from fltac.orders import Job, Ledger, Order
from fltac.records.left_out import LeftOut
from fltac.server.aggregator import Aggregator
from fltac.server.snapshot import dump, load
from fltac.server.state import Post, Setup, Step, parcels
from fltac.world import World


class LocalRuntime:
    """One worker and the aggregator in process. Threads follow `resources.client.num_cpus`, as in an actor."""

    workers = 1

    def __init__(self, world: World, setup: Setup) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(max(1, int(world.experiment.resources.client.num_cpus)))
        self.world, self.host = world, Host(world)
        self.aggregator = Aggregator(setup)

    def __enter__(self) -> LocalRuntime:
        return self

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self._threads)

    def start(self, files: Mapping[str, bytes]) -> Post:
        self.state = load(files, self.aggregator.setup) if files else self.aggregator.start()
        return self.aggregator.post(self.state)

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[Mapping[int, Any], Ledger]:
        updates, ledger = dict[int, Any](), Ledger([], {}, [])
        began, limit = time.monotonic(), deadline(self.world, round)
        for _, pack in groupby(orders, key=lambda order: order.pack):
            together, took = list(pack), time.monotonic() - began
            if limit and (took > limit[0] or len(updates) >= limit[1]):
                what = f"not there after {took:.3g} s"
                ledger.lost.extend(LeftOut(order.client, None, "late", what) for order in together)
                continue
            *sent, told = self.host.train(round, together, dict(enumerate(post.payloads)))
            assert isinstance(told, Ledger)
            updates.update(zip([order.client for order in together], sent, strict=True))
            ledger.rows.extend(told.rows)
            ledger.states.update(told.states)
        return updates, ledger

    def aggregate(self, updates: Mapping[int, Any], late: Mapping[int, str]) -> tuple[Post, Step]:
        self.state, step = self.aggregator.step(self.state, parcels(updates.items()), late)
        return self.aggregator.post(self.state), step

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        return self.host.evaluate(jobs, dict(enumerate(post.payloads)))

    def snapshot(self, whole: bool) -> dict[str, bytes]:
        return dump(self.state, self.aggregator.setup.spec, whole)
