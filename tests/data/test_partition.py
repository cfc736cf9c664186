"""Every example has one holder, small shares go to nobody, and slots tell nothing of tasks."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fltac.config import Clients, Dirichlet, LabelDirichlet, Table
from fltac.data.partition import partition
from fltac.data.tasks import Split, TaskData
from fltac.errors import InputError

EMPTY = Split(([],), np.zeros(0, np.int64))
RULES = {"dirichlet": Dirichlet, "label_dirichlet": LabelDirichlet}


def task(name: str, size: int, classes: int = 2) -> TaskData:
    labels = np.arange(size) % classes
    return TaskData(name, tuple(map(str, range(classes))), Split((["text"] * size,), labels), EMPTY, EMPTY)


def clients(count: int, kind: str = "dirichlet", **rule) -> Clients:
    return Clients(count=count, partition={**RULES[kind](type=kind).model_dump(), **rule})


def table(shares: dict[str, tuple[float, ...]], **rule) -> Clients:
    return Clients(count=len(next(iter(shares.values()))), partition=Table(type="table", shares=shares, **rule))


def held(shards, name: str) -> dict[int, int]:
    """Client -> how many examples of the task it holds."""
    return {client: len(shard.indices) for (client, _), [shard] in shards.items() if shard.task == name}


def drawn_or_discarded(tasks, who, seed):
    try:
        return partition(tasks, who, seed)
    except InputError:  # a task that nobody may hold
        return assume(False)


@pytest.mark.parametrize("kind", RULES)
@example(size=40, classes=3, count=3, alpha=1.0, least=3, seed=41)  # a class's rounding takes one of three examples
@given(
    st.integers(1, 300),
    st.integers(1, 3),
    st.integers(1, 8),
    st.floats(0.05, 50),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_every_example_has_one_holder_and_no_shard_is_too_small(kind, size, classes, count, alpha, least, seed):
    who = clients(count, kind, alpha=alpha, min_examples=least)
    shards = drawn_or_discarded([task("a", size, classes)], who, seed)
    indices = np.concatenate([shard.indices for [shard] in shards.values()])
    assert sorted(indices.tolist()) == list(range(size))
    assert min(held(shards, "a").values()) >= least


@pytest.mark.parametrize("kind", RULES)
def test_shards_are_those_of_the_seed_and_of_the_task_alone(kind):
    tasks, who = [task("a", 100), task("b", 80)], clients(4, kind)

    def content(shards):
        return [(key, shard.task, shard.indices.tolist()) for key, [shard] in shards.items()]

    assert content(partition(tasks, who, 3)) == content(partition(tasks, who, 3))
    assert content(partition(tasks, who, 3)) != content(partition(tasks, who, 4))
    alone = {tuple(shard.indices) for [shard] in partition(tasks[1:], who, 3).values()}
    assert alone == {tuple(shard.indices) for [shard] in partition(tasks, who, 3).values() if shard.task == "b"}


def test_slots_are_numbered_from_nought_and_sorted():
    shards = partition([task(name, 60) for name in "abc"], clients(5, alpha=50.0), 0)
    assert list(shards) == [(client, slot) for client in range(5) for slot in range(3)]
    for client in range(5):
        assert sorted(shards[client, slot][0].task for slot in range(3)) == ["a", "b", "c"]


def test_slot_numbers_say_nothing_of_the_task():
    shards = partition([task(name, 2000) for name in "ab"], clients(100, alpha=50.0, min_share=0.0), 0)
    first = sum(shards[client, 0][0].task == "a" for client in range(100))
    assert 30 < first < 70  # four standard deviations of a fair coin


def test_a_table_by_hand():
    shares = {"a": (1, 1, 2), "b": (0, 3, 0)}
    shards = partition([task("a", 8), task("b", 5)], table(shares), 0)
    assert held(shards, "a") == {0: 2, 1: 2, 2: 4}
    assert held(shards, "b") == {1: 5}


def test_shares_are_cut_by_largest_remainders():
    # 10 examples by 0.55, 0.28, 0.17: 5.5, 2.8, 1.7, so the two left over go to 0.8 and 0.7
    assert held(partition([task("a", 10)], table({"a": (55, 28, 17)}), 0), "a") == {0: 5, 1: 3, 2: 2}


@pytest.mark.parametrize("rule", [{"min_share": 0.15}, {"min_examples": 15}])
def test_small_shares_go_to_the_others_in_proportion(rule):
    # 0.1 of 100 is too little; the others hold 60 and 30, and are given its ten as 60 to 30
    assert held(partition([task("a", 100)], table({"a": (6, 3, 1)}, **rule), 0), "a") == {0: 67, 1: 33}


def test_one_of_fortynine_is_an_example():
    assert held(partition([task("a", 49)], table({"a": (1, 48)}), 0), "a") == {0: 1, 1: 48}  # 49 * (1 / 49) < 1


def test_a_share_of_just_the_minimum_is_kept():
    assert held(partition([task("a", 100)], table({"a": (9, 1)}, min_share=0.1, min_examples=10), 0), "a") == {
        0: 90,
        1: 10,
    }


def test_tasks_without_a_holder_are_all_told():
    who = clients(5, min_examples=50)
    with pytest.raises(InputError) as caught:
        partition([task("small", 40), task("large", 5000), task("tiny", 3)], who, 0)
    small, tiny = caught.value.lines()
    assert "task 'small' (40 examples)" in small
    assert "task 'tiny' (3 examples)" in tiny


def test_label_skew_is_of_classes_and_quantity_skew_is_not():
    """With alpha small, a class falls to few clients; quantity skew keeps every shard's classes as they are."""

    def purity(kind: str) -> float:
        data = task("a", 3000, classes=3)
        shards = partition([data], clients(6, kind, alpha=0.1), 0).values()
        most = [np.bincount(data.train.labels[shard.indices]).max() for [shard] in shards]
        return sum(most) / 3000

    assert purity("dirichlet") < 0.45
    assert purity("label_dirichlet") > 0.6
