"""The experiment: a frozen tree, read in layers from TOML and refused as a whole where it is wrong.

No torch and no Ray here: `fltac check` and every other reader of an experiment stay light.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Dtype = Literal["float32", "float16", "bfloat16"]
Names = Annotated[tuple[str, ...], Field(strict=False)]  # a TOML array, kept as a tuple
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# -- model and adapter ---------------------------------------------------------------------------


class HubModel(Config):
    type: Literal["hub"]
    path: str
    revision: str | None = None


class PathModel(Config):
    type: Literal["path"]
    path: str


class PackageModel(Config):
    """A Hugging Face directory inside an installed Python package."""

    type: Literal["package"]
    package: str
    path: str = "."


class Model(Config):
    kind: Literal["text-classification"] = "text-classification"
    source: Annotated[HubModel | PathModel | PackageModel, Field(discriminator="type")]
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the frozen base; adapters stay float32
    num_hidden_layers: Positive | None = None  # load only the first layers


class Adapter(Config):
    rank: Positive = 4
    scale: Annotated[float, Field(gt=0)] | None = None  # what B A is multiplied with
    alpha: Annotated[float, Field(gt=0)] | None = None  # the other way to say it: scale = alpha / rank
    targets: Names | None = None  # module names; by architecture where not given
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    init: Literal["shared", "per-client"] = "shared"  # v0; per-client is a stress: clusters mean little then
    gauge: Literal["kept", "random"] = "kept"  # random is a stress: each upload is (B Q, Q^T A), Q drawn anew

    @model_validator(mode="after")
    def _one_scale(self) -> Adapter:
        if self.scale is not None and self.alpha is not None:
            raise ValueError("give scale or alpha (= scale * rank), not both")
        return self

    @property
    def scaling(self) -> float:
        """The factor of B A: `scale`, or `alpha / rank`, or 2."""
        if self.alpha is not None:
            return self.alpha / self.rank
        return 2.0 if self.scale is None else self.scale


# -- tasks and clients ---------------------------------------------------------------------------


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
    inputs: Annotated[Names, Field(max_length=2)] = ()
    label: str = "label"
    max_train: Positive | None = None
    max_test: Positive | None = None
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    truth: str | None = None  # two tasks with one truth are one task to the scorer

    @model_validator(mode="after")
    def _inputs_named(self) -> Task:
        if not self.inputs and self.source.type != "sample":
            raise ValueError('name the text columns, e.g. inputs = ["sentence"]')
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


class Training(Config):
    steps: Positive = 50  # a task and round
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    max_length: Annotated[int, Field(ge=4)] = 128  # tokens
    eval_batch_size: Positive = 64


# -- the four axes of a method -------------------------------------------------------------------


class Exchange(Config):
    """What a client trains and sends."""

    adapters: Literal["per-task", "shared"] = "per-task"
    heads: Literal["merge", "local"] = "merge"


Of = Literal["adapter", "step"]  # what is compared: the change from v0, or the change since what was sent


class Flat(Config):
    type: Literal["flat"]
    of: Of = "adapter"


class B(Config):
    type: Literal["b"]
    of: Of = "adapter"


class Product(Config):
    type: Literal["product"]
    of: Of = "adapter"


class Subspace(Config):
    type: Literal["subspace"]
    of: Of = "adapter"


class Sketch(Config):
    """A random projection: for thousands of adapters, where an n x n kernel is too much."""

    type: Literal["sketch"]
    of: Of = "adapter"
    basis: Literal["product", "flat"] = "product"
    size: Positive = 512  # numbers an adapter
    seed: Annotated[int, Field(ge=0)] = 0


Similarity = Flat | B | Product | Subspace | Sketch


class Settling(Config):
    """What becomes of a clusterer's answer: noise, wrong merges, wrong splits (`fltac.server.settling`)."""

    noise: Literal["nearest", "own", "last"] = "nearest"
    cannot_link: bool = True  # two slots of one client are different tasks
    join: Share | None = 0.4  # clusters as alike as this part of what they are in themselves are one; null: never

    @model_validator(mode="before")
    @classmethod
    def _never(cls, values: Any) -> Any:
        """TOML has no null: `join = false` says it."""
        return {**values, "join": None} if isinstance(values, dict) and values.get("join") is False else values


class Hdbscan(Settling):
    type: Literal["hdbscan"]
    min_cluster_size: Annotated[int, Field(ge=2)] = 2
    min_samples: Positive = 1
    epsilon: Annotated[float, Field(ge=0)] = 0.0  # clusters nearer than this are not split further
    allow_single_cluster: bool = False
    centre: bool = True  # look at the adapters around their mean: what all have in common says nothing of their tasks


