"""Many numbers a row as a place in a plane: principal components, or UMAP where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from fltac.errors import InputError, Problem

NEIGHBOURS = 15  # UMAP's own default


class Plane(NamedTuple):
    """Places (n, 2), and in a sentence what they mean."""

    xy: np.ndarray
    meaning: str


def pca(rows: np.ndarray) -> Plane:
    """The two principal components, (n, d) -> (n, 2); signs are fixed, not meaningful."""
    centred = rows - rows.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # (d, d): rows may be many thousands
    xy = centred @ axes[:, :-3:-1]
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    lead = xy[np.abs(xy).argmax(axis=0), [0, 1]]
    held = variances[-2:].sum() / max(variances.sum(), np.finfo(float).tiny)
    meaning = f"The axes are the two principal components of all rounds together and hold {held:.0%} of the variance."
    return Plane(xy * np.where(lead < 0, -1.0, 1.0), meaning)


def umap(rows: np.ndarray) -> Plane:
    """UMAP of all rounds together, (n, d) -> (n, 2), seeded; a few rows have no neighbourhoods and go to `pca`.

    Source: McInnes, Healy and Melville, arXiv 1802.03426.
    """
    if len(rows) <= NEIGHBOURS:
        return pca(rows)
    from umap import UMAP

    # one job and principal components to start from: what a seed needs to give the same plane again
    xy = UMAP(n_neighbors=NEIGHBOURS, init="pca", random_state=0, n_jobs=1).fit_transform(rows)
    return Plane(
        np.asarray(xy, dtype=float), "UMAP of all rounds together: who is near whom says something, axes do not."
    )


EMBEDDINGS: dict[str, Callable[[np.ndarray], Plane]] = {"pca": pca, "umap": umap}


def require(embedding: str) -> None:
    """Raises InputError where what the embedding needs is not installed."""
    if embedding == "umap" and find_spec("umap") is None:
        what = "needs umap-learn, which is not installed; pip install 'fltac[umap]', or leave the option out for pca"
        raise InputError(Problem("--embedding", what, embedding), "command line")
