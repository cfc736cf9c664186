"""The four axes of a method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fltac.config.base import Bound, Budget, Config, Positive


class Exchange(Config):
    """What a client trains and sends."""

    data: Literal["own", "pooled"] = "own"  # pooled: one client has all, and nothing is sent: no federation
    trains: Literal["adapter", "model"] = "adapter"  # model: every weight of the base, sent as its change
    adapters: Literal["per-task", "shared"] = "per-task"
    factors: Literal["both", "b"] = "both"  # b: A stays v0's and is sent once, so the mean of B is exact
    heads: Literal["merge", "local"] = "merge"
    restart: Bound = None  # a slot that keeps less than this part of what it had learned by now starts from v0


Of = Literal["adapter", "step"]  # what is compared: the change from v0, or the change since what was sent


class Exact(Config):
    """All pairs of adapters are compared; of more than `sketch_above`, sketches are (similarity.type = "sketch")."""

    of: Of = "adapter"
    sketch_above: Budget = 512


class Flat(Exact):
    type: Literal["flat"]


class B(Exact):
    type: Literal["b"]


class Product(Exact):
    type: Literal["product"]


class Subspace(Exact):
    type: Literal["subspace"]


class Blend(Exact):
    """The mean of product and subspace."""

    type: Literal["blend"]


class Sketch(Config):
    """A random projection of each adapter and, of many, its principal components."""

    type: Literal["sketch"]
    of: Of = "adapter"
    basis: Literal["blend", "product", "subspace", "flat", "b"] = "blend"
    size: Positive = 2048  # numbers an adapter that are drawn
    components: Positive = 64  # and that are kept, of more adapters than that: as many tasks can be told apart
    seed: Annotated[int, Field(ge=0)] = 0


Similarity = Flat | B | Product | Subspace | Blend | Sketch


class Settling(Config):
    """What becomes of a clusterer's answer: noise, wrong merges, wrong splits (`fltac.server.settling`)."""

    noise: Literal["nearest", "own", "last"] = "nearest"
    cannot_link: bool = True  # two slots of one client are different tasks
    join: Bound = 0.7  # clusters as alike as this part of what they are in themselves are one
    structure: Annotated[float, Field(ge=0)] = 0.5  # spread of cosines over their mean; less: there may be one task
    patience: Positive = 2  # rounds in a row that a settled slot is seen in another cluster before it moves; 1: at once


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
    min_silhouette: Annotated[float, Field(ge=-1, le=1)] = 0.05  # below it there is one cluster
    metric: Literal["euclidean", "cosine"] = "euclidean"
    centre: bool = True
    once: bool = False  # the clusters of the first round stay; a slot that comes later joins the nearest


class Spectral(Settling):
    """Eigenvectors of the normalised Laplacian, as many as there are before its largest gap."""

    type: Literal["spectral"]
    k: Positive | Literal["eigengap"] = "eigengap"
    max_clusters: Positive = 20
    restarts: Positive = 10


class Ifca(Config):
    """Each client picks, of the k clusters that it is sent, the one of least training loss."""

    type: Literal["ifca"]
    k: Positive | Literal["tasks"] = "tasks"  # "tasks": told the number of tasks, since the paper gives k
    start_std: Annotated[float, Field(gt=0)] = 0.02  # of B at the start, drawn for each cluster: equals would be a tie

    def number(self, tasks: int) -> int:
        """How many clusters there are, where there are so many tasks."""
        return tasks if self.k == "tasks" else self.k


class Single(Config):
    type: Literal["single"]


class Each(Config):
    type: Literal["each"]


class Oracle(Config):
    type: Literal["oracle"]


Clustering = Hdbscan | Kmeans | Agglomerative | Spectral | Ifca | Single | Each | Oracle


# "agreement": by how far a member's step goes where most of its cluster's go, not at all if against them
Weights = Literal["uniform", "examples", "agreement"]


class Mean(Config):
    type: Literal["mean"]
    weights: Weights = "uniform"


class ProductSvd(Config):
    type: Literal["product_svd"]
    weights: Weights = "uniform"


class TrimmedMean(Config):
    """Of each number without its largest and smallest, so that a few poisoned clients cannot draw it away."""

    type: Literal["trimmed_mean"]
    weights: Literal["uniform"] = "uniform"  # how many examples a client has is its own word
    trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.25  # share of the members, at either end


class Median(Config):
    type: Literal["median"]
    weights: Literal["uniform"] = "uniform"


class NormClip(Config):
    """The mean of members, each drawn in to where most are."""

    type: Literal["norm_clip"]
    weights: Literal["uniform", "agreement"] = "uniform"
    factor: Annotated[float, Field(gt=0)] = 1.0  # of the members' median distance from their median


Merging = Mean | ProductSvd | TrimmedMean | Median | NormClip
