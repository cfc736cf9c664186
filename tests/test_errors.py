import pickle

import pytest

from fltac.errors import InputError, Problem, reason


@pytest.mark.parametrize("problem", [Problem("rounds", "must be 1 or more", 0), Problem("name", "is required; add it")])
def test_an_error_says_in_another_process_what_it_said_here(problem):
    error = InputError([problem, Problem("", "is no experiment")], "a.toml")
    error.add_note("in client 3")
    there = pickle.loads(pickle.dumps(error))
    assert str(there) == str(error)
    assert there.lines() == error.lines() == [problem.line("a.toml"), "a.toml: is no experiment"]
    assert reason(there) == reason(error)
    assert reason(there).endswith("in client 3")
