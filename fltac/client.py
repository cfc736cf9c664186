"""A client: what it makes of what it is sent. `fltac.host` trains many on one resident model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fltac import packing
from fltac.config import parse_codec
from fltac.data.batching import evaluation_batches, training_batches
from fltac.data.shards import Shard
from fltac.model.adapters import regauge
from fltac.model.backbone import Backbone
from fltac.model.training import Learner, Trained, Work, evaluate
from fltac.orders import ClientState, Order
from fltac.seeds import generator
from fltac.wire.codecs import NOTHING, Bytes, decode, encode, measure
from fltac.wire.feedback import encode_change
from fltac.wire.lines import seconds as round_seconds
from fltac.wire.messages import Broadcast, Head, Update, WireError
from fltac.world import World

PROBE = 64  # examples of a slot on which what was sent is tried
SURE = 1.5  # standard errors of what was tried: one example that goes very wrong is no change of the data
LEARNED = 0.1  # of the way from a guess to no loss at all: less is nothing to lose


class Sent(NamedTuple):
    """A payload as it was opened, and what it costs on the wire."""

    message: Broadcast  # its adapter whole
    size: Bytes


class Mail:
    """The payloads of a call, each opened when it is first asked for, and only then: nobody writes into them."""

    def __init__(self, world: World, payloads: Mapping[int, bytes]) -> None:
        self.world, self.payloads, self._opened = world, payloads, dict[int, Sent]()

    def __getitem__(self, index: int) -> Sent:
        if index not in self._opened:
            message = decode(self.payloads[index], self.world.spec)
            if not isinstance(message, Broadcast):
                raise WireError("an update, which goes the other way")
            message = replace(message, adapter=self.world.whole(message.adapter))
            self._opened[index] = Sent(message, measure(self.payloads[index]))
        return self._opened[index]


class Begun(NamedTuple):
    """An adapter of a client's that is about to be trained, and what must be known of it afterwards."""

    slot: int
    group: list[int]
    learner: Learner
    cost: float  # see `packing`
    choice: int
    afresh: bool
    own: ClientState
    downloads: Sequence[Bytes]
    seconds: float
    seconds_encode: float


