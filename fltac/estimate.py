"""What an experiment will take, before it runs: bytes a round, memory of an actor. Estimates; records hold measures."""

from __future__ import annotations

from typing import NamedTuple

from fltac.config import Ifca
from fltac.timeline import holding
from fltac.wire.codecs import expected_bytes
from fltac.world import Plan

PROCESS_MB = 650  # an actor's Python with torch and transformers, resident; measured on Linux, CPU build
ACTIVATION_BYTES = (
    68  # a token, layer and unit of width: 34 in half precision (arXiv 2205.05198, section 4.1), twice in float32
)


class Estimate(NamedTuple):
    """Bytes a round, both ways, if all slots there ever are train as often as `fraction` says; memory in MB.

    A frozen A comes down once: `bytes_first` in all, with each slot's first download.
    """

    bytes_up: int
    bytes_down: int
    bytes_first: int
    slots: int
    base_mb: float  # once a node
    actor_mb: float  # each client actor beside the base


def estimate(plan: Plan) -> Estimate:
    """From shapes alone; no weight is loaded."""
    experiment, columns = plan.experiment, plan.width + 1
    heads: dict[int, list[int]] = {}
    for (client, _), shard in holding(plan.shards, 0).items():
        heads.setdefault(client, []).append(plan.classes[shard.task] * columns)
    shared = experiment.exchange.adapters == "shared"
    sent = [group for sizes in heads.values() for group in ([sizes] if shared else [[size] for size in sizes])]
    if experiment.exchange.heads == "local":
        sent = [[] for _ in sent]
    offers = sent  # what comes down
    if isinstance(experiment.clustering, Ifca):  # once a client: each cluster's adapter, and a head a slot
        each = [[] if experiment.exchange.heads == "local" else sizes for sizes in heads.values()]
        offers = each * experiment.clustering.number(len(set(experiment.truths().values())))
    size = plan.spec.size_b if experiment.exchange.factors == "b" else plan.spec.size
    up = sum(expected_bytes(size, sizes, experiment.wire.up) for sizes in sent)
    down = sum(expected_bytes(size, sizes, experiment.wire.down) for sizes in offers)
    first = sum(expected_bytes(plan.spec.size, sizes, experiment.wire.down) for sizes in offers) - down
    fraction, training = experiment.clients.fraction, experiment.training
    tokens = max(training.batch_size, training.eval_batch_size) * training.max_length
    activations = tokens * plan.width * plan.layers * ACTIVATION_BYTES
    item = 4 if experiment.model.dtype == "float32" else 2
    return Estimate(
        bytes_up=round(up * fraction),
        bytes_down=round(down * fraction),
        bytes_first=first,
        slots=len(sent),
        base_mb=plan.base_size * item / 1e6,
        actor_mb=PROCESS_MB + activations / 1e6,
    )
