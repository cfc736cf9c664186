from hypothesis import given
from hypothesis import strategies as st

from fltac.runtime.pool import spread


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(1, 6))
def test_everything_is_given_out_once_and_in_order(costs, workers):
    shares = spread(costs, workers)
    assert len(shares) == workers
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)


def test_the_longest_go_first_to_whoever_has_least():
    assert spread([1, 5, 2, 4], 2) == [[0, 1], [2, 3]]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_no_worker_has_more_than_a_job_above_the_mean(costs, workers):
    loads = [sum(costs[index] for index in share) for share in spread(costs, workers)]
    assert max(loads) <= sum(costs) / workers + max(costs) + 1e-6
