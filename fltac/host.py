"""The worker that hosts many clients on one resident model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from fltac import packing
from fltac.client import Begun, Client, Mail
from fltac.data.batching import evaluation_batches
from fltac.model.backbone import build
from fltac.model.generation import write_answers
from fltac.model.training import DivergedError, Score, Trained, Work, evaluate, train
from fltac.orders import Job, Ledger, Order
from fltac.world import World


class Host:
    """A worker: one resident model, as many clients on it as it is given orders for."""

    def __init__(self, world: World) -> None:
        self.world, self.rate = world, world.experiment.training.learning_rate
        use_gpu = world.experiment.resources.client.num_gpus > 0  # an actor without a share still sees every GPU
        experiment = world.experiment
        twice = experiment.training.gradient_checkpointing
        self.backbone = build(world.base, experiment.adapter, use_gpu, experiment.exchange, twice)

    def train(
        self, round: int, orders: Sequence[Order], payloads: Mapping[int, bytes]
    ) -> Iterator[list[bytes] | Ledger]:
        """The encoded updates of each ordered client, one list a client, then the ledger of them all."""
        ledger, held, mail = Ledger([], {}, []), self.world.held(round), Mail(self.world, payloads)
        for _, pack in groupby(orders, key=lambda order: order.pack):
            clients = [
                (Client(order, round, held[order.client], self.world, self.backbone), order.payloads) for order in pack
            ]
            begun = [(client, one) for client, sent in clients for one in client.begin(mail, sent)]
            done = self._trained(begun)
            for client, _ in clients:
                mine = [(one, *done[index]) for index, (whose, one) in enumerate(begun) if whose is client]
                state, updates, rows = client.end(mine)
                yield updates
                ledger.rows.extend(rows)
                ledger.states[client.number] = state
        yield ledger

    def _trained(self, begun: Sequence[tuple[Client, Begun]]) -> dict[int, tuple[Trained, float]]:
        """What became of each and its part of the seconds: those of a pack that take their turns alike side by side."""
        done: dict[int, tuple[Trained, float]] = {}
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, (_, one) in enumerate(begun):
            alike.setdefault(tuple(one.learner.turns), []).append(index)
        for those in alike.values():
            for places in packing.together([begun[index][1].cost for index in those], packing.room(self.world)):
                mine, began = [those[place] for place in places], time.perf_counter()
                try:
                    trained = train(self.backbone, [begun[index][1].learner for index in mine], self.rate)
                except DivergedError as error:
                    client, one = begun[mine[error.learner]]
                    with client.noted(one.slot):
                        raise
                seconds = (time.perf_counter() - began) / len(mine)
                done.update({index: (result, seconds) for index, result in zip(mine, trained, strict=True)})
        return done

    def evaluate(self, jobs: Sequence[Job], payloads: Mapping[int, bytes]) -> list[Score]:
        """A score a job, in order."""
        scores, training, mail = [], self.world.experiment.training, Mail(self.world, payloads)
        for job in jobs:
            sent, began = mail[job.payload].message, time.perf_counter()
            head = sent.heads[job.head].matrix if job.own_head is None else job.own_head
            adapter, examples = sent.adapter, self.world.tasks[job.task].split(job.split)
            batches = evaluation_batches(examples.lengths, training.eval_batch_size)
            score = evaluate(self.backbone, adapter, head, Work(examples, batches))
            if job.writes:
                rows, limits = self.world.tasks[job.task].asked.rows, (training.eval_batch_size, training.max_length)
                written = write_answers(self.backbone, adapter, examples, rows, *limits)
                score = score._replace(written=tuple(written))
            scores.append(score._replace(seconds=time.perf_counter() - began))
        return scores
