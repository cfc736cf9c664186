"""What a federation starts from: tasks, shards, base model and start, the same for every runtime."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fltac.config import Experiment, parse_codec
from fltac.data.partition import partition
from fltac.data.shards import Key, Shard, Shards, pooled
from fltac.data.tasks import Split, TaskData, load_tasks
from fltac.errors import InputError, Problem
from fltac.model.adapters import start_adapter, start_head
from fltac.model.backbone import Base, load_base, locate, skeleton, spec_of
from fltac.model.kinds import KINDS, Encoded
from fltac.seeds import generator
from fltac.server.state import Setup, Slot, shape_name
from fltac.timeline import Spans, during, holding, joined
from fltac.wire.codecs import rounded
from fltac.wire.messages import AdapterSpec

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Plan:
    """All that is known before a weight is loaded: enough to check an experiment and to estimate it."""

    experiment: Experiment
    tasks: Sequence[TaskData]
    shards: Shards
    spec: AdapterSpec
    width: int  # numbers that go into a head
    base_size: int  # parameters of the frozen base
    layers: int  # of the base

    @property
    def classes(self) -> dict[str, int]:
        return {task.name: len(task.classes) for task in self.tasks}


@dataclass(frozen=True)
class EncodedTask:
    """A task as numbers: what workers need of it."""

    classes: int
    majority: float  # accuracy on test of always answering the most frequent class
    train: Encoded
    validation: Encoded
    test: Encoded

    def split(self, name: str) -> Encoded:
        return self.validation if name == "validation" else self.test


@dataclass(frozen=True)
class World:
    """The plan with weights and tokens. The workers share one, read-only; the server never sees it."""

    experiment: Experiment
    base: Base
    tasks: Mapping[str, EncodedTask]
    shards: Shards
    spec: AdapterSpec

    def held(self, round: int) -> dict[int, dict[int, Shard]]:
        """Client -> slot -> what it holds in a round (0: what it will hold first), in order."""
        clients: dict[int, dict[int, Shard]] = {}
        for (client, slot), shard in holding(self.shards, round).items():
            clients.setdefault(client, {})[slot] = shard
        return clients

    @property
    def shared(self) -> bool:
        """One adapter a client serves all its tasks: it sends one update, as slot 0."""
        return self.experiment.exchange.adapters == "shared"

    @property
    def sends(self) -> bool:
        """Whether anything goes over a wire: not where all data are in one place."""
        return self.experiment.exchange.data == "own"

    @property
    def chooses(self) -> bool:
        """Each client picks the cluster of each of its slots itself, among all that it is sent."""
        return self.experiment.clustering.type == "ifca"

    def draw_clients(self, round: int) -> list[int]:
        """The clients of a round, sorted: a seeded `fraction` of those that hold data, one at least."""
        holders = sorted(self.held(round))
        count = max(1, math.floor(self.experiment.clients.fraction * len(holders) + 0.5))
        drawn = generator(self.experiment.seed, "draw", round).permutation(holders)[:count]
        return sorted(map(int, drawn))

    def truths(self, heard: Mapping[Key, int]) -> dict[Key, str]:
        """Slot -> the true task it held when it last sent, for scoring alone; empty where adapters are shared."""
        truths = self.experiment.truths()
        shards = {} if self.shared else {key: during(self.shards[key], round) for key, round in heard.items()}
        return {key: truths[shard.task] for key, shard in shards.items() if shard is not None}

    @cached_property
    def start(self) -> np.ndarray:
        """v0 (p,) as a client got it with its first download; drawn again here instead of being kept by each."""
        return agreed_start(self.experiment, self.spec)

    def start_of(self, client: int) -> np.ndarray:
        """v0 (p,) as the client got it, its own where starts are not shared."""
        if self.experiment.adapter.init == "per-client":
            return agreed_start(self.experiment, self.spec, client)
        return self.start

    def whole(self, sent: np.ndarray) -> np.ndarray:
        """What travelled as an adapter (p,)."""
        return self.spec.whole(self.start, sent)

    def start_head(self, task: str) -> np.ndarray:
        """v0's head for a task: equal for tasks of equal classes, and for all clients."""
        return start_head(self.tasks[task].classes, self.base.width, self.experiment.seed)

    def own_head(self, state: Mapping[str, np.ndarray], slot: int, task: str) -> np.ndarray:
        """The head that a client keeps to itself: v0's, until it trained one of the task's classes."""
        start = self.start_head(task)
        kept = state.get(f"head-{slot}", start)
        return kept if kept.shape == start.shape else start


def agreed_start(experiment: Experiment, spec: AdapterSpec, *who: int) -> np.ndarray:
    """v0 (p,) as the wire rounds it, the same numbers on both of its sides; `who` names a start of one client's own."""
    draw = generator(experiment.seed, "wire", "v0", *who)
    return rounded(start_adapter(spec, experiment.seed, *who), parse_codec(experiment.wire.down), spec, draw)


def plan(experiment: Experiment) -> Plan:
    """Reads the tasks, draws the partition, finds the adapter's layers. Raises InputError with all that is wrong."""
    problems = []
    try:
        tasks = load_tasks(experiment)
        shards = partition(tasks, experiment.clients, experiment.seed, experiment.changes)
        if experiment.exchange.data == "pooled":
            shards = pooled(shards, experiment.clients.fraction)
        problems += _idle(tasks, shards, experiment.rounds)
    except InputError as error:
        problems += error.problems
    try:
        module, _, width, config = skeleton(experiment.model)
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and experiment.training.max_length > longest:
            what = f"is more than the model reads; at most {longest}"
            problems.append(Problem("training.max_length", what, experiment.training.max_length))
        spec = spec_of(module, experiment.adapter, experiment.exchange)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return Plan(
        experiment, tasks, shards, spec, width, sum(p.numel() for p in module.parameters()), config.num_hidden_layers
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


def _idle(tasks: Sequence[TaskData], shards: Shards, rounds: int) -> list[Problem]:
    """Rounds in which nobody has anything to do, and tasks that nobody ever has but by a drift."""
    idle = [round for round in range(1, rounds + 1) if not holding(shards, round)]
    held = {shard.task for shard in holding(shards, 0).values() if shard.spans[0][0] <= rounds}
    lost = [task.name for task in tasks if task.name not in held]
    problems = [Problem("changes", "leave no client with data in these rounds; keep one", idle)] if idle else []
    what = "leave these tasks to nobody but by a drift; let a client that holds them be there in a round"
    return problems + ([Problem("changes", what, lost)] if lost else [])


def build(plan: Plan) -> World:
    """Loads the base once and tokenises every task once."""
    experiment = plan.experiment
    base = load_base(experiment.model, experiment.seed)
    kind, source, longest = KINDS[experiment.model.kind], locate(experiment.model), experiment.training.max_length

    def encode(split: Split) -> Encoded:
        return kind.encode(split.columns, split.labels, source, longest)

    tasks = {
        task.name: EncodedTask(
            len(task.classes), task.majority, encode(task.train), encode(task.validation), encode(task.test)
        )
        for task in plan.tasks
    }
    return World(experiment, base, tasks, plan.shards, plan.spec)


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
        own_starts={client: agreed_start(experiment, plan.spec, client) for client in sorted(own)},
    )
