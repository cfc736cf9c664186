"""What each published method promises, on the server's side."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fltac
from fltac.config import Agglomerative, B, Exchange, Flat, Ifca
from fltac.server.aggregator import Aggregator
from fltac.server.clustering import CLUSTERERS, Hints
from fltac.server.screening import opened
from fltac.server.similarity import POINTS, unit
from fltac.server.snapshot import dump, load
from fltac.server.state import START, Parcel
from fltac.wire.codecs import decode, encode
from tests.server.test_aggregator import (
    FLOAT32,
    HDBSCAN,
    SIMILARITIES,
    SINGLE,
    SPEC,
    TASKS,
    TRUE_GROUPS,
    groups,
    setup,
    timeless,
    trained,
)

# -- ffa-lora: A is v0's for ever ---------------------------------------------------------------------------

FROZEN = Exchange(factors="b")


def only_b(setup, round=1) -> dict:
    """What clients send who train B alone from B = 0."""
    return {k: replace(u, adapter=SPEC.only_b(u.adapter)) for k, u in trained(setup, round).items()}


def frozen(**changes) -> Aggregator:
    plain = setup(exchange=FROZEN, **changes)
    start = plain.start.copy()
    for _, b in SPEC.factors(start):
        b[:] = 0
    return Aggregator(replace(plain, start=start))


def payloads(updates) -> list[Parcel]:
    return [Parcel(update.client, encode(update, FLOAT32, SPEC, None)) for update in updates]


@pytest.mark.parametrize("rule", ["uniform", "examples"])
def test_with_a_frozen_the_mean_of_b_is_the_mean_of_b_a(rule, dense):
    server = frozen(clustering=SINGLE)
    server = Aggregator(replace(server.setup, merging=server.setup.merging.model_copy(update={"weights": rule})))
    updates = only_b(server.setup)
    state, step = server.step(server.start(), payloads(updates.values()))
    assert all(row["aggregation_error"] < 1e-6 for row in step.clusters)
    weight = np.array([1 if rule == "uniform" else update.num_examples for update in updates.values()])
    sent = np.stack([SPEC.with_b(server.setup.start, update.adapter) for update in updates.values()])
    for merged, products in zip(dense(state.clusters[0].adapter), dense(sent), strict=True):
        np.testing.assert_allclose(merged, np.tensordot(weight / weight.sum(), products, axes=1), atol=1e-5)


def test_a_frozen_a_is_sent_once_and_never_changes():
    server = frozen(clustering=SINGLE)
    state = server.start()
    drawn = [key for key in TASKS if key[0] < 4]
    for round in (1, 2, 3):
        post = server.post(state)
        for key, address in post.addresses.items():
            first = round == 1 or key not in drawn
            sent = decode(post.payloads[address.payload], SPEC).adapter
            assert sent.size == (SPEC.size if first else SPEC.size_b)
            np.testing.assert_array_equal(sent if first else SPEC.with_b(server.setup.start, sent), server_has(state))
        updates = only_b(server.setup, round)
        state, _ = server.step(state, payloads(updates[key] for key in drawn))
        for (a, _), (start, _) in zip(SPEC.factors(server_has(state)), SPEC.factors(server.setup.start), strict=True):
            np.testing.assert_array_equal(a, start)


def server_has(state) -> np.ndarray:
    return state.clusters[0 if 0 in state.clusters else -1].adapter


@pytest.mark.parametrize("of", ["adapter", "step"])
@pytest.mark.parametrize("similarity", SIMILARITIES, ids=lambda similarity: similarity.type)
def test_every_similarity_finds_the_tasks_in_b_alone(similarity, of):
    server = frozen(similarity=similarity.model_copy(update={"of": of}), clustering=HDBSCAN)
    state, step = server.step(server.start(), payloads(only_b(server.setup).values()))
    assert groups(step.labels) == TRUE_GROUPS
    loaded = load(dump(state, SPEC), server.setup)
    assert timeless(server.post(loaded)) == timeless(server.post(state))
    again = {k: replace(u, adapter=2 * u.adapter) for k, u in only_b(server.setup, 2).items()}  # as far once more
    _, step = server.step(loaded, payloads(again.values()))
    assert groups(step.labels) == TRUE_GROUPS


def test_both_factors_are_refused_where_a_is_frozen_and_b_alone_where_it_is_not():
    for server, updates in ((frozen(), trained(setup())), (Aggregator(setup()), only_b(setup()))):
        _, refused = opened(server.setup, server.start(), payloads(updates.values()))
        assert {one.why for one in refused} == {"shape"}
        assert [(one.client, one.slot) for one in refused] == sorted(TASKS)


# -- ifca: the clients choose -------------------------------------------------------------------------------

IFCA = Ifca(type="ifca", k=3)
CHOICES = {key: {"apples": 2, "pears": 0}[task] for key, task in TASKS.items()}  # nobody chooses 1


def chosen(server, round=1, choices=CHOICES) -> dict:
    updates = trained(server.setup, round)
    return {key: replace(updates[key], choice=choice) for key, choice in choices.items()}


def test_the_clusters_of_the_start_differ_in_b_alone_and_are_drawn_by_name():
    server = Aggregator(setup(clustering=IFCA))
    state = server.start()
    assert sorted(state.clusters) == [START, 0, 1, 2]
    assert timeless(server.post(Aggregator(setup(clustering=IFCA)).start())) == timeless(server.post(state))
    found = [SPEC.only_b(state.clusters[number].adapter) for number in range(3)]
    for number, b in enumerate(found):
        np.testing.assert_array_equal(SPEC.with_b(server.setup.start, b), state.clusters[number].adapter)
        assert all(not np.array_equal(b, other) for other in found[:number])
    many = Aggregator(setup(clustering=Ifca(type="ifca", k=500, start_std=0.1))).start()
    b = np.array([SPEC.only_b(many.clusters[number].adapter) for number in range(500)])
    assert b.std() == pytest.approx(0.1, rel=0.05)


def test_each_cluster_is_the_mean_of_those_who_chose_it_and_nobodys_stays():
    server = Aggregator(setup(clustering=IFCA))
    first, updates = server.start(), chosen(server)
    state, step = server.step(first, payloads(updates.values()))
    assert step.labels == CHOICES
    assert [(row["cluster"], row["event"], row["size"]) for row in step.clusters] == [(0, "born", 5), (2, "born", 5)]
    assert state.clusters[1] == first.clusters[1]
    for number in (0, 2):
        members = [updates[key] for key, choice in CHOICES.items() if choice == number]
        mean = np.mean([update.adapter for update in members], axis=0, dtype=np.float64)
        np.testing.assert_allclose(state.clusters[number].adapter, mean, rtol=1e-6)
        head = np.mean([update.heads[0].matrix for update in members], axis=0, dtype=np.float64)
        (merged,) = state.clusters[number].heads.values()
        np.testing.assert_allclose(merged, head, atol=1e-6)


def test_numbers_of_clusters_stay_whoever_moves_and_the_absent_keep_their_choice():
    server = Aggregator(setup(clustering=IFCA))
    state, _ = server.step(server.start(), payloads(chosen(server).values()))
    swapped = {
        key: 2 - choice for key, choice in CHOICES.items() if key[0] != 3
    }  # all but an absent client change sides
    state, step = server.step(state, payloads(chosen(server, 2, swapped).values()))
    assert step.labels == {**CHOICES, **swapped}
    assert step.churn == 0.8
    assert [row["event"] for row in step.clusters] == ["kept", "kept"]
    all_one = dict.fromkeys(CHOICES, 1)
    state, step = server.step(state, payloads(chosen(server, 3, all_one).values()))
    assert {row["cluster"]: row["event"] for row in step.clusters} == {0: "died", 1: "born", 2: "died"}
    assert sorted(state.clusters) == [START, 0, 1, 2]
    loaded = load(dump(state, SPEC), server.setup)
    assert dump(loaded, SPEC) == dump(state, SPEC)
    assert timeless(server.post(loaded)) == timeless(server.post(state))


@pytest.mark.parametrize("exchange", [Exchange(), Exchange(heads="local"), Exchange(factors="b")], ids=str)
def test_a_client_is_sent_every_cluster_once_with_a_head_for_each_of_its_slots(exchange):
    server = Aggregator(setup(clustering=IFCA, exchange=exchange))
    state = server.start()
    post = server.post(state)
    merged = exchange.heads == "merge"  # then a menu depends on the shapes of the client's heads
    assert len({post.addresses[client, 0].menu for client in range(5)}) == (2 if merged else 1)
    for client in range(5):
        menu = post.addresses[client, 0].menu
        assert menu == post.addresses[client, 1].menu
        for number, payload in enumerate(menu):
            sent = decode(post.payloads[payload], SPEC)
            np.testing.assert_array_equal(sent.adapter, state.clusters[number].adapter)
            shapes = [server.setup.registry[client, slot][0].shape for slot in range(2)] if merged else []
            assert [f"{len(head.matrix)}x3" for head in sent.heads] == shapes


def test_steps_are_counted_from_the_chosen_cluster():
    server = Aggregator(setup(clustering=IFCA, similarity=Flat(type="flat", of="step")))
    first = server.start()
    state, _ = server.step(first, payloads(chosen(server).values()))
    for key, choice in CHOICES.items():
        np.testing.assert_array_equal(state.since[key], first.clusters[choice].adapter)


@pytest.mark.parametrize(("clustering", "choice"), [(IFCA, -1), (IFCA, 3), (HDBSCAN, 0)])
def test_a_choice_that_was_not_offered_is_refused(clustering, choice):
    server = Aggregator(setup(clustering=clustering))
    updates = chosen(server, choices=dict.fromkeys(CHOICES, choice))
    _, refused = opened(server.setup, server.start(), payloads(updates.values()))
    assert {one.why for one in refused} == {"choice"}
    assert refused[0].what.startswith(f"of cluster {choice}, which is none of [")


# -- fedlease: B is clustered once --------------------------------------------------------------------------

PRESET = tomllib.loads((Path(fltac.__file__).parent / "methods" / "fedlease.toml").read_text())
LEASE = {"similarity": B(**PRESET["similarity"]), "clustering": Agglomerative(**PRESET["clustering"])}


def test_distance_is_the_mean_over_layers_of_one_less_the_cosine_of_b():
    from scipy.cluster.hierarchy import fcluster, linkage

    now = np.random.default_rng(3).normal(size=(9, SPEC.size))
    by_layer = [matrix.reshape(9, -1) for _, matrix in SPEC.factors(now)]
    cosine = np.mean([unit(rows) @ unit(rows).T for rows in by_layer], axis=0)
    points = POINTS["b"](now, np.zeros_like(now), SPEC)
    hints = Hints(np.random.default_rng(0))
    distances = (1 - cosine)[np.triu_indices(9, 1)]
    for k in range(2, 9):
        expected = fcluster(linkage(distances, "average"), k, "maxclust")
        found = CLUSTERERS["agglomerative"](points, LEASE["clustering"].model_copy(update={"k": k}), hints).labels
        assert groups(dict(enumerate(found))) == groups(dict(enumerate(expected)))


def test_the_clusters_of_the_first_round_stay_whatever_is_sent_later():
    server = Aggregator(setup(**LEASE))
    state, first = server.step(server.start(), payloads(trained(server.setup).values()))
    assert groups(first.labels) == TRUE_GROUPS
    swapped = {"apples": "pears", "pears": "apples"}
    for round in (2, 3):
        updates = trained(server.setup, round)
        later = [replace(updates[k], adapter=updates[other_of(k, swapped)].adapter) for k in TASKS if k[0] != round]
        state, step = server.step(load(dump(state, SPEC), server.setup), payloads(later))
        assert step.labels == first.labels
        assert {row["event"] for row in step.clusters} == {"kept"}
        for cluster, group in ((step.labels[min(group)], group) for group in TRUE_GROUPS):
            members = [update.adapter for update in later if update.key in group]
            np.testing.assert_allclose(state.clusters[cluster].adapter, np.mean(members, axis=0), rtol=1e-4, atol=1e-6)


def other_of(key, swapped) -> tuple[int, int]:
    return next(other for other in TASKS if TASKS[other] == swapped[TASKS[key]])


def test_a_slot_that_is_heard_of_later_joins_the_nearest_cluster():
    server = Aggregator(setup(**LEASE))
    first = trained(server.setup)
    state, _ = server.step(server.start(), payloads(first[key] for key in TASKS if key[0] < 3))
    second = trained(server.setup, 2)
    state, step = server.step(state, payloads(second[key] for key in TASKS if key[0] != 1))
    assert groups(step.labels) == TRUE_GROUPS
    assert sorted(state.clusters) == [START, 0, 1]


def test_new_points_join_by_their_mean_distance_to_known_members_alone():
    # in the plane: cluster 4 at 0 and 20 degrees, cluster 7 at 100; new at 50, 62 and 55
    angles = np.deg2rad([0, 20, 100, 50, 62, 55])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hints = Hints(np.random.default_rng(0), last=[4, 4, 7, None, None, None])
    found = CLUSTERERS["agglomerative"](points, LEASE["clustering"], hints)
    # cos 50 + cos 30 = 1.509 > 2 cos 50 = 1.286; cos 62 + cos 42 = 1.213 < 2 cos 38 = 1.576; 1.393 < 2 cos 45 = 1.414
    assert found.final
    np.testing.assert_array_equal(found.labels, [4, 4, 7, 4, 7, 7])
