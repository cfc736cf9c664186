"""Steps that go against those of most members are found, whoever they are and whatever they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.server.agreeing import REFERENCES, agreement, worth

seeds = st.integers(0, 2**32 - 1)


def found(now, sent, seed=0) -> np.ndarray:
    return agreement(now, sent, np.random.default_rng(seed))


def federation(members, turned, signal=0.3, numbers=5000, seed=0):
    """What members send and were sent: one direction and chance, turned round by some."""
    draw = np.random.default_rng(seed)
    true, sent = draw.normal(size=numbers), draw.normal(size=(members, numbers))
    steps = signal * true + draw.normal(size=(members, numbers))
    return np.where(turned[:, None], sent - steps, sent + steps).astype(np.float32), sent.astype(np.float32)


def test_agreement_by_hand():
    sent = np.float32([[5, 5], [1, 1], [0, 0], [5, 5]])
    steps = np.float32([[2, 0], [0, 9], [1, 1], [-3, 0]])
    half = np.sqrt(0.5)  # cosines with the others: 0, half, -1; 0, half, 0; half, half, -half; -1, 0, -half
    spread = np.std([0, half, -1, half, 0, -half])
    error = np.sqrt(np.pi / 2) * spread / np.sqrt(3)
    np.testing.assert_allclose(found(sent + steps, sent), np.array([0, 0, half, -half]) / error, atol=1e-6)
    three = np.array([half, half, half]) / (np.sqrt(np.pi / 2) * np.std([0, half, half]) / np.sqrt(2))
    np.testing.assert_allclose(found(sent[:3] + steps[:3], sent[:3]), three, rtol=1e-6)  # the upper of each two


def test_of_fewer_than_three_and_of_those_who_did_not_move_nothing_is_said():
    sent = np.float32([[1, 2], [3, 4], [5, 6]])
    assert found(sent[:1] + 1, sent[:1]).tolist() == [0]
    assert found(np.float32([[1, 0], [-1, 0]]), np.zeros((2, 2))).tolist() == [0, 0]
    assert found(sent, sent).tolist() == [0, 0, 0]
    assert (found(sent + 1, sent) > 90).all()  # all alike


def test_worth_by_hand():
    np.testing.assert_array_equal(worth(np.array([-9, -1, -0.5, 0, 1, 9])), [0, 0, 0.25, 0.5, 1, 1])


def test_where_half_would_count_for_nothing_all_count():
    np.testing.assert_array_equal(worth(np.array([-1.3, -1.2, -1.06, 1.0])), [1, 1, 1, 1])
    np.testing.assert_array_equal(worth(np.array([-1.3, -1.0, 0.5, 1.0])), [1, 1, 1, 1])
    np.testing.assert_array_equal(worth(np.array([-1.3, -0.5, 0.5, 1.0])), [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(worth(np.array([-1.3, -1.0, 0.0, 0.5, 1.0])), [0, 0, 0.5, 0.75, 1])


@given(seed=seeds, members=st.integers(3, 9))
def test_neither_order_nor_length_matters(seed, members):
    draw = np.random.default_rng(seed)
    sent, steps = draw.normal(size=(2, members, 30))
    whole = found(sent + steps, sent)
    order = draw.permutation(members)
    np.testing.assert_allclose(found((sent + steps)[order], sent[order]), whole[order], atol=1e-6)
    longer = steps * draw.uniform(0.1, 10, size=(members, 1))
    np.testing.assert_allclose(found(sent + longer, sent), whole, atol=1e-6)


@pytest.mark.parametrize("rest", range(5))
@pytest.mark.parametrize("members", [10, 5 * REFERENCES])
def test_a_fifth_that_turns_its_steps_counts_for_nothing_whoever_they_are(members, rest):
    turned = np.arange(members) % 5 == rest
    counts = worth(found(*federation(members, turned)))
    assert not counts[turned].any()
    assert (counts[~turned] == 1).all()


@pytest.mark.parametrize(("members", "poisoned"), [(3, 1), (4, 1), (5, 2), (7, 3), (9, 4)])
@pytest.mark.parametrize("seed", range(5))
def test_a_minority_of_few_counts_for_nothing_either(members, poisoned, seed):
    turned = np.arange(members) < poisoned
    counts = worth(found(*federation(members, turned, seed=seed)))
    assert not counts[turned].any()
    assert (counts[~turned] > 0.8).all()


def test_where_no_step_goes_anywhere_all_count_about_alike():
    """Steps by chance: by the cosines themselves a few of the members would have all the weight."""
    draw = np.random.default_rng(1)
    sizes = []
    for _ in range(50):
        counts = worth(found(draw.normal(size=(10, 300)), np.zeros((10, 300))))
        sizes.append(counts.sum() ** 2 / np.square(counts).sum())  # of how many the mean is
    assert np.mean(sizes) > 6.5


def test_pieces_say_the_same(monkeypatch):
    now, sent = federation(40, np.arange(40) < 7, numbers=500)
    whole = found(now, sent)
    monkeypatch.setattr("fltac.server.agreeing.COLUMNS", 33)
    monkeypatch.setattr("fltac.server.agreeing.ROWS", 7)
    np.testing.assert_allclose(found(now, sent), whole, rtol=1e-9)
