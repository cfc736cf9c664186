"""Tasks, who holds what of them, and how they are trained."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fltac.config.base import Config, Names, Positive, Share


class HubTask(Config):
    type: Literal["hub"]
    path: str
    name: str | None = None
    train: str = "train"
    test: str = "test"
    revision: str | None = None


class FilesTask(Config):
    type: Literal["files"]
    train: str
    test: str


class SampleTask(Config):
    """Real data inside an installed Python package; `fltac.data.samples` lists the names."""

    type: Literal["sample"]
    name: str


class Task(Config):
    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    source: Annotated[HubTask | FilesTask | SampleTask, Field(discriminator="type")]
    inputs: Annotated[Names, Field(max_length=2)] = ()  # one or two text columns, or one of images
    prompt: str | None = None  # of a language model: a template over columns, "{question}\n"
    label: str = "label"  # the column of classes, or of responses
    where: dict[str, str | int | bool] = Field(default_factory=dict)  # only rows that have these values
    metric: Literal["accuracy", "f1", "matthews"] = "accuracy"  # beside accuracy and loss, which are always told
    max_train: Positive | None = None
    max_test: Positive | None = None
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    truth: str | None = None  # two tasks with one truth are one task to the scorer

    @model_validator(mode="after")
    def _inputs_named(self) -> Task:
        if self.prompt is not None and self.inputs:
            raise ValueError("name columns in inputs or in a prompt's template, not in both")
        if not self.inputs and self.prompt is None and self.source.type != "sample":
            raise ValueError('name the columns that go in, e.g. inputs = ["sentence"], or a prompt\'s template')
        return self


class Dirichlet(Config):
    """Each task's examples are split over the clients by Dirichlet(alpha) shares (quantity skew)."""

    type: Literal["dirichlet"]
    alpha: Annotated[float, Field(gt=0)] = 0.5
    min_share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    min_examples: Positive = 8


class LabelDirichlet(Config):
    """Each class of each task is split over the clients by its own Dirichlet(alpha) (label skew)."""

    type: Literal["label_dirichlet"]
    alpha: Annotated[float, Field(gt=0)] = 0.5
    min_share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    min_examples: Positive = 8


class Table(Config):
    """The shares of each task, one number a client; rows are normalised to one."""

    type: Literal["table"]
    shares: dict[str, Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)]]
    min_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    min_examples: Positive = 1


class Clients(Config):
    count: Positive = 10
    partition: Annotated[Dirichlet | LabelDirichlet | Table, Field(discriminator="type")] = Dirichlet(type="dirichlet")
    fraction: Share = 1.0  # of the clients that hold data, drawn anew each round
    select: Annotated[float, Field(ge=1)] = 1.0  # times as many are drawn; the first to come count, the others are late

    def awaited(self, holders: int) -> int:
        """How many clients a round waits for, of so many that hold data."""
        return max(1, math.floor(self.fraction * holders + 0.5))


class Training(Config):
    steps: Positive = 50  # a task and round
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    max_length: Annotated[int, Field(ge=4)] = 128  # tokens
    image_size: Positive = 224  # pixels, both ways
    eval_batch_size: Positive = 64
    generate: Annotated[int, Field(ge=0)] = 0  # test examples of a task that are answered after the last round
    pack: Positive | Literal["auto"] = "auto"  # adapters in one forward pass at most; auto: while their tokens are few
    gradient_checkpointing: bool = False  # compute layers twice and keep less: memory for time
