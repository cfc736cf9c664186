import math

import pytest

from fltac.errors import InputError
from fltac.layers import load
from fltac.runtime.capacity import Need, Node, check, fits, needed


@pytest.mark.parametrize(
    ("node", "need", "count"),
    [
        (Node("n", 8, 0), Need(1, 1, 0), 8),
        (Node("n", 8, 0), Need(1, 0.5, 0), 16),
        (Node("n", 3, 0), Need(1, 2, 0), 1),
        (Node("n", 99, 2), Need(1, 1, 0.25), 8),
        (Node("n", 99, 2), Need(1, 1, 0.3), 6),  # three on each device; the tenths left over serve nobody
        (Node("n", 99, 4), Need(1, 1, 2), 2),
        (Node("n", 99, 1), Need(1, 1, 2), 0),
        (Node("n", 2, 8), Need(1, 1, 0.5), 2),  # CPUs run out first
        (Node("n", 99, 1), Need(1, 1, 0.1), 10),  # and not 9 by rounding
    ],
)
def test_actors_on_a_node(node, need, count):
    assert fits(node, need) == count


def test_what_does_not_fit_is_refused_with_what_is_needed_and_what_there_is():
    with pytest.raises(InputError) as refused:
        check(Need(7, 1, 0.3), [Node("10.0.0.1", 16, 2)])
    assert str(refused.value) == (
        "resources.actors: needs 7 client actors of 1 CPUs and 0.3 GPUs each, "
        "but 10.0.0.1 has 16 CPUs, 2 GPUs: takes 6; lower resources.actors or what each takes (got 7)"
    )


def test_a_machine_without_gpus_is_told_by_the_gpu_key():
    with pytest.raises(InputError, match=r"resources.client.num_gpus: needs 1 client actors of 1 CPUs and 1 GPUs"):
        check(Need(1, 1, 1), [Node("this machine", 4, 0)])


def test_two_halves_on_two_nodes_are_no_whole():
    nodes = [Node("a", 1, 0), Node("b", 1, 0)]
    check(Need(2, 1, 0), nodes)
    with pytest.raises(InputError):
        check(Need(1, 2, 0), nodes)


def test_auto_takes_what_fits_up_to_one_a_client(tiny_file):
    nodes = [Node("a", 2, 0), Node("b", 1, 0)]
    assert needed(load(tiny_file), nodes) == Need(3, 1, 0)
    assert needed(load(tiny_file, ["clients.count=2"]), nodes) == Need(2, 1, 0)
    assert needed(load(tiny_file), []) == Need(1, 1, 0)
    assert needed(load(tiny_file, ["resources.actors=3"]), nodes) == Need(3, 1, 0)


def test_cpus_are_counted_whole():
    assert Need(3, 0.5, 0).cpus == 2 == math.ceil(1.5)
