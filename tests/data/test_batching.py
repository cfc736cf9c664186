"""Batches take whole passes of distinct examples, and like lengths go together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fltac.data.batching import POOL, evaluation_batches, training_batches

lengths_arrays = st.lists(st.integers(1, 50), min_size=1, max_size=60).map(np.array)
sizes = st.integers(1, 9)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(lengths_arrays, st.integers(1, 30), sizes)
def test_training_gives_the_steps_asked_of_distinct_examples(lengths, steps, size):
    batches = training_batches(lengths, steps, size, draw())
    assert len(batches) == steps
    for batch in batches:
        assert len(batch) == len(set(batch.tolist())) == min(size, len(lengths))
        assert set(batch.tolist()) <= set(range(len(lengths)))


@given(lengths_arrays, sizes)
def test_a_pass_meets_no_example_twice(lengths, size):
    per_pass = max(1, len(lengths) // size)
    batches = training_batches(lengths, 2 * per_pass, size, draw())
    for one_pass in (batches[:per_pass], batches[per_pass:]):
        met = np.concatenate(one_pass)
        assert len(set(met.tolist())) == len(met) > len(lengths) - size


@given(lengths_arrays, st.integers(1, 30), sizes, st.integers(0, 99))
def test_batches_are_those_of_the_generator(lengths, steps, size, seed):
    one, again = (training_batches(lengths, steps, size, draw(seed)) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_more_steps_begin_like_fewer():
    lengths = np.arange(40)
    np.testing.assert_array_equal(training_batches(lengths, 5, 4, draw()), training_batches(lengths, 12, 4, draw())[:5])


def test_passes_differ_and_long_batches_do_not_come_last():
    batches = training_batches(np.arange(64), 32, 4, draw())
    assert not np.array_equal(batches[:16], batches[16:])
    assert not np.all(np.diff([batch.mean() for batch in batches[:POOL]]) > 0)


def test_like_lengths_go_together_within_a_pool():
    size, lengths = 4, np.repeat(np.arange(POOL), 4)  # one pool, which can be cut into batches of one length
    for batch in training_batches(lengths, POOL, size, draw()):
        assert len(set(lengths[batch])) == 1


@given(lengths_arrays, sizes)
def test_evaluation_meets_every_example_once_by_length(lengths, size):
    batches = evaluation_batches(lengths, size)
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert np.all(np.diff(lengths[order]) >= 0)
    assert {len(batch) for batch in batches[:-1]} <= {size}


def test_evaluation_of_nothing_is_no_batch():
    assert evaluation_batches(np.zeros(0, int), 4) == []
