"""Points in groups that grow together: two by two, the most alike first, and then member by member.

For ten thousand points and more: a group is the sum of its members, and no table of all pairs is ever there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fltac.server.similarity import RESOLUTION

BLOCK = 2**21  # scores that are there at once while all pairs are looked at
CROWD = 1000  # groups beyond which those that are gone are forgotten, so that nothing is computed of them


class Groups:
    """Points in groups that are merged two by two: sums over groups, so that a merge is a few rows added."""

    def __init__(
        self, labels: np.ndarray, loose: np.ndarray, owners: np.ndarray, seen: np.ndarray, kin: np.ndarray
    ) -> None:
        """Clusters, and each loose point by itself; `owners` (n,) 0..m-1, whose points are never put together."""
        clusters, at = np.unique(labels[~loose], return_inverse=True)
        self.labels = np.empty(len(labels), dtype=np.int64)  # (n,) 0..g-1
        self.labels[~loose] = at
        self.labels[loose] = len(clusters) + np.arange(loose.sum())
        count = len(clusters) + int(loose.sum())
        self.members = np.split(np.argsort(self.labels, kind="stable"), np.cumsum(np.bincount(self.labels))[:-1])
        self.owners, self.by_owner, self.points = owners, np.argsort(owners, kind="stable"), np.bincount(owners)
        self.ends = np.cumsum(self.points)  # of each owner's points in by_owner
        self.whole = np.arange(count) < len(clusters)  # (g,) was a cluster, and not a loose point
        self.alive = np.ones(count, dtype=bool)
        self.sizes = np.bincount(self.labels, minlength=count).astype(np.float64)
        self.seen, self.kin = (totals(rows, self.labels, count) for rows in (seen, kin))
        self.own = totals((kin**2).sum(axis=1, keepdims=True), self.labels, count)[:, 0]
        self.square = (self.kin**2).sum(axis=1)

    def merge(self, score: Callable[[np.ndarray], np.ndarray]) -> None:
        """Puts the pair together that scores best while its score is above zero; `score` is of rows, (k,) -> (k, g).

        Each group remembers its best, and what its second best is at most. A merge changes the scores of one group
        alone, so that this is looked up again only where the best was lost to the second.
        """
        best, second, partner = self._best(np.arange(len(self.alive)), score)
        while len(best) and best[one := int(best.argmax())] > 0:
            if partner[one] < 0:
                best[one], second[one], partner[one] = (value[0] for value in self._best(np.array([one]), score))
                continue
            one, other = sorted((one, int(partner[one])))
            self._join(one, other)
            told = self._scores(np.array([one]), score)[0]
            lost = (partner == one) | (partner == other)  # what they remember of it is out of date
            best[lost], partner[lost] = second[lost], -1
            better = told >= best
            second = np.where(better & ~lost, best, np.maximum(second, np.where(better, -np.inf, told)))
            best[better], partner[better] = told[better], one
            best[other] = -np.inf
            best[one], second[one], partner[one] = (value[0] for value in _highest(told[None]))
            if len(best) > CROWD and 2 * self.alive.sum() < len(best):
                kept = self.alive.copy()
                place = self._forget()
                best, second, partner = best[kept], second[kept], np.where(partner < 0, -1, place[partner])[kept]

    def mean_cosine(self, rows: np.ndarray, least: float | None) -> np.ndarray:
        """Of members around the mean; of two whole clusters if they are reliably more alike than `least`, or never."""
        mean = self.seen[rows] @ self.seen.T / (self.sizes[rows, None] * self.sizes)
        whole = np.flatnonzero(self.whole[rows])
        if len(whole):
            refused = self.whole & (least is None or self.reliable_cosine(rows[whole]) <= least)
            mean[whole] = np.where(refused, -np.inf, mean[whole])
        return np.asarray(mean)

    def reliable_cosine(self, rows: np.ndarray) -> np.ndarray:
        """k_ab / sqrt(k_aa k_bb), means over different members; a single takes its partner's, two say nothing."""
        pairs = self.sizes * (self.sizes - 1)
        within = np.where(pairs > 0, (self.square - self.own) / np.maximum(pairs, 1), np.nan)
        mine = within[rows, None]
        theirs, mine = np.where(np.isnan(within), mine, within), np.where(np.isnan(mine), within, mine)
        product = np.where(np.minimum(mine, theirs) > 0, mine * theirs, np.nan)
        mean = self.kin[rows] @ self.kin.T / (self.sizes[rows, None] * self.sizes)
        return np.asarray(np.nan_to_num(mean / np.sqrt(product), nan=-np.inf))

    def _best(
        self, rows: np.ndarray, score: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The highest score of each row, the second, and with whom it has the highest."""
        step = max(1, BLOCK // max(len(self.alive), 1))
        parts = [_highest(self._scores(rows[at : at + step], score)) for at in range(0, len(rows), step)]
        best, second, partner = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (rows,) * 3
        return best, second, partner

    def _scores(self, rows: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Scores of rows, -inf for those that may never be put together."""
        scores = score(rows)
        scores[~self.alive[rows]] = -np.inf
        scores[:, ~self.alive] = -np.inf
        for place, row in enumerate(rows):
            scores[place, self.labels[self._barred(row)]] = -np.inf
        return scores

    def _barred(self, group: int) -> np.ndarray:
        """All points of those who have one in the group, its own among them."""
        owners = self.owners[self.members[group]]
        count = self.points[owners]
        found: np.ndarray = np.repeat(self.ends[owners] - np.cumsum(count), count) + np.arange(count.sum())
        return np.asarray(self.by_owner[found])

    def _join(self, one: int, other: int) -> None:
        self.labels[self.members[other]] = one
        self.members[one] = np.concatenate([self.members[one], self.members[other]])
        self.alive[other] = False
        for sums in (self.sizes, self.own, self.seen, self.kin):
            sums[one] += sums[other]
        self.square[one] = (self.kin[one] ** 2).sum()

    def _forget(self) -> np.ndarray:
        """Leaves out the groups that are gone; returns the new place of each that is there."""
        kept = self.alive
        place = np.cumsum(kept) - 1
        self.labels = place[self.labels]
        self.members = [self.members[one] for one in np.flatnonzero(kept)]
        for name in ("whole", "sizes", "own", "square", "seen", "kin", "alive"):
            setattr(self, name, getattr(self, name)[kept])
        return place


def _highest(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row (k, g) the highest, the second (-inf where there is none), and where the highest is."""
    where = scores.argmax(axis=1)
    rest = scores.copy()
    rest[np.arange(len(scores)), where] = -np.inf
    return scores.max(axis=1), rest.max(axis=1), where


def change_over(labels: np.ndarray, kin: np.ndarray, owners: np.ndarray, fixed: np.ndarray) -> None:
    """Members go over to another group that they are more like, in place, best gain first, n moves at most.

    `kin` (n, e) at length one, `owners` (n,) 0..m-1, `fixed` (n,) who may not. Who is alone stays so.
    """
    _, at, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.flatnonzero(sizes[at] > 1)
    if not len(members):
        return
    moved = _Moves(labels[members], kin[members], owners[members], fixed[members])
    for _ in labels:  # it need not end: who goes changes what the others are like
        if not moved.best():
            break
    labels[members] = moved.names[moved.at]


class _Moves:
    """How much more like each other group each point is than its own, (n, k): a move changes two columns."""

    def __init__(self, labels: np.ndarray, kin: np.ndarray, owners: np.ndarray, fixed: np.ndarray) -> None:
        self.names, self.at = np.unique(labels, return_inverse=True)
        self.kin, self.owners, self.fixed, self.points = kin, owners, fixed, np.arange(len(labels))
        count = len(self.names)
        self.square = (kin**2).sum(axis=1)
        self.sizes = np.bincount(self.at, minlength=count)
        self.totals = totals(kin, self.at, count)  # (k, e)
        self.squares = totals(self.square[:, None], self.at, count)[:, 0]
        self.held = np.zeros((owners.max() + 1, count), dtype=np.int32)  # (m, k) points of each owner
        np.add.at(self.held, (owners, self.at), 1)
        self.own = np.empty(len(labels))  # (n,) how much each is like its own group
        self.like = np.empty((len(labels), count))  # and like the others, -inf for those that take it not
        self.products = kin @ self.totals.T  # (n, k)
        for group in range(count):
            self._look(group)

    def best(self) -> bool:
        """Makes the best move; False where there is none."""
        gain = self.like.max(axis=1) - self.own
        gain[self.fixed | (self.sizes[self.at] < 2)] = -np.inf
        one = int(gain.argmax())
        if not gain[one] > RESOLUTION:
            return False
        old, new = self.at[one], int(self.like[one].argmax())
        products = self.kin @ self.kin[one]
        for group, sign in ((old, -1), (new, 1)):
            self.sizes[group] += sign
            self.totals[group] += sign * self.kin[one]
            self.products[:, group] += sign * products
            self.squares[group] += sign * self.square[one]
            self.held[self.owners[one], group] += sign
        self.at[one] = new
        self._look(old)
        self._look(new)
        return True

    def _look(self, group: int) -> None:
        mine, size, total = self.at == group, self.sizes[group], self.totals[group]
        within = (total @ total - self.squares[group]) / max(size * (size - 1), 1)
        within = 0.0 if size < 2 else within  # one alone, and those who are not alike, take in nobody
        scale = np.sqrt(within) if within > 0 else np.inf
        like = (self.products[:, group] - mine * self.square) / np.maximum(size - mine, 1) / scale
        self.own[mine] = like[mine]
        taken = self.held[self.owners, group] - mine > 0
        self.like[:, group] = np.where(mine | taken | (within <= 0), -np.inf, like)


def totals(rows: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Sums of rows (n, d) by group (n,) 0..count-1: (count, d), in order of the rows."""
    order = np.argsort(groups, kind="stable")
    sums = np.zeros((count, rows.shape[1]))
    if len(rows):
        starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0])
        sums[groups[order][starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return sums
