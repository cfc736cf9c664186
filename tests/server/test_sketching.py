"""Sketches of every similarity stand for it: distances, and the tasks that are found in many adapters."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from fltac.config import Blend, Flat, Hdbscan, Product, Sketch, Subspace
from fltac.records.scoring import agreement
from fltac.server.clustering import CLUSTERERS, Hints
from fltac.server.comparing import compared
from fltac.server.settling import settle
from fltac.wire.messages import AdapterSpec, Layer

SPEC = AdapterSpec(tuple(Layer(f"l{i}", 24, 20) for i in range(4)), rank=2, scale=1.0)
EXACT = [Flat(type="flat"), Product(type="product"), Subspace(type="subspace"), Blend(type="blend")]


def planted(count: int, tasks: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray, list[int]]:
    """So many adapters of each of some tasks, one v0 (B = 0) for all, and the task and client of each: two a client."""
    draw = np.random.default_rng(seed)
    start = draw.normal(size=SPEC.size).astype(np.float32)
    for _, b in SPEC.factors(start):
        b[:] = 0
    centres = draw.normal(size=(tasks, SPEC.size))
    held = np.array([draw.permutation(tasks)[:2] for _ in range(count * tasks // 2)]).ravel()
    chance = 0.7 * draw.normal(size=(len(held), SPEC.size))
    adapters = [(start + change).astype(np.float32) for change in 0.5 * (centres[held] + chance)]
    return adapters, start, held.tolist()


def labels_of(adapters, start, config) -> np.ndarray:
    points, kin = compared(adapters, [start] * len(adapters), SPEC, config)
    rules = Hdbscan(type="hdbscan")
    found = CLUSTERERS["hdbscan"](points, rules, Hints(np.random.default_rng(0)))
    owners = [index // 2 for index in range(len(adapters))]
    return settle(points, kin, found.labels, owners, [None] * len(adapters), rules)


@pytest.mark.parametrize("config", EXACT, ids=lambda config: config.type)
def test_a_large_sketch_has_the_distances_of_what_it_stands_for(config):
    adapters, start, _ = planted(4, 3)
    exact, close = (
        pdist(compared(adapters, [start] * len(adapters), SPEC, one).points) ** 2
        for one in (config, Sketch(type="sketch", basis=config.type, size=40_000, components=100))
    )
    np.testing.assert_allclose(close, exact, rtol=0.15)


def test_b_is_sketched_too():
    adapters, start, _ = planted(4, 3)
    sketch = Sketch(type="sketch", basis="b", size=SPEC.size)
    points = compared(adapters, [start] * len(adapters), SPEC, sketch).points
    np.testing.assert_allclose((points**2).sum(axis=1), 1, rtol=1e-5)  # every number has a group of its own


@pytest.mark.parametrize("config", EXACT, ids=lambda config: config.type)
def test_many_are_sketched_and_the_same_tasks_are_found(config):
    adapters, start, held = planted(16, 5)
    exact = labels_of(adapters, start, config)
    sketched = labels_of(adapters, start, config.model_copy(update={"sketch_above": 70}))
    assert agreement(exact.tolist(), held).ari == 1
    assert agreement(sketched.tolist(), exact.tolist()).ari == 1


def test_what_is_sketched_is_told_by_how_many_there_are():
    adapters, start, _ = planted(10, 4)
    config = Blend(type="blend", sketch_above=len(adapters))
    points = compared(adapters, [start] * len(adapters), SPEC, config).points
    assert points.shape == (len(adapters), len(adapters))
    more = [*adapters, adapters[0]]
    sketch = Sketch(type="sketch", components=16)
    assert compared(more, [start] * len(more), SPEC, config).points.shape == (41, 41)  # its components are more
    assert compared(more, [start] * len(more), SPEC, sketch).points.shape == (41, 16)


def test_a_sketch_is_the_same_again_and_in_blocks(monkeypatch):
    adapters, start, _ = planted(10, 4)
    sketch, since = Sketch(type="sketch", components=8), [start] * len(adapters)
    once = compared(adapters, since, SPEC, sketch)
    again = compared(adapters, since, SPEC, sketch)
    np.testing.assert_array_equal(once.points, again.points)
    monkeypatch.setattr("fltac.server.sketching.BLOCK", 3 * SPEC.size)
    np.testing.assert_allclose(compared(adapters, since, SPEC, sketch).points, once.points, atol=1e-4)


def test_components_are_found_from_some_and_hold_for_all(monkeypatch):
    adapters, start, held = planted(16, 5)
    monkeypatch.setattr("fltac.server.sketching.FOUND_FROM", 50)
    assert agreement(labels_of(adapters, start, Blend(type="blend", sketch_above=70)).tolist(), held).ari == 1


def test_an_adapter_that_changed_nothing_is_like_nothing():
    adapters, start, _ = planted(4, 3)
    points, kin = compared([start, *adapters], [start] * (len(adapters) + 1), SPEC, Sketch(type="sketch"))
    np.testing.assert_allclose(points[0], 0, atol=1e-6)
    np.testing.assert_allclose(kin[0], 0, atol=1e-6)


@pytest.mark.parametrize("config", EXACT, ids=lambda config: config.type)
@pytest.mark.parametrize("above", [None, 10])
def test_a_start_that_all_have_in_common_need_not_be_there_for_each(config, above):
    adapters, start, _ = planted(12, 3)
    config = config.model_copy(update={"sketch_above": above})
    one, copies = (
        compared(adapters, since, SPEC, config) for since in ([start] * 36, [start.copy() for _ in adapters])
    )
    assert np.array_equal(one.points, copies.points)
    assert np.array_equal(one.kin, copies.kin)
