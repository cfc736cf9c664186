"""A finished run as models that answer: for a task, the adapter and head of the cluster that its holders are in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fltac.config import Task
from fltac.data.batching import evaluation_batches
from fltac.data.columns import Rows, Split
from fltac.data.tasks import load_tasks
from fltac.errors import InputError, Problem
from fltac.given import Given
from fltac.layers import load
from fltac.model.backbone import Backbone, build, load_base, locate, skeleton, spec_of
from fltac.model.generation import write_answers
from fltac.model.kinds import KINDS, Examples
from fltac.model.kinds.tokens import tokenizer
from fltac.model.training import Work, probabilities
from fltac.records.reading import reading
from fltac.records.store import RunDirectory
from fltac.server.snapshot import load_cluster
from fltac.server.state import Cluster, shape_name
from fltac.wire.messages import AdapterSpec


class Answer(NamedTuple):
    """What a model says of a row: the name of a class, how likely it holds each; or a text, and nothing more."""

    text: str
    probabilities: dict[str, float] | None


class Trained:
    """What a run left after its last finished round. Its base is loaded when it is first asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Raises InputError where the folder is no run, or has no finished round."""
        self.run = RunDirectory.open(folder)
        self.experiment = load(self.run.experiment_file)
        self.round, self.files = self.run.last_adapters()
        self.kind = KINDS[self.experiment.model.kind]
        self.shared = self.experiment.exchange.adapters == "shared"

    @cached_property
    def backbone(self) -> Backbone:
        experiment = self.experiment
        base = load_base(experiment.model, experiment.seed)
        return build(base, experiment.adapter, torch.cuda.is_available(), experiment.exchange)

    @cached_property
    def shape(self) -> tuple[AdapterSpec, int]:
        """Of its adapters, and how many numbers go into a head."""
        module, _, width, _ = skeleton(self.experiment.model)
        return spec_of(module, self.experiment.adapter, self.experiment.exchange), width

    def cluster(self, number: int) -> Cluster:
        """Adapter and heads of a cluster, as after the last round."""
        with reading(self.files[number]):
            return load_cluster(self.files[number].read_bytes(), self.shape[0])

    def task(self, name: str) -> tuple[Task, str]:
        """A task, and where the experiment has it. Raises InputError where there is none of that name."""
        tasks = self.experiment.tasks
        for index, task in enumerate(tasks):
            if task.name == name:
                return task, f"tasks.{index}"
        what = f"is no task of this run; choose one of {', '.join(task.name for task in tasks)}"
        raise InputError(Problem("--task", what, name), "command line")

    def classes(self, name: str) -> tuple[str, ...]:
        """The names of a task's classes, in order: as recorded, or else read from its data as the run did."""
        recorded = self.run.classes(name)
        if recorded is not None:
            return recorded
        only = self.experiment.model_copy(update={"tasks": (self.task(name)[0],)})
        return load_tasks(only, self.kind.read)[0].classes

    def holders(self) -> dict[str, dict[int, int]]:
        """Task -> cluster -> training examples of those who sent it; each slot is where the server put it last."""
        slots = self.run.last_slots()
        labels = {(int(c), int(s)): int(label) for (c, s), label in zip(slots["keys"], slots["labels"], strict=True)}
        latest = {(row["client"], row["slot"]): row for row in self.run.table("updates").to_pylist()}  # rounds in order
        found: dict[str, dict[int, int]] = {}
        for key, row in latest.items():
            if row["task"] is not None and key in labels:
                held = found.setdefault(row["task"], {})
                held[labels[key]] = held.get(labels[key], 0) + row["num_examples"]
        return found

    def home(self, task: str) -> int:
        """The cluster whose members hold most training examples of a task. Raises InputError where nobody sent it."""
        if self.shared:
            return min(self.files)
        held = self.holders().get(task, {})
        if not held:
            what = f"nobody has trained it by round {self.round}; go on with fltac resume, or choose another"
            raise InputError(Problem("--task", what, task), str(self.run.path))
        return max(sorted(held), key=lambda cluster: held[cluster])

    def head(self, cluster: Cluster, task: str, classes: int) -> np.ndarray:
        """A task's head (classes, width + 1); none, (0, width + 1), where none is trained."""
        columns = self.shape[1] + 1
        if not self.kind.trains_head:
            return np.zeros((0, columns), np.float32)
        name = task if self.shared else shape_name(classes, columns)
        if name not in cluster.heads:
            what = 'has no head here: with exchange.heads = "local" heads never left their clients'
            if self.experiment.exchange.heads == "merge":
                what = f"has no head by round {self.round}: nobody sent one that counted; more rounds may bring one"
            raise InputError(Problem("--task", what, task), str(self.run.path))
        return cluster.heads[name]

    def examples(self, task: Task, rows: Rows) -> Examples:
        """Rows without answers as numbers, cut as in the run."""
        columns = self.kind.ask(task, rows)
        if self.kind.writes:
            columns = (*columns, [""] * rows.table.num_rows)
        return self.encode(Split(columns, np.zeros(rows.table.num_rows, np.int64)), rows.where)

    def encode(self, split: Split, key: str) -> Examples:
        return self.kind.encode(split, locate(self.experiment.model), self.experiment.training, key)

    def work(self, examples: Examples) -> Work:
        return Work(examples, evaluation_batches(examples.lengths, self.experiment.training.eval_batch_size))

    def write(self, cluster: Cluster, examples: Examples) -> list[str]:
        """What a language model answers, in its own words."""
        training, rows = self.experiment.training, np.arange(len(examples))
        limits = training.eval_batch_size, training.max_length
        tokens = write_answers(self.backbone, cluster.adapter, examples, rows, *limits)
        coder = tokenizer(*locate(self.experiment.model))
        return [text.strip() for text in coder.batch_decode(tokens, skip_special_tokens=True)]


def predict(folder: str | Path, task: str, given: Given) -> tuple[int, list[Answer]]:
    """The cluster that answers for a task, and its answer to each row given.

    The cluster is the one whose members hold most of the task's training examples (`Trained.home`), with its head for
    the task. Raises InputError for what is no run, no task of it, no input of the task, or where heads stayed at
    their clients.
    """
    trained = Trained(folder)
    config, key = trained.task(task)
    try:
        config, rows = given.rows(config, key)
        names, number = trained.classes(task), trained.home(task)
        cluster = trained.cluster(number)
        head = trained.head(cluster, task, len(names))
        examples = trained.examples(config, rows)
    except InputError as error:
        error.file = error.file or str(trained.run.experiment_file)
        raise
    if trained.kind.writes:
        return number, [Answer(text, None) for text in trained.write(cluster, examples)]
    found = probabilities(trained.backbone, cluster.adapter, head, trained.work(examples))
    return number, [_answer(row, names) for row in found]


def _answer(row: np.ndarray, names: Sequence[str]) -> Answer:
    return Answer(names[int(row.argmax())], dict(zip(names, map(float, row), strict=True)))
