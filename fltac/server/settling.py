"""From what a clusterer found to a cluster for every update, put right by what needs no label.

A client has one slot a task, so two slots of one client are different tasks (cannot-link): a cluster that holds both
is wrong, whatever its density. What is joined again is told by two cosines of adapters: around their mean, where zero
is what any two adapters have in common, and of what they move at all, from v0, where zero is nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fltac.config import Settling
from fltac.server.grouping import Groups, change_over
from fltac.server.similarity import around_mean, unit


def settle(
    points: np.ndarray,
    kin: np.ndarray,
    labels: np.ndarray,
    owners: Sequence[int],
    last: Sequence[int | None],
    rules: Settling,
) -> np.ndarray:
    """Labels (n,) without -1 from labels with it: no update is ever dropped.

    `points` (n, d) are what was clustered, `kin` (n, e) what tells parts of one task (`comparing`), `owners`
    the clients, `last` the clusters of last round. In this order:

    1. noise = "last", or no cluster at all: noise goes where most of its cluster of last round went. Without a cluster
       that is all; or all are one, where they may be one task (`_alike`).
    2. cannot_link: a cluster with two slots of one client is taken apart into its members.
    3. The two most alike are put together, again and again, while their members' mean cosine around the mean of all
       points is above zero (average linkage). With noise = "nearest", noise points take part. Two whole clusters must
       be half as alike as step 4 asks, too: beside one large cluster all the others lie on one side of the mean.
    4. The same, while the mean cosine of `kin` between two is more than `join` of the geometric mean of their own: the
       correction for attenuation (Spearman 1904), which takes out how noisy the members are. This undoes the splits of
       a task in which there is nothing to find. Half of `join` is enough where all may be one task: parts that were
       picked because they differ look less alike than they are.
    5. Members of a cluster go over to another that they are more like: mean cosine of `kin` to the others in it, over
       the root of that among its members. Best gain first, n moves at most. Whoever is alone stays so.

    Steps 3 to 5 never put two slots of one client together (cannot_link). Without `join` step 3 only takes in noise and
    what step 2 took apart, and there is no 4 and 5. Whoever is left is a cluster of its own.
    """
    labels = labels.copy()
    nothing, alike = not (labels >= 0).any(), _alike(points, owners, rules)
    if nothing and alike:
        return np.zeros_like(labels)
    sent = (labels < 0) & (rules.noise == "last")  # to stay where the rule puts it
    if rules.noise == "last" or nothing:
        _rejoin(labels, last)
    if not nothing:
        loose = labels < 0
        some = np.flatnonzero(~loose | (rules.noise == "nearest"))  # who takes part
        client = np.unique(np.array(owners), return_inverse=True)[1] if rules.cannot_link else np.arange(len(labels))
        loose |= np.isin(labels, _in_conflict(labels, client))
        seen, near, client = around_mean(points)[some], unit(kin)[some], client[some]
        groups = Groups(labels[some], loose[some], client, seen, near)
        groups.merge(lambda rows: groups.mean_cosine(rows, rules.join and rules.join / 2))
        if rules.join is not None:
            least = rules.join / 2 if alike else rules.join
            groups.merge(lambda rows: groups.reliable_cosine(rows) - least)
            change_over(groups.labels, near, client, sent[some])
        labels[some] = groups.labels
    alone = labels < 0
    labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    return labels


def conflicts(labels: np.ndarray, owners: Sequence[int]) -> int:
    """Pairs of slots of one client in one cluster: each is a mistake, and no label is needed to see it."""
    counts = np.unique(np.stack([labels, np.array(owners)])[:, labels >= 0], axis=1, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _alike(points: np.ndarray, owners: Sequence[int], rules: Settling) -> bool:
    """The null hypothesis, that there is one task: no client has two slots, and all pairs are about equally alike.

    That is, the standard deviation of their cosines from v0 is less than `structure` of the mean. Chosen on adapters of
    one real task and of several (experiments/LOG.md); three points or fewer have no spread to speak of.
    """
    if len(points) < 4 or (rules.cannot_link and len(set(owners)) < len(owners)):
        return False
    seen, n = unit(points), len(points)
    gram = seen @ seen.T if n < seen.shape[1] else seen.T @ seen  # of either the squares have one sum
    own = np.square(seen).sum(axis=1)  # one, or zero for what did not change
    pairs = n * (n - 1)
    mean = (np.square(seen.sum(axis=0)).sum() - own.sum()) / pairs
    square = (np.square(gram).sum() - np.square(own).sum()) / pairs
    return bool(np.sqrt(max(square - mean**2, 0)) < rules.structure * mean)


def _rejoin(labels: np.ndarray, last: Sequence[int | None]) -> None:
    for old in sorted({one for one, label in zip(last, labels, strict=True) if one is not None and label < 0}):
        members = np.array([one == old for one in last])
        home = most(labels[members])
        labels[members & (labels < 0)] = labels.max() + 1 if home is None else home


def most(labels: np.ndarray) -> int | None:
    """The most frequent label that is not noise, of equals the first one's; None where there is none."""
    kept = Counter(labels[labels >= 0].tolist())
    return kept.most_common(1)[0][0] if kept else None


def _in_conflict(labels: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The clusters that hold two slots of one client."""
    pairs, counts = np.unique(np.stack([labels, owners])[:, labels >= 0], axis=1, return_counts=True)
    return np.unique(pairs[0, counts > 1])
