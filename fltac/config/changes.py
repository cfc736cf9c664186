"""What changes while a federation runs; each from the start of its round on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fltac.config.base import Config, Share

Later = Annotated[int, Field(ge=2)]  # what is so from the first round is no change


class TaskBegins(Config):
    """Nobody has data of the task before."""

    type: Literal["task-begins"]
    round: Later
    task: str


class TaskEnds(Config):
    type: Literal["task-ends"]
    round: Later
    task: str


class ClientJoins(Config):
    type: Literal["client-joins"]
    round: Later
    client: Annotated[int, Field(ge=0)]


class ClientLeaves(Config):
    type: Literal["client-leaves"]
    round: Later
    client: Annotated[int, Field(ge=0)]


class ClientDrifts(Config):
    """The client's data of one task become data of another, under the same slot; nobody is told."""

    type: Literal["client-drifts"]
    round: Later
    task: str
    becomes: str
    client: Annotated[int, Field(ge=0)] | None = None  # none: drawn among those that hold the one and not the other
    share: Share | None = None  # of the other task's training examples, set aside for it; none: one client's fair share


Change = Annotated[TaskBegins | TaskEnds | ClientJoins | ClientLeaves | ClientDrifts, Field(discriminator="type")]
