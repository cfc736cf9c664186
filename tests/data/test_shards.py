"""Changes of the world: who holds what in which round."""

import math

import numpy as np
import pytest

from fltac.config import ClientDrifts, ClientJoins, ClientLeaves, TaskBegins, TaskEnds
from fltac.data.partition import partition
from fltac.errors import InputError
from fltac.timeline import holding
from tests.data.test_partition import table, task

EVEN = {"a": (1.0, 1.0, 1.0), "b": (1.0, 1.0, 0.0), "c": (0.0, 1.0, 1.0)}
TASKS = [task("a", 60), task("b", 40), task("c", 40)]


def begins(round, name):
    return TaskBegins(type="task-begins", round=round, task=name)


def ends(round, name):
    return TaskEnds(type="task-ends", round=round, task=name)


def joins(round, client):
    return ClientJoins(type="client-joins", round=round, client=client)


def leaves(round, client):
    return ClientLeaves(type="client-leaves", round=round, client=client)


def drifts(round, one, other, **where):
    return ClientDrifts(type="client-drifts", round=round, task=one, becomes=other, **where)


def shards(*changes, shares=EVEN, seed=0, **rule):
    return partition(TASKS, table(shares, **rule), seed, changes)


def held(found, round) -> dict[int, str]:
    """Client -> its tasks in a round, sorted."""
    clients: dict[int, str] = {}
    for (client, _), shard in holding(found, round).items():
        clients[client] = "".join(sorted(clients.get(client, "") + shard.task))
    return clients


def test_without_a_change_all_is_there_always():
    assert held(shards(), 1) == held(shards(), 99) == {0: "ab", 1: "abc", 2: "ac"}


def test_tasks_begin_and_end_and_clients_join_and_leave():
    found = shards(begins(3, "c"), ends(5, "b"), joins(2, 0), leaves(4, 1), joins(6, 1))
    assert [held(found, round) for round in range(1, 7)] == [
        {1: "ab", 2: "a"},
        {0: "ab", 1: "ab", 2: "a"},
        {0: "ab", 1: "abc", 2: "ac"},
        {0: "ab", 2: "ac"},
        {0: "a", 2: "ac"},
        {0: "a", 1: "ac", 2: "ac"},
    ]


def test_a_drift_keeps_the_slot_and_brings_examples_that_nobody_else_has():
    found = shards(drifts(3, "b", "c", client=0, share=0.25))
    (slot,) = [key for key, shard in holding(found, 1).items() if key[0] == 0 and shard.task == "b"]
    before, after = found[slot]
    assert (before.task, before.spans, after.task, after.spans) == ("b", ((1, 2),), "c", ((3, math.inf),))
    assert len(after.indices) == 10
    every = np.concatenate([shard.indices for each in found.values() for shard in each if shard.task == "c"])
    assert sorted(every.tolist()) == list(range(40))


def test_where_no_client_is_named_one_that_can_is_drawn():
    chosen = set()
    for seed in range(20):
        found = shards(drifts(3, "a", "b"), shares={**EVEN, "b": (0.0, 1.0, 0.0)}, seed=seed)
        chosen |= {key[0] for key, each in found.items() if len(each) == 2}
    assert chosen == {0, 2}


def test_one_slot_drifts_twice():
    found = shards(drifts(5, "c", "a", client=0), drifts(3, "b", "c", client=0), shares={**EVEN, "a": (0.0, 1.0, 1.0)})
    assert [held(found, round)[0] for round in range(1, 7)] == ["b", "b", "c", "c", "a", "a"]


def test_what_drifts_comes_and_goes_with_its_client_and_task():
    found = shards(drifts(3, "b", "c", client=0), leaves(5, 0), ends(4, "c"))
    assert [held(found, round).get(0) for round in range(1, 6)] == ["ab", "ab", "ac", "a", None]


def test_the_order_of_changes_says_nothing():
    each = [drifts(3, "b", "c"), drifts(4, "c", "b"), ends(6, "a"), drifts(3, "c", "b")]
    shares = {"a": (1.0, 1.0, 1.0, 1.0), "b": (1.0, 1.0, 0.0, 0.0), "c": (0.0, 0.0, 1.0, 1.0)}
    one, other = shards(*each, shares=shares), shards(*reversed(each), shares=shares)
    assert [held(one, round) for round in range(1, 7)] == [held(other, round) for round in range(1, 7)]


@pytest.mark.parametrize(
    ("changes", "key", "what"),
    [
        (
            [drifts(3, "b", "c", client=1)],
            "changes.0.client",
            "holds 'b' in rounds 2 and 3 and 'c' in none; these do: 0 ",
        ),
        ([drifts(3, "b", "c", client=2)], "changes.0.client", r"these do: 0 \(got 2\)"),
        ([drifts(3, "c", "a")], "changes.0.client", "these do: none, so name other tasks"),
        ([leaves(3, 0), drifts(3, "b", "c", client=0)], "changes.1.client", "these do: none"),
        ([ends(2, "c"), drifts(3, "b", "c", client=0)], "changes.1.becomes", "is not there in round 3"),
        ([drifts(3, "b", "c", client=0, share=0.02)], "changes.0.share", r"is 1 examples of 'c', under min_examples"),
        ([drifts(3, "b", "c", client=0, share=1.0)], "changes.0.share", "leaves nothing of task 'c'"),
    ],
)
def test_a_drift_that_nobody_can_make_is_refused(changes, key, what):
    with pytest.raises(InputError, match=what) as error:
        shards(*changes, min_examples=5)
    assert error.value.problems[0].key == key
