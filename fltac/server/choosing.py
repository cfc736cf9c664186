"""IFCA's clusters: there before any client is, and chosen by the clients. Source: Ghosh et al., arXiv 2006.04088."""

from __future__ import annotations

import numpy as np

from fltac.config import Ifca
from fltac.seeds import generator
from fltac.server.state import START, Cluster, Setup, State


def first_clusters(setup: Setup) -> dict[int, Cluster]:
    """The k clusters of the first round by number, each v0 with a B of its own; none where the server clusters.

    B ~ N(0, start_std^2), as the paper draws its k models: with B = 0 all would be one function, every least loss a
    tie, and all clients would choose the same cluster for ever.
    """
    config, spec = setup.clustering, setup.spec
    if not isinstance(config, Ifca):
        return {}
    clusters = {}
    for number in range(config.number(setup.number_of_tasks)):
        b = generator(setup.seed, "v0", "cluster", number).normal(0, config.start_std, spec.size_b)
        clusters[number] = Cluster(spec.with_b(setup.start, b.astype(np.float32)), {})
    return clusters


def offered(setup: Setup, state: State) -> list[int]:
    """The clusters that clients choose from; empty where the server clusters."""
    return sorted(set(state.clusters) - {START}) if isinstance(setup.clustering, Ifca) else []
