"""From what a clusterer found to a cluster for every update, put right by what needs no label.

A client has one slot a task, so two slots of one client are different tasks (cannot-link): a cluster that holds both
is wrong, whatever its density. What is joined again is told by two cosines of adapters: around their mean, where zero
is what any two adapters have in common, and of what they move at all, from v0, where zero is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fltac.config import Settling
from fltac.server.similarity import RESOLUTION, around_mean, unit


def settle(
    points: np.ndarray,
    kin: np.ndarray,
    labels: np.ndarray,
    owners: Sequence[int],
    last: Sequence[int | None],
    rules: Settling,
) -> np.ndarray:
    """Labels (n,) without -1 from labels with it: no update is ever dropped.

    `points` (n, d) are what was clustered, `kin` (n, e) what tells parts of one task (`similarity.kinship`), `owners`
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
        owned = np.array(owners)[:, None] == np.unique(owners)  # (n, m)
        loose = labels < 0
        taking_part = np.flatnonzero(~loose | (rules.noise == "nearest"))
        if rules.cannot_link:
            loose |= _in_conflict(labels, owned)
            owned = owned.astype(np.float64)
        else:
            owned = np.zeros(owned.shape)
        seen, near, owned = around_mean(points)[taking_part], unit(kin)[taking_part], owned[taking_part]
        groups = _Groups(labels[taking_part], loose[taking_part], owned, seen, near)
        groups.merge(lambda: groups.mean_cosine(rules.join and rules.join / 2))
        if rules.join is not None:
            least = rules.join / 2 if alike else rules.join
            groups.merge(lambda: groups.reliable_cosine() - least)
            _change_over(groups.labels, near, owned, sent[taking_part])
        labels[taking_part] = groups.labels
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
    seen = unit(points)
    cosines = (seen @ seen.T)[np.triu_indices(len(seen), 1)]
    return bool(cosines.std() < rules.structure * cosines.mean())


def _rejoin(labels: np.ndarray, last: Sequence[int | None]) -> None:
    for old in sorted({one for one, label in zip(last, labels, strict=True) if one is not None and label < 0}):
        members = np.array([one == old for one in last])
        home = most(labels[members])
        labels[members & (labels < 0)] = labels.max() + 1 if home is None else home


def most(labels: np.ndarray) -> int | None:
    """The most frequent label that is not noise, of equals the first one's; None where there is none."""
    kept = labels[labels >= 0].tolist()
    return max(dict.fromkeys(kept), key=kept.count, default=None)


def _in_conflict(labels: np.ndarray, owned: np.ndarray) -> np.ndarray:
    """(n,) whether the point's cluster holds two slots of one client."""
    wrong = [label for label in np.unique(labels[labels >= 0]) if (owned[labels == label].sum(axis=0) > 1).any()]
    return np.isin(labels, wrong)


def _change_over(labels: np.ndarray, kin: np.ndarray, owned: np.ndarray, fixed: np.ndarray) -> None:
    """Step 5 of `settle`, in place: `kin` (n, e) at length one, `owned` (n, m) 0 or 1, `fixed` (n,) who may not."""
    cosines = kin @ kin.T
    np.fill_diagonal(cosines, 0)
    at = np.unique(labels, return_inverse=True)[1]
    names, points = np.unique(labels), np.arange(len(labels))
    member = (at[:, None] == np.arange(len(names))).astype(np.float64)  # (n, g)
    sums, held = cosines @ member, owned.T @ member  # (n, g) over others, (m, g)
    for _ in points:
        sizes = member.sum(axis=0)
        within = (member * sums).sum(axis=0) / np.maximum(sizes * (sizes - 1), 1)
        like = sums / np.maximum(sizes - member, 1) / np.sqrt(np.where(within > 0, within, np.inf))
        taken = owned @ held - member * owned.any(axis=1, keepdims=True) > 0.5
        closed = taken | (within <= 0)  # one alone, and those who are not alike, take in nobody
        gain = np.where(closed | (fixed | (sizes[at] < 2))[:, None], -np.inf, like - like[points, at][:, None])
        one, new = np.unravel_index(gain.argmax(), gain.shape)
        if gain[one, new] <= RESOLUTION:
            break
        for table, row in ((sums, cosines[one]), (held, owned[one])):
            table[:, at[one]] -= row
            table[:, new] += row
        member[one, at[one]], member[one, new] = 0, 1
        at[one] = new
    labels[:] = names[at]


class _Groups:
    """Points in groups that are merged two by two: sums over groups, so that a merge is a few rows added."""

    def __init__(
        self, labels: np.ndarray, loose: np.ndarray, owned: np.ndarray, seen: np.ndarray, kin: np.ndarray
    ) -> None:
        clusters, singles = np.unique(labels[~loose]), np.flatnonzero(loose)
        members = np.zeros((len(clusters) + len(singles), len(labels)))  # (g, n) 0 or 1
        members[: len(clusters)] = (labels == clusters[:, None]) & ~loose
        members[len(clusters) + np.arange(len(singles)), singles] = 1
        self.labels = members.argmax(axis=0)  # (n,)
        self.whole = np.arange(len(members)) < len(clusters)  # (g,) was a cluster, and not a loose point
        self.sizes = members.sum(axis=1)
        self.seen, self.kin = (totals @ totals.T for totals in (members @ seen, members @ kin))  # (g, g)
        self.own = members @ (kin**2).sum(axis=1)
        clients = members @ owned
        self.apart = (clients @ clients.T > 0) | np.eye(len(members), dtype=bool)  # (g, g) never to be put together

    def merge(self, score: Callable[[], np.ndarray]) -> None:
        """Puts the pair together that scores best, (g, g), while its score is above zero."""
        while True:
            scores = np.where(self.apart, -np.inf, score())
            one, other = sorted(np.unravel_index(scores.argmax(), scores.shape))
            if not scores[one, other] > 0:
                return
            self.labels[self.labels == other] = one
            for sums in (self.sizes, self.own, self.seen, self.seen.T, self.kin, self.kin.T):
                sums[one] += sums[other]
            for apart in (self.apart, self.apart.T):
                apart[one] |= apart[other]
                apart[other] = True  # it is no more

    def mean_cosine(self, least: float | None) -> np.ndarray:
        """Of members around the mean; of two whole clusters only if they are reliably more alike than `least`."""
        both = self.whole[:, None] & self.whole
        refused = both if least is None else both & (self.reliable_cosine() <= least)
        return np.asarray(np.where(refused, -np.inf, self.seen / np.outer(self.sizes, self.sizes)))

    def reliable_cosine(self) -> np.ndarray:
        """k_ab / sqrt(k_aa k_bb), means over different members; a single takes its partner's, two say nothing."""
        pairs = self.sizes * (self.sizes - 1)
        within = np.where(pairs > 0, (np.diag(self.kin) - self.own) / np.maximum(pairs, 1), np.nan)
        rows = np.where(np.isnan(within), within[:, None], within)  # (g, g) of the column, or else of the row
        product = np.where(np.minimum(rows, rows.T) > 0, rows * rows.T, np.nan)
        mean = self.kin / np.outer(self.sizes, self.sizes)
        return np.asarray(np.nan_to_num(mean / np.sqrt(product), nan=-np.inf))
