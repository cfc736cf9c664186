"""Metrics beside accuracy and loss: of classes from a confusion matrix, of written answers from their texts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from fltac.errors import InputError, Problem


def f1(confusion: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) of class 1 where there are two classes, as GLUE has it; else the mean over classes.

    `confusion` (k, k) counts examples of class i that were taken for class j. A class that is neither there nor named
    counts 0.
    """
    right = np.diag(confusion).astype(float)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)  # 2 TP + FP + FN
    each = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    return float(each[1] if len(each) == 2 else each.mean())


def matthews(confusion: np.ndarray) -> float:
    """(c n - sum_k t_k p_k) / sqrt((n^2 - sum_k p_k^2)(n^2 - sum_k t_k^2)), -1 to 1; 0 where one class is all.

    c of n examples are right, t_k are of class k and p_k are taken for it: Pearson's correlation for two classes.
    Source: Gorodkin 2004, Comput. Biol. Chem. 28, equation 8.
    """
    n, right = float(confusion.sum()), float(np.trace(confusion))
    true, taken = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
    spread = (n**2 - taken @ taken) * (n**2 - true @ true)
    return float((right * n - true @ taken) / np.sqrt(spread)) if spread > 0 else 0.0


def exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """The share of answers that are the reference, white space aside."""
    return float(np.mean([one.split() == other.split() for one, other in zip(answers, references, strict=True)]))


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """The mean F-measure of the longest common subsequence of words, stemmed. Source: Lin 2004, section 3."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(references, answers, strict=True)
    return float(np.mean([scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs]))


def require_rouge(count: int) -> None:
    """Raises InputError where ROUGE's package is not installed."""
    if importlib.util.find_spec("rouge_score") is None:
        what = "needs the package rouge-score; install it with: pip install 'fltac[generation]'"
        raise InputError(Problem("training.generate", what, count))


CLASS_METRICS: dict[str, Callable[[np.ndarray], float]] = {"f1": f1, "matthews": matthews}
TEXT_METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "exact_match": exact_match,
    "rougeL": rouge_l,
}
