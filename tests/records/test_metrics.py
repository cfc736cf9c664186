"""Metrics from a confusion matrix are scikit-learn's from the labels; those of texts are what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.records.metrics import exact_match, f1, matthews, rouge_l


def confusion(pairs, classes):
    table = np.zeros((classes, classes), np.int64)
    for true, said in pairs:
        table[true, said] += 1
    return table


def answered(classes):
    one = st.integers(0, classes - 1)
    return st.lists(st.tuples(one, one), min_size=1, max_size=40)


@pytest.mark.parametrize("classes", [2, 4])
@given(data=st.data())
def test_f1_and_matthews_are_scikit_learns(classes, data):
    from sklearn.metrics import f1_score, matthews_corrcoef

    pairs = data.draw(answered(classes))
    true, said = map(list, zip(*pairs, strict=True))
    mean = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": range(classes)}
    assert f1(confusion(pairs, classes)) == pytest.approx(f1_score(true, said, zero_division=0, **mean))
    if len({*true, *said}) > 1:  # scikit-learn warns of a single label
        assert matthews(confusion(pairs, classes)) == pytest.approx(matthews_corrcoef(true, said), abs=1e-12)


def test_metrics_of_classes_by_hand():
    table = np.array([[5, 1], [2, 4]])  # TP 4, FP 1, FN 2, TN 5
    assert f1(table) == pytest.approx(8 / 11)
    assert matthews(table) == pytest.approx((4 * 5 - 1 * 2) / np.sqrt(5 * 6 * 6 * 7))
    assert matthews(np.array([[7, 0], [3, 0]])) == 0.0  # one class is always said


def test_an_exact_match_forgives_white_space_alone():
    assert exact_match([" Paris \n", "paris", "Paris"], ["Paris", "Paris", "Paris, France"]) == pytest.approx(1 / 3)


def test_rouge_l_by_hand():
    # the longest common subsequence of "the cat sat" and "the cat ran away" has two words: P = 2/3, R = 2/4
    assert rouge_l(["the cat sat"], ["the cat ran away"]) == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert rouge_l(["a b", ""], ["a b", "c"]) == pytest.approx(0.5)
