"""The clusters of a round, made anew of the members that came: what each counts for, its adapter, its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fltac.seeds import generator
from fltac.server.agreeing import agreement, worth
from fltac.server.diagnostics import Sight
from fltac.server.merging import AVERAGES, MERGERS, aggregation_error, outlier_scores, weights
from fltac.server.posting import by_client
from fltac.server.state import START, Cluster, Key, Setup, State
from fltac.timeline import holding
from fltac.wire.messages import Head, Update


def renewed(
    setup: Setup, state: State, updates: Sequence[Update], sight: Sight, sent: Mapping[Key, np.ndarray]
) -> tuple[dict[int, Cluster], dict[int, float], dict[Key, dict[str, float | None]]]:
    """The clusters of round `state.round + 1`, v0 among them, the aggregation error of those that were merged, and of
    each update how far it lies from the others of its cluster, how it agrees with them, its weight there.

    `sent` are the adapters (p,) that the updates' slots were sent, where merging asks for them.
    """
    clusters = dict(state.clusters) if sight.found.final else {START: state.clusters[START]}
    errors, shares = {}, dict[Key, dict[str, float | None]]()
    names = _head_names(setup, state.round + 1)
    groups: dict[int, list[Update]] = {cluster: [] for cluster in sorted(set(sight.ids.values()))}
    for update in updates:
        groups[sight.ids[update.key]].append(update)
    came: dict[int, int] = {}  # where the first known member of each was
    for key, cluster in sight.ids.items():
        if key in state.labels:
            came.setdefault(cluster, state.labels[key])
    for cluster, members in groups.items():
        origin = cluster if cluster in state.clusters else came.get(cluster, START)
        before = state.clusters[origin]  # a new cluster begins with what its first known member had
        if not members:  # only absent slots: they keep what they had
            clusters[cluster] = before
            continue
        draw = generator(setup.seed, "agreement", state.round + 1, cluster)
        agree = _agreement(setup, members, sent, draw)
        counts = _late(setup, members, state.round + 1) * (1.0 if agree is None else worth(agree))
        heads = {} if origin == START else before.heads
        clusters[cluster], errors[cluster], weight = _merge(setup, members, counts, names, heads)
        scores = outlier_scores([update.adapter for update in members])
        agreed = [None] * len(members) if agree is None else agree.tolist()
        for update, *said in zip(members, scores, agreed, weight.tolist(), strict=True):
            shares[update.key] = dict(zip(("outlier", "agreement", "weight"), said, strict=True))
    return clusters, errors, shares


def _late(setup: Setup, members: Sequence[Update], round: int) -> np.ndarray:
    """(n,) what members count for by the round that they were made in."""
    late = setup.faults.late_weight or 1.0
    return np.array([1.0 if update.round == round else late for update in members])


def _agreement(
    setup: Setup, members: Sequence[Update], sent: Mapping[Key, np.ndarray], draw: np.random.Generator
) -> np.ndarray | None:
    """(n,) how their steps agree, where it is asked for: from what they were sent, whatever they say."""
    if setup.merging.weights != "agreement":
        return None
    return agreement([update.adapter for update in members], [sent[update.key] for update in members], draw)


def _merge(
    setup: Setup,
    members: Sequence[Update],
    counts: np.ndarray,
    names: Mapping[Key, Sequence[str]],
    old_heads: Mapping[str, np.ndarray],
) -> tuple[Cluster, float, np.ndarray]:
    """The cluster's adapter and heads, its aggregation error, and the members' weights (n,), who count so much,
    whatever examples they have."""
    adapters = [update.adapter for update in members]
    examples = np.array([update.num_examples for update in members])
    merging = setup.merging
    weight = weights(examples, merging.weights, counts)
    adapter = MERGERS[merging.type](adapters, weight, merging, setup.spec)
    groups: dict[str, list[tuple[Head, float]]] = {}
    for update, one in zip(members, counts.tolist(), strict=True):
        for name, head in zip(names[update.key], update.heads, strict=False):  # local heads are not sent
            groups.setdefault(name, []).append((head, one))
    heads = dict(old_heads)
    for name, group in groups.items():  # equal shapes only; a head is merged by its own task's examples
        each = np.array([one for _, one in group])
        if counts.any() and not each.any():
            continue  # only those have it who count for nothing: it stays as it was, or v0's
        share = weights(np.array([head.num_examples for head, _ in group]), merging.weights, each)
        stacked = np.stack([head.matrix for head, _ in group])
        heads[name] = AVERAGES[merging.type](stacked, share, merging)
    return Cluster(adapter, heads), aggregation_error(adapters, adapter, weight, setup.spec), weight


def _head_names(setup: Setup, round: int) -> dict[Key, list[str]]:
    """Of an update's heads: the shape; where one adapter is shared, the tasks that the baseline is told."""
    slots = holding(setup.registry, round)
    if setup.exchange.adapters == "shared":
        return {(client, 0): [slot.task for slot in own.values()] for client, own in by_client(slots).items()}
    return {key: [slot.shape] for key, slot in slots.items()}
