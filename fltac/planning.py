"""From an experiment to the world: first all that is known before a weight is loaded, then weights and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fltac.adversary import marked, misfits
from fltac.config import Backdoor, Experiment
from fltac.data.partition import partition
from fltac.data.shards import Shards, pooled
from fltac.data.tasks import TaskData, load_tasks, majority
from fltac.errors import InputError, Problem
from fltac.model.backbone import load_base, locate, skeleton, spec_of
from fltac.model.kinds import KINDS
from fltac.model.memory import recomputable, require_bitsandbytes
from fltac.records.metrics import require_rouge
from fltac.seeds import generator
from fltac.timeline import holding
from fltac.trackers import missing
from fltac.wire.messages import AdapterSpec
from fltac.world import Asked, EncodedTask, World


@dataclass(frozen=True)
class Plan:
    """All that is known before a weight is loaded: enough to check an experiment and to estimate it."""

    experiment: Experiment
    tasks: Sequence[TaskData]
    shards: Shards
    spec: AdapterSpec
    width: int  # numbers that go into a head
    base_size: int  # parameters of the frozen base
    config: Any  # transformers.PretrainedConfig

    @property
    def classes(self) -> dict[str, int]:
        return {task.name: len(task.classes) for task in self.tasks}


def plan(experiment: Experiment) -> Plan:
    """Reads the tasks, draws the partition, finds the adapter's layers. Raises InputError with all that is wrong."""
    kind, problems = KINDS[experiment.model.kind], _missing(experiment)
    try:
        tasks = load_tasks(experiment, kind.read)
        shards = partition(tasks, experiment.clients, experiment.seed, experiment.changes)
        if experiment.exchange.data == "pooled":
            shards = pooled(shards, experiment.clients.fraction)
        problems += _idle(tasks, shards, experiment.rounds) + misfits(experiment, tasks)
    except InputError as error:
        problems += error.problems
    try:
        module, _, width, config = skeleton(experiment.model)
        problems += kind.misfits(module, config, experiment.training)
        if experiment.training.gradient_checkpointing:
            recomputable(module)
        spec = spec_of(module, experiment.adapter, experiment.exchange)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return Plan(experiment, tasks, shards, spec, width, sum(p.numel() for p in module.parameters()), config)


def _missing(experiment: Experiment) -> list[Problem]:
    """What an option needs and this kind of model, or this machine, does not have."""
    problems, training = missing(experiment.trackers), experiment.training
    if training.generate and not KINDS[experiment.model.kind].writes:
        what = f"is for models that write; {experiment.model.kind} answers with a class"
        problems.append(Problem("training.generate", what, training.generate))
    try:
        if training.generate:
            require_rouge(training.generate)
        if experiment.model.quantise:
            require_bitsandbytes(experiment.model.quantise)
    except InputError as error:
        problems += error.problems
    return problems


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
    tasks = {task.name: _encoded(plan, task, f"tasks.{index}.source") for index, task in enumerate(plan.tasks)}
    return World(experiment, base, tasks, plan.shards, plan.spec)


def _encoded(plan: Plan, task: TaskData, key: str) -> EncodedTask:
    experiment, kind, classes = plan.experiment, KINDS[plan.experiment.model.kind], len(task.classes)
    source, training = locate(experiment.model), experiment.training
    train, validation, test = (
        kind.encode(split, source, training, key) for split in (task.train, task.validation, task.test)
    )
    draw = generator(experiment.seed, "generate", task.name)
    rows = np.sort(draw.permutation(len(test))[: training.generate])
    texts = task.test.take(rows).columns if len(rows) else ((), ())
    bar = majority(train.answers, test.answers)
    asked, choices, adversary = Asked(rows, *texts), kind.choices(plan.config, classes), experiment.adversary
    triggered = None
    if isinstance(adversary, Backdoor):
        triggered = marked(test, np.arange(len(test)), adversary.target)
    return EncodedTask(task.classes, classes, choices, bar, train, validation, test, asked, triggered)
