"""What runs in an actor: thin shells around `Host` and `Aggregator`, which compute what `local.py` computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fltac.server.aggregator import Aggregator
from fltac.server.snapshot import dump, load
from fltac.server.state import Post, Setup, Step, parcels

if TYPE_CHECKING:  # torch is for client actors: the aggregator's process starts without it, the driver beside it
    from fltac.model.training import Score
    from fltac.orders import Job, Order
    from fltac.world import World


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

    def train(
        self, round: int, bundles: Sequence[Sequence[Order]], indices: Sequence[int], *payloads: bytes
    ) -> Iterator[Any]:
        """The updates of the clients of each bundle together, and then the ledger."""
        orders = [order for bundle in bundles for order in bundle]
        each = self.host.train(round, orders, dict(zip(indices, payloads, strict=True)))
        for bundle in bundles:
            yield [next(each) for _ in bundle]
        yield next(each)

    def evaluate(self, jobs: Sequence[Job], indices: Sequence[int], *payloads: bytes) -> list[Score]:
        return self.host.evaluate(jobs, dict(zip(indices, payloads, strict=True)))


class AggregatorActor:
    """The server: keeps the state between steps, hands out payloads and snapshots."""

    def load(self, setup: Setup) -> None:
        self.aggregator = Aggregator(setup)

    def start(self, files: Mapping[str, bytes]) -> tuple[None, Post]:
        self.state = load(files, self.aggregator.setup) if files else self.aggregator.start()
        return None, self.aggregator.post(self.state)

    def warm_up(self) -> None:
        self.aggregator.warm_up()

    def step(
        self, sent: Sequence[tuple[int, int, int]], late: Mapping[int, str], *bundles: Sequence[Sequence[bytes]]
    ) -> tuple[Step, Post]:
        """Of each client `sent` tells in which bundle its updates are, and where there."""
        came = parcels((client, bundles[number][at]) for client, number, at in sent)
        self.state, report = self.aggregator.step(self.state, came, late)
        return report, self.aggregator.post(self.state)

    def snapshot(self, whole: bool) -> dict[str, bytes]:
        return dump(self.state, self.aggregator.setup.spec, whole)
