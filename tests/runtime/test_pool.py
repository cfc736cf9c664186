from hypothesis import given
from hypothesis import strategies as st

from fltac.runtime.pool import LATER, LEAST, spread

WORKERS = st.integers(1, 6)
COSTS = st.lists(st.floats(0, 100) | st.floats(0, 100 * LEAST), max_size=30)


@given(COSTS, WORKERS)
def test_everything_is_given_out_once_and_in_order(costs, workers):
    pieces = spread(costs, workers)
    assert len(pieces) >= workers
    assert sorted(index for piece in pieces for index in piece) == list(range(len(costs)))
    assert all(piece == sorted(piece) for piece in pieces)


def test_the_longest_go_first_to_whoever_has_least():
    assert spread([1, 5, 2, 4], 2) == [[0, 1], [2, 3]]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), WORKERS)
def test_no_worker_begins_with_more_than_a_job_above_the_mean(costs, workers):
    loads = [sum(costs[index] for index in piece) for piece in spread(costs, workers)[:workers]]
    assert max(loads) <= sum(costs) / workers + max(costs) + 1e-6


def test_what_is_long_enough_is_not_all_given_out_at_once():
    assert spread([3 * LEAST, 3 * LEAST, 2 * LEAST, LEAST, LEAST, 2 * LEAST], 2) == [[0, 2], [1], [5], [3], [4]]


def test_pieces_shrink_towards_the_end():
    pieces = spread([LEAST / 10] * 600, 2)
    sizes = [len(piece) for piece in pieces[2:]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1]


@given(COSTS, WORKERS)
def test_what_is_kept_back_is_the_cheapest_a_part_of_all_and_worth_a_call(costs, workers):
    pieces = spread(costs, workers)
    begun, later = pieces[:workers], pieces[workers:]
    kept = [costs[index] for piece in later for index in piece]
    assert all(sum(costs[index] for index in piece) >= LEAST for piece in later)
    assert sum(kept) <= LATER * sum(costs) * (1 + 1e-9)
    longest = max((costs[index] for piece in begun for index in piece), default=0)
    assert max(kept, default=0) <= longest


def test_one_worker_is_called_once():
    assert spread([10 * LEAST] * 10, 1) == [list(range(10))]