class Kmeans(Config):
    type: Literal["kmeans"]
    k: Positive | Literal["tasks"] = "tasks"  # "tasks": told the number of tasks, as in the paper
    restarts: Positive = 10


class Agglomerative(Settling):
    """Average linkage, cut where the silhouette is highest."""

    type: Literal["agglomerative"]
    k: Positive | Literal["silhouette"] = "silhouette"
    least_silhouette: Annotated[float, Field(ge=-1, le=1)] = 0.05  # below it there is one cluster
    centre: bool = True


class Spectral(Settling):
    """Eigenvectors of the normalised Laplacian, as many as there are before its largest gap."""

    type: Literal["spectral"]
    k: Positive | Literal["eigengap"] = "eigengap"
    most: Positive = 20  # clusters to look for
    restarts: Positive = 10


class Single(Config):
    type: Literal["single"]


class Each(Config):
    type: Literal["each"]


class Oracle(Config):
    type: Literal["oracle"]


Clustering = Hdbscan | Kmeans | Agglomerative | Spectral | Single | Each | Oracle


class Mean(Config):
    type: Literal["mean"]
    weights: Literal["uniform", "examples"] = "uniform"


class ProductSvd(Config):
    type: Literal["product_svd"]
    weights: Literal["uniform", "examples"] = "uniform"


Merging = Mean | ProductSvd


# -- where and how -------------------------------------------------------------------------------


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
    up: Dtype = "float32"
    down: Dtype = "float32"


class Data(Config):
    root: str  # absolute in a loaded experiment


class Grid(Config):
    grid: Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]


class Sweep(Config):
    space: dict[str, Grid]


class Experiment(Config):
    """One federated experiment, every value resolved; `fltac.layers.load` reads it from a file."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Positive = 10
    method: str = "fltac"
    model: Model
    adapter: Adapter = Adapter()
    tasks: Annotated[tuple[Task, ...], Field(strict=False, min_length=1)]
    data: Data
    clients: Clients = Clients()
    training: Training = Training()
    resources: Resources = Resources()
    wire: Wire = Wire()
    exchange: Exchange
    similarity: Annotated[Similarity, Field(discriminator="type")]
    clustering: Annotated[Clustering, Field(discriminator="type")]
    merging: Annotated[Merging, Field(discriminator="type")]
    sweep: Sweep | None = None

    def truths(self) -> dict[str, str]:
        """Task name -> class for scoring: `truth` where it is given, else the name."""
        return {task.name: task.truth or task.name for task in self.tasks}

    def dump(self) -> str:
        """The resolved experiment as JSON, nulls kept; `layers.load` reads it back unchanged."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def cross_checks(experiment: Experiment) -> list[tuple[str, str, object]]:
    """What single fields cannot know: `(key, what is wrong, value)` for each contradiction."""
    wrong: list[tuple[str, str, object]] = []
    names = [task.name for task in experiment.tasks]
    for index, name in enumerate(names):
        if name in names[:index]:
            wrong.append((f"tasks.{index}.name", f"is the name of tasks.{names.index(name)} too; rename one", name))
    partition = experiment.clients.partition
    if isinstance(partition, Table):
        for name in sorted(set(names) - set(partition.shares)):
            wrong.append(
                ("clients.partition.shares", f"has no row for task {name!r}; add one", sorted(partition.shares))
            )
        for name, row in partition.shares.items():
            key = f"clients.partition.shares.{name}"
            if name not in names:
                wrong.append((key, "is no task of this experiment; remove the row or add the task", name))
            elif len(row) != experiment.clients.count:
                wrong.append((key, f"needs one share a client, {experiment.clients.count} numbers", len(row)))
            elif sum(row) == 0:
                wrong.append((key, "gives the task to nobody; make one share positive", list(row)))
    if experiment.exchange.adapters == "shared":
        if experiment.clustering.type != "single":
            what = 'a shared adapter serves all tasks, so it goes with type = "single" alone'
            wrong.append(("clustering.type", what, experiment.clustering.type))
        if experiment.exchange.heads == "local":
            wrong.append(("exchange.heads", 'a shared adapter goes with heads = "merge" alone', "local"))
    reads_files = any(isinstance(task.source, FilesTask) for task in experiment.tasks)
    if reads_files and not Path(experiment.data.root).is_dir():
        wrong.append(("data.root", "is no folder; name the one that holds the task files", experiment.data.root))
    return wrong
