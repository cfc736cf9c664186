"""From what a clusterer found to a cluster for every update, put right by what needs no label.

A client has one slot a task, so two slots of one client are different tasks (cannot-link): a cluster that holds both
is wrong, whatever its density. What is joined again is told by two cosines of adapters: around their mean, where zero
is what any two adapters have in common, and from v0, where zero is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fltac.config import Settling
from fltac.server.similarity import around_mean, unit

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def settle(
    points: np.ndarray, labels: np.ndarray, owners: Sequence[int], last: Sequence[int | None], rules: Settling
) -> np.ndarray:
    """Labels (n,) without -1 from labels with it: no update is ever dropped.

    `owners` are the clients, `last` the clusters of last round. In this order:

    1. noise = "last", or no cluster at all: noise goes where most of its cluster of last round went.
    2. cannot_link: a cluster with two slots of one client is taken apart into its members.
    3. The two most alike are put together, again and again, while their members' mean cosine around the mean of all
       points is above zero (average linkage). With noise = "nearest", noise points take part.
    4. The same, while the mean cosine between two, seen from v0, is more than `join` of the geometric mean of their
       own: a sample's correlation, put right for how noisy its members are (Spearman 1904). This undoes the splits of
       a blob in which there is nothing to find.

    Steps 3 and 4 never put two slots of one client together (cannot_link), and without `join` they only take in noise
    and what step 2 took apart. Whoever is left is a cluster of its own.
    """
    labels = labels.copy()
    if rules.noise == "last" or not (labels >= 0).any():
        _rejoin(labels, last)
    if (labels >= 0).any():
        owned = np.array(owners)[:, None] == np.unique(owners)  # (n, m)
        loose = labels < 0
        taking_part = np.flatnonzero(~loose | (rules.noise == "nearest"))
        if rules.cannot_link:
            loose |= _in_conflict(labels, owned)
        groups = _Groups(labels[taking_part], loose[taking_part])
        groups.owned = owned[taking_part].astype(np.float64) if rules.cannot_link else None
        groups.whole_merge = rules.join is not None
        groups.merge(around_mean(points)[taking_part], _mean_cosine, 0.0)
        if rules.join is not None:
            groups.merge(unit(points)[taking_part], _reliable_cosine, rules.join)
        labels[taking_part] = groups.labels()
    alone = labels < 0
    labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    return labels


def conflicts(labels: np.ndarray, owners: Sequence[int]) -> int:
    """Pairs of slots of one client in one cluster: each is a mistake, and no label is needed to see it."""
    counts = np.unique(np.stack([labels, np.array(owners)])[:, labels >= 0], axis=1, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _rejoin(labels: np.ndarray, last: Sequence[int | None]) -> None:
    for old in sorted({one for one, label in zip(last, labels, strict=True) if one is not None and label < 0}):
        members = np.array([one == old for one in last])
        home = _most(labels[members])
        labels[members & (labels < 0)] = labels.max() + 1 if home is None else home


def _most(labels: np.ndarray) -> int | None:
    """The most frequent label that is not noise, of equals the first one's; None where there is none."""
    kept = labels[labels >= 0].tolist()
    return max(dict.fromkeys(kept), key=kept.count, default=None)


def _in_conflict(labels: np.ndarray, owned: np.ndarray) -> np.ndarray:
    """(n,) whether the point's cluster holds two slots of one client."""
    wrong = [label for label in np.unique(labels[labels >= 0]) if (owned[labels == label].sum(axis=0) > 1).any()]
    return np.isin(labels, wrong)


class _Groups:
    """Points in groups that are merged two by two: sums over groups, so that a merge is a few rows added."""

    owned: np.ndarray | None = None  # (n, m) 1 where the client owns the point: its points never meet; None: they may
    whole_merge = True  # whether two of the clusters that were given may merge, or only loose points

    def __init__(self, labels: np.ndarray, loose: np.ndarray) -> None:
        clusters, singles = np.unique(labels[~loose]), np.flatnonzero(loose)
        self.whole = np.arange(len(clusters) + len(singles)) < len(clusters)  # (g,)
        self.members = np.zeros((len(self.whole), len(labels)))  # (g, n) 0 or 1
        self.members[: len(clusters)] = (labels == clusters[:, None]) & ~loose
        self.members[len(clusters) + np.arange(len(singles)), singles] = 1

    def merge(self, points: np.ndarray, score: Score, least: float) -> None:
        """Merges the pair that scores best by the sums of its points' inner products, while that is above `least`."""
        totals = self.members @ points  # (g, d)
        sums = totals @ totals.T  # (g, g)
        own = self.members @ (points**2).sum(axis=1)  # (g,)
        while len(sums) > 1:
            scores = np.where(self._allowed(), score(sums, self.members.sum(axis=1), own), -np.inf)
            one, other = sorted(np.unravel_index(scores.argmax(), scores.shape))
            if not scores[one, other] > least:
                return
            for array in (sums, sums.T, own, self.members):
                array[one] += array[other]
            sums = np.delete(np.delete(sums, other, 0), other, 1)
            own, self.whole = np.delete(own, other), np.delete(self.whole, other)
            self.members = np.delete(self.members, other, 0)

    def _allowed(self) -> np.ndarray:
        """(g, g) pairs that may be put together."""
        allowed = ~np.eye(len(self.whole), dtype=bool)
        if not self.whole_merge:
            allowed &= ~(self.whole[:, None] & self.whole)
        if self.owned is not None:
            of_clients = self.members @ self.owned  # (g, m)
            allowed &= of_clients @ of_clients.T == 0
        return allowed

    def labels(self) -> np.ndarray:
        """(n,) the group of each point."""
        return np.asarray(self.members.argmax(axis=0))


def _mean_cosine(sums: np.ndarray, sizes: np.ndarray, own: np.ndarray) -> np.ndarray:
    return np.asarray(sums / np.outer(sizes, sizes))


def _reliable_cosine(sums: np.ndarray, sizes: np.ndarray, own: np.ndarray) -> np.ndarray:
    """k_ab / sqrt(k_aa k_bb), means over different members. A single takes its partner's; two singles say nothing."""
    pairs = sizes * (sizes - 1)
    within = np.where(pairs > 0, (np.diag(sums) - own) / np.maximum(pairs, 1), np.nan)
    rows = np.where(np.isnan(within), within[:, None], within)  # (g, g) of the column, or else of the row
    product = np.where(np.minimum(rows, rows.T) > 0, rows * rows.T, np.nan)
    return np.nan_to_num(_mean_cosine(sums, sizes, own) / np.sqrt(product), nan=-np.inf)
