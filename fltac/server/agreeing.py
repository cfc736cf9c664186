"""Whether a member's step goes where those of its cluster go: what one that turns its step round cannot hide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

REFERENCES = 200  # members that all are held against
COLUMNS, ROWS = 2048, 256  # numbers and members that are looked at at once
SURE = 99.0  # where all pairs are alike, so that chance has nothing to say
MEDIAN = np.sqrt(np.pi / 2)  # standard error of a median, by that of a mean


def agreement(now: Sequence[np.ndarray], sent: Sequence[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """(n,) z_i = c_i / e: c_i the median over j of cos(s_i, s_j), j not i, of the steps s = now - sent, n of (p,) each.

    e = sqrt(pi / 2) sd / sqrt(m - 1) is how far c_i would be off zero by chance, sd that of the cosines of all pairs. j
    is one of m members: of all, of many REFERENCES that are drawn. Of an even number of cosines the upper middle one
    is taken, so that a majority with i is one. Zeros for fewer than three, who cannot tell which of them is right.
    How far a step goes says nothing. Source: pairwise cosines as Nguyen et al. 2022, arXiv 2101.02281.
    """
    n = len(now)
    if n < 3:
        return np.zeros(n)
    some = np.sort(draw.choice(n, min(n, REFERENCES), replace=False))
    products, squares = np.zeros((n, len(some))), np.zeros(n)
    for at in range(0, now[0].size, COLUMNS):
        part = slice(at, at + COLUMNS)
        others = _steps(now, sent, some, part)
        for first in range(0, n, ROWS):
            rows = slice(first, min(first + ROWS, n))
            steps = _steps(now, sent, range(rows.start, rows.stop), part)
            products[rows] += steps @ others.T
            squares[rows] += np.square(steps).sum(axis=1)
    length = np.sqrt(np.where(squares > 0, squares, 1.0))
    cosines = products / length[:, None] / length[some]
    cosines[some, np.arange(len(some))] = np.nan  # with itself
    alike = np.sort(cosines, axis=1)  # nan comes last
    own = np.isnan(alike[:, -1])
    middle = alike[np.arange(n), (len(some) - own) // 2]
    error = MEDIAN * np.nanstd(cosines) / np.sqrt(len(some) - 1)
    return np.asarray(middle / error if error > 0 else np.sign(middle) * SURE)


def worth(agreement: np.ndarray) -> np.ndarray:
    """(n,) (1 + z) / 2 from 0 to 1: who goes against most by a standard error counts for nothing, who goes with them in
    full, and those by whom chance cannot be ruled out between. All in full where half of them or more would count for
    nothing: nobody has a majority there, and the one who goes with some would be the cluster. As the trust scores of
    Cao et al. 2021, arXiv 2012.13995, whose server has data of its own to go by, but for what chance does."""
    if np.sort(agreement)[(len(agreement) - 1) // 2] <= -1:
        return np.ones(len(agreement))
    return np.asarray(np.clip((1 + agreement) / 2, 0, 1))


def _steps(
    now: Sequence[np.ndarray], sent: Sequence[np.ndarray], members: Sequence[int] | np.ndarray, part: slice
) -> np.ndarray:
    return np.stack([now[i][part].astype(np.float64) - sent[i][part] for i in members])
