"""The experiment: where and how it runs, and all of it as one tree."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fltac.config.adversary import Adversary
from fltac.config.base import Bound, Budget, Config, NotNegative, Positive
from fltac.config.changes import Change
from fltac.config.codec import DownCodec, UpCodec
from fltac.config.faults import Faults
from fltac.config.method import Clustering, Exchange, Merging, Similarity
from fltac.config.model import Adapter, Model, dtype_of
from fltac.config.network import Network
from fltac.config.sweep import Sweep
from fltac.config.tasks import GPU_PACK_TOKENS, PACK_TOKENS, Clients, Task, Training
from fltac.config.trackers import Tracker


class ClientResources(Config):
    num_cpus: Annotated[float, Field(gt=0)] = 1
    num_gpus: Annotated[float, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _whole_gpus(self) -> ClientResources:
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ValueError("more than one GPU must be a whole number; a fraction shares one device")
        return self


class Resources(Config):
    client: ClientResources = ClientResources()  # of one client actor
    actors: Positive | Literal["auto"] = "auto"


class Wire(Config):
    """How numbers travel: `NUMBERS[+topSHARE][+zstd]`, see `fltac.config.codec`."""

    up: UpCodec = "float32"
    down: DownCodec = "float32"


class Checkpoint(Config):
    """What `fltac resume` goes on from, written after each round."""

    keep: NotNegative = 2  # the last so many: one may turn out to be torn; 0: none, and nothing to go on from


class Alerts(Config):
    """When an operator is told, beside the record; false: never."""

    noise: Bound = 0.3  # adapters that the clusterer left out, of all
    conflicts: Bound = 0.2  # pairs of one client's slots that the clusterer put together, an adapter
    churn: Bound = 0.2  # slots that changed their cluster, of all known before
    bytes: Budget = None  # of a round, both ways, without the frozen base; left out: no budget
    born: bool = True  # a new cluster after the first round
    split: bool = True
    merged: bool = True
    lone: bool = True  # a cluster that shrank to one slot
    moved: bool = True  # a slot that went from one living cluster to another
    left_out: bool = True  # an update was refused, or a client's work lost with its actor
    outvoted: bool = True  # by merging.weights = "agreement": an update goes against its cluster's
    restarted: bool = True  # a client found that what it is sent no longer fits its data, and started from v0


class Data(Config):
    root: str  # absolute in a loaded experiment


class Experiment(Config):
    """One federated experiment, every value resolved; `fltac.layers.load` reads it from a file."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    rounds: Positive = 10
    method: str = "fltac"
    model: Model
    adapter: Adapter = Adapter()
    tasks: Annotated[tuple[Task, ...], Field(strict=False, min_length=1)]
    data: Data
    clients: Clients = Clients()
    changes: Annotated[tuple[Change, ...], Field(strict=False)] = ()
    training: Training = Training()
    resources: Resources = Resources()
    wire: Wire = Wire()
    network: Network = Network()
    checkpoint: Checkpoint = Checkpoint()
    faults: Faults = Faults()
    exchange: Exchange
    similarity: Annotated[Similarity, Field(discriminator="type")]
    clustering: Annotated[Clustering, Field(discriminator="type")]
    merging: Annotated[Merging, Field(discriminator="type")]
    alerts: Alerts = Alerts()
    adversary: Annotated[Adversary | None, Field(discriminator="type")] = None
    trackers: Annotated[tuple[Tracker, ...], Field(strict=False)] = ()
    sweep: Sweep | None = None

    def truths(self) -> dict[str, str]:
        """Task name -> class for scoring: `truth` where it is given, else the name."""
        return {task.name: task.truth or task.name for task in self.tasks}

    def resolved(self) -> Experiment:
        """With the constants that stand for what was left out and depends on the machines asked for: never measured at
        run time, so that a run is the same wherever it is done again."""
        gpus = self.resources.client.num_gpus
        tokens = self.training.pack_tokens or (GPU_PACK_TOKENS if gpus else PACK_TOKENS)
        told = {"training": {"pack_tokens": tokens}, "model": {"dtype": dtype_of(self.model.dtype, gpus)}}
        parts = {name: getattr(self, name).model_copy(update=part) for name, part in told.items()}
        return self.model_copy(update=parts)

    def dump(self) -> str:
        """The resolved experiment as JSON, nulls kept; `layers.load` reads it back unchanged."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"
