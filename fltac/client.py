"""A client and the worker that hosts many of them on one resident model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fltac.config import parse_codec
from fltac.data.batching import evaluation_batches, training_batches
from fltac.data.shards import Shard
from fltac.model.adapters import regauge
from fltac.model.backbone import Backbone, build
from fltac.model.generation import write_answers
from fltac.model.training import Score, Work, evaluate, train
from fltac.records.left_out import LeftOut
from fltac.seeds import generator
from fltac.server.state import Post
from fltac.wire.codecs import NOTHING, decode, encode, measure
from fltac.wire.feedback import encode_change
from fltac.wire.lines import seconds
from fltac.wire.messages import Broadcast, Head, Update, WireError
from fltac.world import World

PROBE = 64  # examples of a slot on which what was sent is tried
SURE = 1.5  # standard errors of what was tried: one example that goes very wrong is no change of the data
LEARNED = 0.1  # of the way from a guess to no loss at all: less is nothing to lose
# what a client keeps to itself: `head-SLOT` where heads are local, `gain-SLOT`, `rest-SLOT` where changes are sent
ClientState = Mapping[str, np.ndarray]


class Order(NamedTuple):
    """A client's part in a round: which payloads it is sent, one a slot of the wire, or one a cluster from which it
    chooses, and its private state."""

    client: int
    payloads: tuple[int, ...]
    state: ClientState


def orders(
    world: World, round: int, drawn: Sequence[int], post: Post, states: Mapping[int, ClientState]
) -> list[Order]:
    """Each drawn client's order, in order: its payloads are those of its slots, or the one download of them all."""
    made, held = [], world.held(round)
    for client in drawn:
        addresses = [post.addresses[client, slot] for slot in held[client]]
        payloads = [address.payload for address in addresses]
        if world.shared or world.chooses:
            payloads = list(addresses[0].menu or payloads[:1])
        made.append(Order(client, tuple(payloads), states.get(client, {})))
    return made


class Ledger(NamedTuple):
    """What the workers tell of a round beside the updates: a row a client and slot, the private states, and the
    clients whose work was lost with their actors."""

    rows: list[dict[str, Any]]
    states: dict[int, ClientState]
    lost: list[LeftOut]


class Job(NamedTuple):
    """One thing to judge: the adapter and head in a payload (or a client's own head) on a split of a task."""

    payload: int
    head: int
    task: str
    split: str
    own_head: np.ndarray | None = None
    writes: bool = False  # and answer the task's `asked` in the model's own words