class Client:
    """One client: its shards by slot. Plain and without memory: its private state goes in and comes out."""

    def __init__(self, order: Order, round: int, shards: Mapping[int, Shard], world: World, backbone: Backbone) -> None:
        self.number, self.state, self.round = order.client, order.state, round
        self.shards, self.world, self.backbone = shards, world, backbone

    def begin(self, mail: Mail, payloads: Sequence[int]) -> list[Begun]:
        """What each slot's adapter (or the shared one) starts from, as it was sent or chosen, and its batches."""
        groups, costs = packing.groups(self.world, self.shards), packing.costs(self.world, self.shards)
        offers = [payloads] * len(groups) if self.world.chooses else [[payload] for payload in payloads]
        begun = []
        for (slot, group), cost, offered in zip(groups.items(), costs, offers, strict=True):
            with self.noted(slot):
                begun.append(self._begin(slot, group, cost, mail, offered))
        return begun

    def _begin(self, slot: int, group: list[int], cost: float, mail: Mail, offered: Sequence[int]) -> Begun:
        experiment, began = self.world.experiment, time.perf_counter()
        came = [mail[index] for index in offered]
        opened = time.perf_counter()
        starts = []
        for sent, _ in came:
            if sent.round != self.round:
                raise WireError(f"a payload that is none of round {self.round}")
            heads = [head.matrix for head in sent.heads]
            if experiment.exchange.heads == "local":
                heads = [self.world.own_head(self.state, one, self.shards[one].task) for one in group]
            elif self.world.chooses:  # a menu has a head for each of the client's slots
                heads = [heads[sorted(self.shards).index(slot)]]
            starts.append((sent.adapter, heads))
        choice = self._least(group[0], starts) if self.world.chooses else -1
        start, heads = starts[choice]  # -1: there is but one
        own: dict[str, np.ndarray] = {}
        afresh = False
        if experiment.exchange.restart is not None and self.round > 1:
            gain, error = self._gain(slot, start, heads[0])
            before = float(self.state.get(f"gain-{slot}", np.zeros(1))[0])
            afresh = before > LEARNED and gain + SURE * error < experiment.exchange.restart * before
            own[f"gain-{slot}"] = np.array([0.0 if afresh else gain])
        if afresh:
            start, heads = self.world.start_of(self.number), [self.world.start_head(self.shards[slot].task)]
        seed = 0
        if experiment.adapter.dropout:
            seed = int(generator(experiment.seed, "dropout", self.number, slot, self.round).integers(2**31))
        learner = Learner(start, heads, [self._work(one) for one in group], seed)
        first = slot == min(self.shards)
        downloads = [size for _, size in came] if first or not self.world.chooses else []  # a menu is one for all slots
        clocks = time.perf_counter() - opened, opened - began
        return Begun(slot, group, learner, cost, choice, afresh, own, downloads, *clocks)

    def end(
        self, each: Sequence[tuple[Begun, Trained, float]]
    ) -> tuple[ClientState, list[bytes], list[dict[str, Any]]]:
        """What was begun, as it was trained, in so many seconds: private state, encoded updates, a row an adapter."""
        kept, updates, rows = dict(self.state), [], []
        for begun, done, seconds in each:
            with self.noted(begun.slot):
                update, own, row = self._end(begun, done, seconds)
            updates.append(update)
            rows.append(row)
            kept.update(own)
        total = {name: sum(row[name] for row in rows) for name in ("tokens", "bytes_up", "bytes_down")}
        took = round_seconds(self.world.lines[self.number], **total)
        return kept, updates, [{**row, "simulated_s": took} for row in rows]

    def _end(self, begun: Begun, done: Trained, seconds: float) -> tuple[bytes, ClientState, dict[str, Any]]:
        experiment, began, slot, group = self.world.experiment, time.perf_counter(), begun.slot, begun.group
        local = experiment.exchange.heads == "local"
        examples, works = [len(self.shards[one].indices) for one in group], begun.learner.works
        adapter, learned = self.world.upload(self.number, begun.learner[:2], (done.adapter, done.heads))
        trained = [] if local else [Head(m, n) for m, n in zip(learned, examples, strict=True)]
        total = sum(examples)
        if experiment.adapter.gauge == "random":
            draw = generator(experiment.seed, "gauge", self.number, slot, self.round)
            adapter = regauge(adapter, self.world.spec, draw)
        if experiment.exchange.factors == "b":
            adapter = self.world.spec.only_b(adapter)
        who = self.round, self.number, slot, self.world.spec.fingerprint
        update = Update(*who, adapter, tuple(trained), total, begun.choice, begun.afresh)
        ended = time.perf_counter()
        encoded, left_out = self._encoded(update, begun.learner.adapter)
        coding = time.perf_counter() - ended
        own = {**begun.own, **left_out}
        if local:
            own |= {f"head-{one}": head for one, head in zip(group, done.heads, strict=True)}
        up, down = measure(encoded), begun.downloads
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
            "seconds_train": begun.seconds + seconds + time.perf_counter() - began - coding,
            "seconds_encode": begun.seconds_encode + coding,
        }
        return encoded, own, row

    @contextmanager
    def noted(self, slot: int) -> Iterator[None]:
        """An exception tells client, slot and round in its note."""
        try:
            yield
        except Exception as error:
            error.add_note(f"in client {self.number}, slot {slot}, round {self.round}")
            raise

    def _encoded(self, update: Update, start: np.ndarray) -> tuple[bytes, ClientState]:
        """The update's payload; where it says what changed, also what is kept for later, from v0 on anew."""
        experiment, spec, name = self.world.experiment, self.world.spec, f"rest-{update.slot}"
        codec = parse_codec(experiment.wire.up)
        draw = generator(experiment.seed, "wire", "up", *update.key, update.round)
        if codec.top is None:
            return encode(update, codec, spec, draw), {}
        memory = np.zeros_like(update.adapter)
        if name in self.state and not np.array_equal(start, self.world.start_of(self.number)):
            memory = self.state[name]
        base = spec.only_b(start) if experiment.exchange.factors == "b" else start
        payload, memory = encode_change(update, base, memory, codec, spec, draw)
        return payload, {name: memory}

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

    def _work(self, slot: int) -> Work:
        experiment, shard = self.world.experiment, self.shards[slot]
        examples = self.world.training_examples(self.number, shard.task)
        draw = generator(experiment.seed, "batches", self.number, slot, self.round)
        lengths = examples.lengths[shard.indices]
        steps = experiment.training.steps * shard.turns
        batches = training_batches(lengths, steps, experiment.training.batch_size, draw)
        return Work(examples, [shard.indices[batch] for batch in batches])
