"""What the server is told before the first round."""

from __future__ import annotations

from collections.abc import Iterable

from fltac.model.adapters import start_head
from fltac.planning import Plan
from fltac.server.state import Setup, Slot, shape_name
from fltac.timeline import Spans, joined
from fltac.world import agreed_start


def server_setup(plan: Plan) -> Setup:
    """What the server is told: shapes and seeds. Of tasks, nothing, but where the method is a bar that says so."""
    experiment, columns = plan.experiment, plan.width + 1
    truths = experiment.truths()
    told: dict[str, str] = {}  # task -> what the server is told of it
    if experiment.clustering.type == "oracle":
        told = truths
    elif experiment.exchange.adapters == "shared":
        told = {task: task for task in truths}
    own = {client for client, _ in plan.shards} if experiment.adapter.init == "per-client" else set()
    shapes = {task: shape_name(classes, columns) for task, classes in plan.classes.items()}
    return Setup(
        seed=experiment.seed,
        spec=plan.spec,
        start=agreed_start(experiment, plan.spec),
        start_heads={shapes[t]: start_head(n, plan.width, experiment.seed) for t, n in plan.classes.items()},
        registry={
            key: _slots((shapes[shard.task], told.get(shard.task, ""), shard.spans) for shard in shards)
            for key, shards in plan.shards.items()
        },
        exchange=experiment.exchange,
        similarity=experiment.similarity,
        clustering=experiment.clustering,
        merging=experiment.merging,
        down=experiment.wire.down,
        number_of_tasks=len(set(truths.values())),
        faults=experiment.faults,
        own_starts={client: agreed_start(experiment, plan.spec, client) for client in sorted(own)},
    )


def _slots(each: Iterable[tuple[str, str, Spans]]) -> list[Slot]:
    """What the server is told of a slot: a drift that changes neither head nor what it is told is none to it."""
    slots: list[Slot] = []
    for shape, task, spans in each:
        if slots and slots[-1][:2] == (shape, task):
            slots[-1] = Slot(shape, task, joined(slots[-1].spans, spans))
        else:
            slots.append(Slot(shape, task, spans))
    return slots