class Client:
    """One client: its shards by slot. Plain and without memory: `round` takes its private state and gives it back."""

    def __init__(self, number: int, shards: Mapping[int, Shard], world: World, backbone: Backbone) -> None:
        self.number, self.shards, self.world, self.backbone = number, shards, world, backbone

    def round(
        self, round: int, state: ClientState, payloads: Sequence[bytes]
    ) -> tuple[ClientState, list[bytes], list[dict[str, Any]]]:
        """Trains each slot's adapter (or the shared one) from what was sent or chosen, and encodes the updates.

        An exception tells client, slot and round in its note.
        """
        slots = sorted(self.shards)
        groups = {0: slots} if self.world.shared else {slot: [slot] for slot in slots}  # slot of the wire -> its own
        offers = [payloads] * len(groups) if self.world.chooses else [[payload] for payload in payloads]
        updates, rows, kept = [], [], dict(state)
        for (slot, group), offered in zip(groups.items(), offers, strict=True):
            try:
                update, own, row = self._update(round, slot, group, offered, state)
            except Exception as error:
                error.add_note(f"in client {self.number}, slot {slot}, round {round}")
                raise
            updates.append(update)
            rows.append(row)
            kept.update(own)
        total = {name: sum(row[name] for row in rows) for name in ("tokens", "bytes_up", "bytes_down")}
        took = seconds(self.world.lines[self.number], **total)
        return kept, updates, [{**row, "simulated_s": took} for row in rows]

    def _update(
        self, round: int, slot: int, group: list[int], offered: Sequence[bytes], state: ClientState
    ) -> tuple[bytes, ClientState, dict[str, Any]]:
        experiment, began = self.world.experiment, time.perf_counter()
        training, local = experiment.training, experiment.exchange.heads == "local"
        first = slot == min(self.shards)
        starts = []
        for sent in (self._opened(payload, round) for payload in offered):
            heads = [head.matrix for head in sent.heads]
            if local:
                heads = [self.world.own_head(state, one, self.shards[one].task) for one in group]
            elif self.world.chooses:  # a menu has a head for each of the client's slots
                heads = [heads[sorted(self.shards).index(slot)]]
            starts.append((sent.adapter, heads))
        choice = self._least(group[0], starts) if self.world.chooses else -1
        start, heads = starts[choice]  # -1: there is but one
        own: dict[str, np.ndarray] = {}
        afresh = False
        if experiment.exchange.restart is not None and round > 1:
            gain, error = self._gain(slot, start, heads[0])
            before = float(state.get(f"gain-{slot}", np.zeros(1))[0])
            afresh = before > LEARNED and gain + SURE * error < experiment.exchange.restart * before
            own[f"gain-{slot}"] = np.array([0.0 if afresh else gain])
        if afresh:
            start, heads = self.world.start_of(self.number), [self.world.start_head(self.shards[slot].task)]
        works = [self._work(one, round) for one in group]
        seed = int(generator(experiment.seed, "dropout", self.number, slot, round).integers(2**31))
        done = train(self.backbone, start, heads, works, training.learning_rate, seed)
        examples = [len(self.shards[one].indices) for one in group]
        adapter, learned = self.world.upload(self.number, (start, heads), (done.adapter, done.heads))
        trained = [] if local else [Head(m, n) for m, n in zip(learned, examples, strict=True)]
        total = sum(examples)
        if experiment.adapter.gauge == "random":
            adapter = regauge(adapter, self.world.spec, generator(experiment.seed, "gauge", self.number, slot, round))
        if experiment.exchange.factors == "b":
            adapter = self.world.spec.only_b(adapter)
        update = Update(
            round, self.number, slot, self.world.spec.fingerprint, adapter, tuple(trained), total, choice, afresh
        )
        encoded, left_out = self._encoded(update, start, state)
        own |= left_out
        counted = offered if first or not self.world.chooses else ()  # a menu is one download for all the slots
        up, down = measure(encoded), [measure(payload) for payload in counted]
        if not self.world.sends:
            up, down = NOTHING, []
        row = {
            "client": self.number,
            "slot": slot,
            "task": None if self.world.shared else self.shards[slot].task,
            "bytes_up": up.total,
            "bytes_up_heads": up.heads,
            "bytes_up_header": up.header,
            "bytes_down": sum(one.total for one in down),
            "bytes_down_heads": sum(one.heads for one in down),
            "bytes_down_header": sum(one.header for one in down),
            "num_examples": total,
            "tokens": sum(int(work.examples.lengths[batch].sum()) for work in works for batch in work.batches),
            "train_loss": done.loss,
            "seconds_train": time.perf_counter() - began,
        }
        if local:
            own |= {f"head-{one}": head for one, head in zip(group, done.heads, strict=True)}
        return encoded, own, row

    def _encoded(self, update: Update, start: np.ndarray, state: ClientState) -> tuple[bytes, ClientState]:
        """The update's payload; where it says what changed, also what is kept for later, from v0 on anew."""
        experiment, spec, name = self.world.experiment, self.world.spec, f"rest-{update.slot}"
        codec = parse_codec(experiment.wire.up)
        draw = generator(experiment.seed, "wire", "up", *update.key, update.round)
        if codec.top is None:
            return encode(update, codec, spec, draw), {}
        memory = np.zeros_like(update.adapter)
        if name in state and not np.array_equal(start, self.world.start_of(self.number)):
            memory = state[name]
        base = spec.only_b(start) if experiment.exchange.factors == "b" else start
        payload, memory = encode_change(update, base, memory, codec, spec, draw)
        return payload, {name: memory}

    def _opened(self, payload: bytes, round: int) -> Broadcast:
        sent = decode(payload, self.world.spec)
        if not isinstance(sent, Broadcast) or sent.round != round:
            raise WireError(f"a payload that is no broadcast of this run and round {round}")
        return replace(sent, adapter=self.world.whole(sent.adapter))

    def _least(self, slot: int, starts: Sequence[tuple[np.ndarray, list[np.ndarray]]]) -> int:
        """The first of least loss over all the slot's training examples. Source: arXiv 2006.04088, Algorithm 1."""
        shard = self.shards[slot]
        examples = self.world.tasks[shard.task].train
        size = self.world.experiment.training.eval_batch_size
        batches = evaluation_batches(examples.lengths[shard.indices], size)
        work = Work(examples, [shard.indices[batch] for batch in batches])
        return int(np.argmin([evaluate(self.backbone, start, heads[0], work).loss for start, heads in starts]))

    def _gain(self, slot: int, start: np.ndarray, head: np.ndarray) -> tuple[float, float]:
        """1 - loss / ln(choices) on a sample of the slot's data, and its standard error: 0 is as good as guessing, 1 is
        to know all.

        Where much of it is lost from one round to the next, the data are not what they were.
        """
        shard = self.shards[slot]
        task, draw = self.world.tasks[shard.task], generator(self.world.experiment.seed, "probe", self.number, slot)
        rows = draw.permutation(shard.indices)[:PROBE]  # the same in every round
        size = self.world.experiment.training.eval_batch_size
        batches = [rows[at : at + size] for at in range(0, len(rows), size)]
        score = evaluate(self.backbone, start, head, Work(task.train, batches))
        n, guess = score.num_answers, math.log(max(task.choices, 2))
        mean = score.mean_loss
        error = math.sqrt(max(score.loss_squares / n - mean**2, 0) / (n - 1)) if n > 1 else math.inf
        return 1 - mean / guess, error / guess

    def _work(self, slot: int, round: int) -> Work:
        experiment, shard = self.world.experiment, self.shards[slot]
        examples = self.world.training_examples(self.number, shard.task)
        draw = generator(experiment.seed, "batches", self.number, slot, round)
        lengths = examples.lengths[shard.indices]
        steps = experiment.training.steps * shard.turns
        batches = training_batches(lengths, steps, experiment.training.batch_size, draw)
        return Work(examples, [shard.indices[batch] for batch in batches])


