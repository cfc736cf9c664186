"""On Ray: client actors that host clients, one central aggregator actor, updates by reference.

Whoever dies is replaced and does its work again, to the same bytes. What the aggregator knew is made again from its
last snapshot and the updates since, which the driver has or can have trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from fltac.config import parse_codec
from fltac.errors import StoppedError, first_line
from fltac.orders import Job, Ledger, Order
from fltac.packing import groups, together
from fltac.records.left_out import LeftOut
from fltac.runtime.actors import AggregatorActor, ClientActor
from fltac.runtime.capacity import Need
from fltac.runtime.pool import LOST, READY_SECONDS, Pool, Until, spread
from fltac.server.state import Post, Setup, Step
from fltac.wire.codecs import expected_bytes

if TYPE_CHECKING:  # torch is imported while the actors start
    from fltac.data.shards import Shard
    from fltac.model.training import Score
    from fltac.world import World

INLINE = 100_000  # bytes up to which Ray sends a value with the call instead of through the object store
BUNDLE = 2**24  # bytes of updates that come as one object: to make one and pass it on takes Ray 3 ms, however small


class Place(NamedTuple):
    """Where a client's updates are: an object, and which of its lists."""

    bundle: Any
    at: int


class RayRuntime:
    """Client actors and an aggregator actor on a cluster. The driver decodes no payload."""

    def __init__(
        self, need: Need, group: PlacementGroup | None = None, say: Callable[[str], None] = lambda text: None
    ) -> None:
        """With a placement group of `need.bundles` all actors live in it, which they would not by themselves; `say` is
        told of each that is lost."""
        place = PlacementGroupSchedulingStrategy(group) if group else None
        client = ray.remote(ClientActor).options(
            num_cpus=need.num_cpus, num_gpus=need.num_gpus, scheduling_strategy=place
        )
        self.need, self.workers = need, need.actors
        self.say = say
        self.pool = Pool(partial(client.remote, need.num_cpus, need.num_gpus), need, say)
        self._server = ray.remote(AggregatorActor).options(num_cpus=0, scheduling_strategy=place)
        self.aggregator = self._server.remote()

    def __enter__(self) -> RayRuntime:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.close()
        ray.kill(self.aggregator)

    def warm_up(self, kind: str) -> None:
        """Has the actors import what a kind of model takes, while the driver does something else."""
        for actor in self.pool.actors:
            actor.warm_up.remote(kind)

    def load(self, world: World, setup: Setup) -> None:
        """The world goes once into the object store, where every actor on a node maps it without a copy."""
        self.world, self.setup, self.faults = world, setup, world.experiment.faults
        loading = self.aggregator.load.remote(setup)
        self.pool.load(ray.put(world), self.faults)
        try:
            ray.get(loading, timeout=READY_SECONDS)
        except LOST as error:
            raise StoppedError(f"the aggregator did not start: {first_line(error)}") from None

    def start(self, files: Mapping[str, bytes]) -> Post:
        self._files: dict[str, bytes] | None = dict(files)
        self._updates, self._stepped = dict[int, Place](), False
        post, _ = self._posted(self._ask("start", lambda server: server.start.remote(self._files)))
        self.aggregator.warm_up.remote()  # while the clients train
        return post

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[Mapping[int, Any], Ledger]:
        self._trained = round, orders, post  # what can be trained again
        from fltac.lateness import deadline  # takes torch

        return self._train(round, orders, post, deadline(self.world, round))

    def _train(
        self, round: int, orders: Sequence[Order], post: Post, limit: tuple[float, int] | None = None
    ) -> tuple[Mapping[int, Any], Ledger]:
        held = self.world.held(round)
        packs = [list(pack) for _, pack in groupby(orders, key=lambda order: order.pack)]  # stay together: same bits
        costs = [sum(self._cost(held[order.client].values()) for order in pack) for pack in packs]

        update = expected_bytes(self.world.spec, (), parse_codec(self.world.experiment.wire.up))

        def bundles(piece: Sequence[int]) -> list[list[Order]]:
            """The orders of a piece, as many together as their updates fill an object."""
            mine = [order for index in piece for order in packs[index]]
            sizes = [float(update * len(groups(self.world, held[order.client]))) for order in mine]
            return [[mine[index] for index in some] for some in together(sizes, BUNDLE)]

        def send(actor: Any, piece: Sequence[int]) -> list[Any]:
            mine = bundles(piece)
            indices = sorted({index for some in mine for order in some for index in order.payloads})
            call = actor.train.options(num_returns=len(mine) + 1)
            return list(call.remote(round, mine, indices, *[post.payloads[index] for index in indices]))

        until = Until(*limit, [len(pack) for pack in packs]) if limit else None
        pieces = [[index] for index in range(len(packs))] if limit else spread(costs, self.need.actors)
        done, lost = self.pool.run(f"training of round {round}", pieces, send, until)
        updates: dict[int, Place] = {}
        for one in done:
            *refs, _ = one.refs  # the last is the ledger's
            for bundle, some in zip(refs, bundles(one.piece), strict=True):
                updates |= {order.client: Place(bundle, at) for at, order in enumerate(some)}
        rows = [row for one in done for row in one.answer.rows]
        states = {client: state for one in done for client, state in one.answer.states.items()}
        gone = [LeftOut(order.client, None, *why) for index, why in sorted(lost.items()) for order in packs[index]]
        rows = sorted(rows, key=lambda row: (row["client"], row["slot"]))
        return dict(sorted(updates.items())), Ledger(rows, states, gone)

    def aggregate(self, updates: Mapping[int, Any], late: Mapping[int, str]) -> tuple[Post, Step]:
        self._updates, self._late = dict(updates), late
        answer = self._ask("step", self._step)
        self._stepped = True
        return self._posted(answer)

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        costs = [float(self.world.tasks[job.task].split(job.split).lengths.sum()) for job in jobs]

        def send(actor: Any, piece: Sequence[int]) -> list[Any]:
            indices = sorted({jobs[index].payload for index in piece})
            payloads = [post.payloads[index] for index in indices]
            return [actor.evaluate.remote([jobs[index] for index in piece], indices, *payloads)]

        done, lost = self.pool.run("evaluation", spread(costs, self.need.actors), send)
        if lost:
            raise StoppedError(next(iter(lost.values()))[1])
        scores = {index: score for one in done for index, score in zip(one.piece, one.answer, strict=True)}
        return [scores[index] for index in range(len(jobs))]

    def snapshot(self, whole: bool) -> dict[str, bytes]:
        files: dict[str, bytes] = self._ask("snapshot", lambda server: server.snapshot.remote(whole))
        self._files, self._updates, self._stepped = (files if whole else None), {}, False
        return files

    def _step(self, server: Any) -> Any:
        bundles = list(dict.fromkeys(place.bundle for place in self._updates.values()))
        number = {bundle: index for index, bundle in enumerate(bundles)}
        sent = [(client, number[place.bundle], place.at) for client, place in self._updates.items()]
        return server.step.remote(sent, self._late, *bundles)

    def _ask(self, what: str, call: Any) -> Any:
        """What the aggregator answers to a call; where it dies, one that knows the same is asked."""
        failures = 0
        while True:
            try:
                if failures:
                    self._revive()
                return ray.get(call(self.aggregator), timeout=self.faults.timeout_s)
            except LOST as error:
                failures += 1
                if 0 <= self.faults.max_failures < failures:
                    what = f"the aggregator's {what} was lost {failures} times, at last: {first_line(error)}"
                    raise StoppedError(what) from None
                self.say(f"{what}: the aggregator is replaced, and told what it knew ({first_line(error)})")

    def _revive(self) -> None:
        """A new aggregator that knows what the last one knew."""
        if self._files is None:
            raise StoppedError("the aggregator was lost, and with checkpoint.keep = 0 nobody knows what it knew")
        ray.kill(self.aggregator)
        self._mend()
        self.aggregator = self._server.remote()
        past = [self.aggregator.load.remote(self.setup), self.aggregator.start.remote(self._files)]
        ray.get([*past, *([self._step(self.aggregator)] if self._stepped else [])], timeout=self.faults.timeout_s)

    def _mend(self) -> None:
        """Has updates that went with their node trained again; the round goes on without those that cannot be.

        Once they were merged there is no going on without: the state is to be the one that the record tells of.
        """
        lost = {bundle for bundle in {place.bundle for place in self._updates.values()} if not self._there(bundle)}
        gone = {client for client, place in self._updates.items() if place.bundle in lost}
        if gone:
            round, orders, post = self._trained
            packs = {order.pack for order in orders if order.client in gone}
            again, ledger = self._train(round, [order for order in orders if order.pack in packs], post)
            kept = {client: place for client, place in self._updates.items() if client not in gone}
            self._updates = dict(sorted({**kept, **{client: again[client] for client in gone & again.keys()}}.items()))
            if ledger.lost and (self._stepped or len(self._updates) < self.faults.min_clients):
                raise StoppedError(ledger.lost[0].what)

    def _there(self, ref: Any) -> bool:
        try:
            ray.get(ref, timeout=self.faults.timeout_s)
        except LOST:
            return False
        return True

    def _posted(self, answer: Any) -> tuple[Post, Any]:
        """The driver owns what is sent, so that it outlives the aggregator and its node."""
        report, (payloads, addresses, judged, seconds) = answer
        kept = [payload if len(payload) <= INLINE else ray.put(payload) for payload in payloads]
        return Post(kept, addresses, judged, seconds), report

    def _cost(self, shards: Iterable[Shard]) -> float:
        """Tokens of a round, over a client's shards: what its part takes, up to a factor."""
        training = self.world.experiment.training
        lengths = [self.world.tasks[one.task].train.lengths[one.indices] for one in shards]
        return sum(float(each.mean()) * min(len(each), training.batch_size) * training.steps for each in lengths)
