"""A draw is named by what it is for, and by nothing else."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fltac.seeds import generator

seeds = st.integers(0, 2**64)
names = st.lists(st.text(max_size=4) | st.integers(-5, 5), max_size=4).map(tuple)
DRAW = "from fltac.seeds import generator; print(generator(3, 'batches', 1, 2, 3).integers(2**62, size=4).tolist())"


def first(seed, *name) -> list[int]:
    return generator(seed, *name).integers(2**62, size=4).tolist()


@given(seeds, names)
def test_equal_names_give_equal_streams_whatever_was_drawn_before(seed, name):
    expected = first(seed, *name)
    first(seed + 1, *name)
    np.random.default_rng().random()
    assert first(seed, *name) == expected


@given(seeds, names, names)
def test_different_names_give_different_streams(seed, one, other):
    assume(one != other)
    assert first(seed, *one) != first(seed, *other)


@given(seeds, names)
def test_different_seeds_give_different_streams(seed, name):
    assert first(seed, *name) != first(seed + 1, *name)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "b"), ("ab",)), (("a", 1), ("a", "1")), ((1, 23), (12, 3)), (("a",), ("a", "")), ((1, 2), (2, 1))],
)
def test_names_are_told_apart_part_by_part(one, other):
    assert first(0, *one) != first(0, *other)


def test_equal_numbers_are_equal_names():
    assert first(0, "client", np.int64(3)) == first(0, "client", 3)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_streams_are_equal_in_every_process(hash_seed):
    there = subprocess.run(
        [sys.executable, "-c", DRAW], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == str(first(3, "batches", 1, 2, 3))


def test_streams_look_independent():
    draws = np.array([generator(0, "purpose", index).normal(size=200) for index in range(50)])
    correlations = np.corrcoef(draws)[np.triu_indices(50, 1)]
    assert abs(correlations.mean()) < 0.01  # 1225 pairs of standard deviation 0.07
    assert abs(draws.mean()) < 0.03
