"""How good a clustering is, measured against the true tasks that the server never saw."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class Agreement(NamedTuple):
    """Clusters against tasks; 1 is perfect. All None where slots have no true task (a shared adapter)."""

    ari: float | None
    nmi: float | None
    matched_accuracy: float | None


def agreement(clusters: Sequence[Hashable], truths: Sequence[Hashable]) -> Agreement:
    """Adjusted Rand index, normalised mutual information, and the share of slots that are right under the best
    one-to-one match of clusters with tasks (Hungarian).

    Source: Hubert and Arabie 1985; Kuhn 1955. ARI and NMI are 1 where both sides are one single group.
    """
    # imported here: two seconds that the start of a run need not wait for
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    if not truths:
        return Agreement(None, None, None)
    table = contingency_matrix(list(truths), list(clusters))
    matched = float(table[linear_sum_assignment(-table)].sum() / len(truths))
    ari, nmi = adjusted_rand_score(truths, clusters), normalized_mutual_info_score(truths, clusters)
    return Agreement(float(ari), float(nmi), matched)
