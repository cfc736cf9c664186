"""What an experiment will take, before it runs: bytes a round, memory of an actor. Estimates; records hold measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fltac.config import Ifca, parse_codec
from fltac.model.kinds import KINDS
from fltac.planning import Plan
from fltac.timeline import holding
from fltac.wire.codecs import expected_bytes

PROCESS_MB = 650  # an actor's Python with torch and transformers, resident; measured on Linux, CPU build
ACTIVATION_BYTES = (
    68  # a token, layer and unit of width: 34 in half precision (arXiv 2205.05198, section 4.1), twice in float32
)

LOGIT_BYTES = 12  # of a vocabulary: its logits, their probabilities and their gradients in float32


class Trained(NamedTuple):
    """Parameters that a client trains."""

    adapters: int  # how many
    adapter: int  # numbers in all of them
    heads: int  # numbers in its heads

    @property
    def all(self) -> int:
        return self.adapter + self.heads


class Estimate(NamedTuple):
    """Bytes a round, both ways, if all slots there ever are train as often as `fraction` says; memory in MB.

    Where zstd compresses a way, its bytes are the most that they can be.
    A frozen A comes down once: `bytes_first` in all, with each slot's first download.
    """

    bytes_up: int
    bytes_down: int
    bytes_first: int
    slots: int
    base_mb: float  # once a node
    actor_mb: float  # each client actor beside the base
    clients: Mapping[int, Trained]  # what each trains of the tasks that it holds first
    one_of_all: Trained  # what a client that held every task would train


def trained(plan: Plan, tasks: Sequence[str]) -> Trained:
    """By a client that holds these tasks: an adapter each, or one where adapters are shared, and a head each."""
    exchange = plan.experiment.exchange
    adapters = 1 if exchange.adapters == "shared" else len(tasks)
    size = plan.spec.size_b if exchange.factors == "b" else plan.spec.size
    return Trained(adapters, adapters * size, sum(map(math.prod, _heads(plan, tasks))))


def _heads(plan: Plan, tasks: Sequence[str]) -> list[tuple[int, int]]:
    """Their heads' shapes: a row a class, a column more than the numbers that go in."""
    return [(plan.classes[task], plan.width + 1) for task in tasks]


def estimate(plan: Plan) -> Estimate:
    """From shapes alone; no weight is loaded."""
    experiment = plan.experiment
    held: dict[int, list[str]] = {}
    for (client, _), shard in holding(plan.shards, 0).items():
        held.setdefault(client, []).append(shard.task)
    heads = {client: _heads(plan, tasks) for client, tasks in held.items()}
    shared = experiment.exchange.adapters == "shared"
    sent = [group for shapes in heads.values() for group in ([shapes] if shared else [[one] for one in shapes])]
    if experiment.exchange.heads == "local":
        sent = [[] for _ in sent]
    offers = sent  # what comes down
    if isinstance(experiment.clustering, Ifca):  # once a client: each cluster's adapter, and a head a slot
        each = [[] if experiment.exchange.heads == "local" else shapes for shapes in heads.values()]
        offers = each * experiment.clustering.number(len(set(experiment.truths().values())))
    frozen = experiment.exchange.factors == "b"
    up_codec, down_codec = parse_codec(experiment.wire.up), parse_codec(experiment.wire.down)
    up = sum(expected_bytes(plan.spec, shapes, up_codec, frozen) for shapes in sent)
    down = sum(expected_bytes(plan.spec, shapes, down_codec, frozen) for shapes in offers)
    first = sum(expected_bytes(plan.spec, shapes, down_codec) for shapes in offers) - down
    if experiment.exchange.data == "pooled":
        up = down = first = 0
    training = experiment.training
    fraction = min(1.0, experiment.clients.fraction * experiment.clients.select)
    kind, config = KINDS[experiment.model.kind], plan.config.get_text_config()
    tokens = max(training.batch_size, training.eval_batch_size) * kind.tokens(plan.config, training)
    activations = tokens * config.hidden_size * config.num_hidden_layers * ACTIVATION_BYTES
    if not kind.trains_head:
        activations += tokens * kind.choices(plan.config, 0) * LOGIT_BYTES
    item = 4 if experiment.model.dtype == "float32" else 2
    return Estimate(
        bytes_up=round(up * fraction),
        bytes_down=round(down * fraction),
        bytes_first=first,
        slots=len(sent),
        base_mb=plan.base_size * item / 1e6,
        actor_mb=PROCESS_MB + activations / 1e6,
        clients={client: trained(plan, tasks) for client, tasks in held.items()},
        one_of_all=trained(plan, list(plan.classes)),
    )