class Host:
    """A worker: one resident model, as many clients on it as it is given orders for."""

    def __init__(self, world: World) -> None:
        self.world = world
        use_gpu = world.experiment.resources.client.num_gpus > 0  # an actor without a share still sees every GPU
        experiment = world.experiment
        twice = experiment.training.gradient_checkpointing
        self.backbone = build(world.base, experiment.adapter, use_gpu, experiment.exchange, twice)

    def train(
        self, round: int, orders: Sequence[Order], payloads: Mapping[int, bytes]
    ) -> Iterator[list[bytes] | Ledger]:
        """The encoded updates of each ordered client, one list a client, then the ledger of them all."""
        ledger, held = Ledger([], {}, []), self.world.held(round)
        for order in orders:
            client = Client(order.client, held[order.client], self.world, self.backbone)
            state, updates, rows = client.round(round, order.state, [payloads[index] for index in order.payloads])
            yield updates
            ledger.rows.extend(rows)
            ledger.states[order.client] = state
        yield ledger

    def evaluate(self, jobs: Sequence[Job], payloads: Mapping[int, bytes]) -> list[Score]:
        """A score a job, in order."""
        scores, training = [], self.world.experiment.training
        for job in jobs:
            sent = decode(payloads[job.payload], self.world.spec)
            head = sent.heads[job.head].matrix if job.own_head is None else job.own_head
            adapter, examples = self.world.whole(sent.adapter), self.world.tasks[job.task].split(job.split)
            batches = evaluation_batches(examples.lengths, training.eval_batch_size)
            score = evaluate(self.backbone, adapter, head, Work(examples, batches))
            if job.writes:
                rows, limits = self.world.tasks[job.task].asked.rows, (training.eval_batch_size, training.max_length)
                written = write_answers(self.backbone, adapter, examples, rows, *limits)
                score = score._replace(written=tuple(written))
            scores.append(score)
        return scores
