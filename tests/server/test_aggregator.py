"""The server's step: what may not matter does not, and what it sends is what it should."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fltac.config import (
    B,
    Blend,
    Codec,
    Each,
    Exchange,
    Faults,
    Flat,
    Hdbscan,
    Kmeans,
    Mean,
    Oracle,
    Product,
    Single,
    Sketch,
    Subspace,
)
from fltac.records.left_out import LeftOut
from fltac.server.aggregator import Aggregator
from fltac.server.screening import opened
from fltac.server.snapshot import dump, load
from fltac.server.state import START, Parcel, Setup, Slot
from fltac.wire.codecs import decode, encode
from fltac.wire.messages import AdapterSpec, Broadcast, Head, Layer, Update, WireError

SPEC = AdapterSpec((Layer("query", 6, 5), Layer("value", 4, 5)), rank=2, scale=2.0)
# five clients with two slots: the true tasks, which the server never sees, alternate where they lie
TASKS = {(client, slot): ("apples", "pears")[(client + slot) % 2] for client in range(5) for slot in range(2)}
CLASSES = {"apples": 2, "pears": 3}
WIDTH = 3
FLOAT32 = Codec("float32")
KMEANS, SINGLE, HDBSCAN = Kmeans(type="kmeans"), Single(type="single"), Hdbscan(type="hdbscan")


SIMILARITIES = [kind(type=kind.__name__.lower()) for kind in (Flat, B, Product, Subspace, Blend, Sketch)]


def registered(tasks=TASKS, told=None) -> dict:
    """Each slot for ever, with the shape of its task's head and what the server is told of it."""
    return {key: [Slot(f"{CLASSES[task]}x{WIDTH}", (told or {}).get(key, ""))] for key, task in tasks.items()}


def setup(tasks=TASKS, told=None, **changes) -> Setup:
    draw = np.random.default_rng(7)
    plain = Setup(
        seed=0,
        spec=SPEC,
        start=draw.normal(size=SPEC.size).astype(np.float32),
        start_heads={f"{n}x{WIDTH}": draw.normal(size=(n, WIDTH)).astype(np.float32) for n in CLASSES.values()},
        registry=registered(tasks, told),
        exchange=Exchange(),
        similarity=Flat(type="flat"),
        clustering=HDBSCAN,
        merging=Mean(type="mean"),
        down="float32",
        number_of_tasks=len(CLASSES),
    )
    return replace(plain, **changes)


def trained(setup, round=1, tasks=TASKS, heads=True) -> dict[tuple[int, int], Update]:
    """Updates that lie about one far point a task; examples and heads differ from slot to slot."""
    updates = {}
    for number, (key, task) in enumerate(tasks.items()):
        draw = np.random.default_rng([round, number])
        centre = np.random.default_rng(sorted(CLASSES).index(task)).normal(size=SPEC.size) * 5
        adapter = (setup.start + centre + draw.normal(size=SPEC.size) / 10).astype(np.float32)
        matrix = draw.normal(size=(CLASSES[task], WIDTH)).astype(np.float32)
        own = (Head(matrix, number + 1),) if heads else ()
        updates[key] = Update(round, *key, SPEC.fingerprint, adapter, own, number + 1)
    return updates


def payloads(updates) -> list[Parcel]:
    return [Parcel(update.client, encode(update, FLOAT32, SPEC, None)) for update in updates]


def timeless(report):
    """A report without its clocks."""
    return report._replace(**{name: 0 for name in report._fields if name.startswith("seconds")})


def run(setup, rounds=2, order=lambda sent: sent, **kwargs):
    """The state's files and the report after some rounds, clocks left out."""
    server = Aggregator(setup)
    state = server.start()
    for round in range(1, rounds + 1):
        state, step = server.step(state, order(payloads(trained(setup, round, **kwargs).values())))
    return dump(state, SPEC), timeless(step)


def groups(labels) -> set[frozenset]:
    """Who is with whom, whatever the clusters are called."""
    return {frozenset(key for key in labels if labels[key] == cluster) for cluster in labels.values()}


TRUE_GROUPS = groups(TASKS)


# -- what may not matter -----------------------------------------------------------------------------------


@settings(max_examples=10)
@given(st.permutations(range(len(TASKS))))
def test_the_order_of_payloads_changes_no_bit(order):
    assert run(setup(), order=lambda sent: [sent[i] for i in order]) == run(setup())


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=lambda similarity: similarity.type)
@pytest.mark.parametrize("clustering", [HDBSCAN, KMEANS], ids=["hdbscan", "kmeans"])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_of_clients_and_slots_and_heads_change_no_clustering(similarity, clustering, seed):
    draw = np.random.default_rng(seed)
    clients, swapped = draw.permutation(5).tolist(), draw.integers(2, size=5).tolist()
    names = {(client, slot): (clients[client], slot ^ swapped[client]) for client, slot in TASKS}
    renamed = {names[key]: task for key, task in TASKS.items()}
    axes = {"similarity": similarity, "clustering": clustering}
    _, step = run(setup(**axes))
    _, other = run(setup(renamed, **axes), tasks=renamed)
    _, headless = run(setup(exchange=Exchange(heads="local"), **axes), heads=False)
    assert groups({names[key]: cluster for key, cluster in step.labels.items()}) == groups(other.labels)
    assert headless.labels == step.labels


# -- clusters and what is merged in them -------------------------------------------------------------------


@pytest.mark.parametrize("similarity", [Flat(type="flat"), Product(type="product")], ids=["flat", "product"])
def test_two_tasks_are_found_untold_and_merged_inside_alone(similarity):
    server = Aggregator(setup(similarity=similarity))
    updates = trained(server.setup)
    state, step = server.step(server.start(), payloads(updates.values()))
    assert groups(step.labels) == TRUE_GROUPS
    assert step.noise == 0
    assert [(row["size"], row["event"]) for row in step.clusters] == [(5, "born"), (5, "born")]
    post = server.post(state)
    for group in TRUE_GROUPS:
        mean = np.mean([updates[key].adapter for key in group], axis=0, dtype=np.float64)
        head = np.mean([updates[key].heads[0].matrix for key in group], axis=0, dtype=np.float64)
        for key in group:
            sent = decode(post.payloads[post.addresses[key].payload], SPEC)
            np.testing.assert_allclose(sent.adapter, mean, rtol=1e-6)
            np.testing.assert_allclose(sent.heads[0].matrix, head, rtol=1e-6, atol=1e-7)


def test_heads_are_merged_among_equal_shapes_and_by_examples_where_asked():
    server = Aggregator(setup(clustering=SINGLE, merging=Mean(type="mean", weights="examples")))
    updates = trained(server.setup)
    state, _ = server.step(server.start(), payloads(updates.values()))
    (cluster,) = set(state.clusters) - {-1}
    for classes, task in ((2, "apples"), (3, "pears")):
        members = [updates[key] for key in TASKS if TASKS[key] == task]
        total = sum(update.num_examples for update in members)
        expected = sum(update.num_examples / total * update.heads[0].matrix.astype(float) for update in members)
        np.testing.assert_allclose(state.clusters[cluster].heads[f"{classes}x{WIDTH}"], expected, atol=1e-6)


def test_oracle_clusters_by_what_it_is_told_and_each_by_nothing():
    _, told = run(setup(clustering=Oracle(type="oracle"), told=TASKS))
    _, alone = run(setup(clustering=Each(type="each")))
    assert groups(told.labels) == TRUE_GROUPS
    assert len(groups(alone.labels)) == len(TASKS)


def test_a_step_computes_on_one_thread(monkeypatch):
    from threadpoolctl import threadpool_info

    from fltac.server import aggregator

    seen, real = [], aggregator.compared
    monkeypatch.setattr(aggregator, "compared", lambda *these: seen.extend(threadpool_info()) or real(*these))
    run(setup(), rounds=1)
    assert seen
    assert {pool["num_threads"] for pool in seen} == {1}


def test_rows_tell_of_updates_and_clusters():
    _, step = run(setup())
    assert [(row["client"], row["slot"]) for row in step.updates] == sorted(TASKS)
    first = trained(setup(), 2)[0, 0].adapter
    assert step.updates[0]["norm"] == pytest.approx(np.linalg.norm(first.astype(float)), rel=1e-5)
    assert all(row["cluster"] == step.labels[row["client"], row["slot"]] for row in step.updates)
    for row in step.clusters:
        assert row["event"] == "kept"
        assert row["spread"] < 2  # of points some 40 apart
        assert 0 < row["aggregation_error"] < 0.1


def test_a_lone_stray_is_noise_and_keeps_its_own_adapter():
    server = Aggregator(setup(faults=Faults(max_norm=False)))
    updates = trained(server.setup)
    stray = updates[4, 1] = replace(updates[4, 1], adapter=updates[4, 1].adapter + 1000)
    state, step = server.step(server.start(), payloads(updates.values()))
    assert step.noise == 1
    assert [row["is_noise"] for row in step.updates] == [False] * 9 + [True]
    np.testing.assert_array_equal(state.clusters[step.labels[4, 1]].adapter, stray.adapter)


@pytest.mark.parametrize(
    "similarity", [Flat(type="flat"), Product(type="product"), Blend(type="blend")], ids=lambda s: s.type
)
def test_a_wrong_merge_comes_apart_and_the_true_clusters_keep_their_ids(similarity):
    """All were one cluster, so every client has two slots in it: the next step tells them apart by that."""
    told = dict.fromkeys(TASKS, "all")
    wrong = Aggregator(setup(similarity=similarity, clustering=Oracle(type="oracle"), told=told))
    state, _ = wrong.step(wrong.start(), payloads(trained(wrong.setup).values()))
    server = Aggregator(replace(wrong.setup, clustering=HDBSCAN))
    merged = state.clusters[0].adapter
    later = {
        key: replace(update, adapter=merged + (update.adapter - server.setup.start) / 10)
        for key, update in trained(server.setup, 2).items()
    }
    state, step = server.step(state, payloads(later.values()))
    assert groups(step.labels) == TRUE_GROUPS
    assert sorted(row["event"] for row in step.clusters) == ["kept", "split"]
    third = {key: replace(update, round=3) for key, update in later.items()}
    _, again = server.step(state, payloads(third.values()))
    assert again.labels == step.labels
    assert again.churn == 0


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_handful_of_updates_is_no_error_and_nothing_is_merged_across_tasks(count):
    few = dict(list(TASKS.items())[:count])
    server = Aggregator(setup(few, similarity=Blend(type="blend")))
    state = server.start()
    for round in (1, 2, 3):
        state, step = server.step(state, payloads(trained(server.setup, round, tasks=few).values()))
        assert set(step.labels) == set(few)
        assert all(len({TASKS[key] for key in group}) == 1 for group in groups(step.labels))
        assert len(server.post(state).addresses) == count


# -- those who are not drawn -------------------------------------------------------------------------------


def test_absent_slots_are_clustered_and_sent_what_their_cluster_has_now():
    server = Aggregator(setup())
    state, first = server.step(server.start(), payloads(trained(server.setup).values()))
    second = trained(server.setup, 2)
    drawn = [key for key in TASKS if key[0] in (1, 2)]
    state, step = server.step(state, payloads(second[key] for key in drawn))
    assert step.labels == first.labels
    assert [(row["client"], row["slot"]) for row in step.updates] == drawn
    post = server.post(state)
    for group in TRUE_GROUPS:
        merged = np.mean([second[key].adapter for key in group if key in drawn], axis=0, dtype=np.float64)
        assert len({post.addresses[key].payload for key in group}) == 1
        absent = next(key for key in group if key not in drawn)
        sent = decode(post.payloads[post.addresses[absent].payload], SPEC)
        np.testing.assert_allclose(sent.adapter, merged, rtol=1e-6)


@pytest.mark.parametrize("clustering", [SINGLE, Oracle(type="oracle"), HDBSCAN], ids=lambda config: config.type)
def test_who_was_never_drawn_is_sent_v0_unless_the_method_knows_its_cluster(clustering):
    server = Aggregator(setup(clustering=clustering, told=TASKS if clustering.type == "oracle" else {}))
    drawn = [update for key, update in trained(server.setup).items() if key[0] < 4]
    state, step = server.step(server.start(), payloads(drawn))
    addresses = server.post(state).addresses
    home = {key: addresses[key].cluster for key in TASKS if key[0] == 4}
    same_task = {key: next(step.labels[k] for k in step.labels if TASKS[k] == TASKS[key]) for key in home}
    assert home == (dict.fromkeys(home, START) if clustering is HDBSCAN else same_task)


def test_a_cluster_of_absent_slots_alone_keeps_what_it_had():
    server = Aggregator(setup())
    state, first = server.step(server.start(), payloads(trained(server.setup).values()))
    drawn = [key for key, task in TASKS.items() if task == "apples"]
    later, step = server.step(state, payloads(trained(server.setup, 2)[key] for key in drawn))
    kept = first.labels[next(key for key in TASKS if key not in drawn)]
    assert step.labels == first.labels
    assert later.clusters[kept] == state.clusters[kept]
    assert [row["aggregation_error"] is None for row in step.clusters] == [
        row["cluster"] == kept for row in step.clusters
    ]


def test_an_absent_slot_keeps_its_trained_head_where_a_wrong_merge_comes_apart():
    # both tasks were in one cluster with a head each; now one slot of each leaves, and of the two only one is drawn
    server = Aggregator(setup(clustering=Oracle(type="oracle"), told=dict.fromkeys(TASKS, "all")))
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    pear, apple = next(k for k in TASKS if TASKS[k] == "pears"), next(k for k in TASKS if TASKS[k] == "apples")
    had = state.clusters[0].heads[f"{CLASSES['pears']}x{WIDTH}"]
    apart = Aggregator(
        replace(server.setup, registry=registered(told={k: "left" if k in (pear, apple) else "stayed" for k in TASKS}))
    )
    state, step = apart.step(state, payloads(trained(server.setup, 2)[k] for k in TASKS if k != pear))
    assert step.labels[pear] == step.labels[apple] != 0
    post = apart.post(state)
    np.testing.assert_array_equal(decode(post.payloads[post.addresses[pear].payload], SPEC).heads[0].matrix, had)


def test_a_slot_never_drawn_is_sent_the_start():
    server = Aggregator(setup())
    updates = trained(server.setup)
    never = updates.pop((0, 0))
    state, _ = server.step(server.start(), payloads(updates.values()))
    address = server.post(state).addresses[0, 0]
    sent = decode(server.post(state).payloads[address.payload], SPEC)
    assert address.cluster == -1
    np.testing.assert_array_equal(sent.adapter, server.setup.start)
    np.testing.assert_array_equal(sent.heads[0].matrix, server.setup.start_heads[f"{len(never.heads[0].matrix)}x3"])


# -- what is sent ------------------------------------------------------------------------------------------


def test_the_first_post_is_the_start_for_all():
    server = Aggregator(setup())
    post = server.post(server.start())
    assert len(post.payloads) == 2  # one a shape of head
    for key, task in TASKS.items():
        head = Head(server.setup.start_heads[f"{CLASSES[task]}x{WIDTH}"])
        expected = Broadcast(1, SPEC.fingerprint, server.setup.start, (head,))
        assert decode(post.payloads[post.addresses[key].payload], SPEC) == expected


def test_clients_with_starts_of_their_own_begin_there():
    own = {client: np.full(SPEC.size, client, np.float32) for client in range(5)}
    server = Aggregator(setup(own_starts=own))
    post = server.post(server.start())
    assert len(post.payloads) == 10  # a client and shape of head
    for key in TASKS:
        np.testing.assert_array_equal(decode(post.payloads[post.addresses[key].payload], SPEC).adapter, own[key[0]])
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    assert len(server.post(state).payloads) == 2


def test_steps_are_compared_since_what_was_sent():
    """Round 1 tears the clients apart into two far places; what round 2 adds tells the tasks."""
    told = {key: "left" if key[0] < 2 else "right" for key in TASKS}
    server = Aggregator(setup(clustering=Oracle(type="oracle"), told=told, similarity=Flat(type="flat", of="step")))
    far = {"left": 500, "right": -500}
    first = {k: replace(update, adapter=update.adapter + far[told[k]]) for k, update in trained(server.setup).items()}
    state, _ = server.step(server.start(), payloads(first.values()))
    assert all(np.array_equal(state.since[key], server.setup.start) for key in TASKS)
    sent = {key: state.clusters[state.labels[key]].adapter for key in TASKS}
    second = {
        key: replace(update, adapter=sent[key] + update.adapter - server.setup.start)
        for key, update in trained(server.setup, 2).items()
    }
    blind = replace(server.setup, clustering=KMEANS)
    later, step = Aggregator(blind).step(state, payloads(second.values()))
    assert groups(step.labels) == TRUE_GROUPS
    _, of_adapters = Aggregator(replace(blind, similarity=Flat(type="flat"))).step(state, payloads(second.values()))
    assert groups(of_adapters.labels) == groups(told)
    loaded = load(dump(later, SPEC), server.setup)
    assert all(np.array_equal(loaded.since[key], sent[key]) for key in TASKS)
    third = {key: replace(update, round=3) for key, update in second.items()}
    absent, _ = server.step(later, payloads([third[0, 0]]))  # the others are known by their last step
    assert all(np.array_equal(absent.since[key], sent[key]) for key in TASKS if key != (0, 0))


@pytest.mark.parametrize("down", ["float32", "int8"])
@pytest.mark.parametrize("afresh", [False, True])
def test_who_steps_against_its_cluster_counts_for_nothing_there(down, afresh):
    """From what it was sent, as the wire rounded it, whatever it says; adapter and head."""
    tasks = {(client, 0): "apples" for client in range(5)}
    rules = {"merging": Mean(type="mean", weights="agreement"), "exchange": Exchange(restart=0.5)}
    server = Aggregator(setup(tasks, clustering=SINGLE, down=down, **rules))
    state, step = server.step(server.start(), payloads(trained(server.setup, tasks=tasks).values()))
    assert [row["weight"] for row in step.updates] == pytest.approx([0.2] * 5)
    sent = decode(server.post(state).payloads[0], SPEC).adapter
    second = {key: replace(one, adapter=sent + one.adapter) for key, one in trained(server.setup, 2, tasks).items()}
    second[3, 0] = replace(second[3, 0], adapter=2 * sent - second[3, 0].adapter, afresh=afresh)
    state, step = server.step(state, payloads(second.values()))
    assert [row["weight"] for row in step.updates] == pytest.approx([0.25, 0.25, 0.25, 0, 0.25])
    assert [row["agreement"] > 1 for row in step.updates] == [True, True, True, False, True]
    merged, honest = state.clusters[state.labels[0, 0]], [one for key, one in second.items() if key != (3, 0)]
    np.testing.assert_allclose(merged.adapter, np.mean([one.adapter for one in honest], axis=0), rtol=1e-5, atol=1e-5)
    (head,) = merged.heads.values()
    np.testing.assert_allclose(head, np.mean([one.heads[0].matrix for one in honest], axis=0), atol=1e-6)


def test_a_head_that_only_those_have_who_count_for_nothing_stays_as_it_was():
    tasks = {(client, 0): "apples" for client in range(4)} | {(4, 0): "pears"}
    server = Aggregator(setup(tasks, clustering=SINGLE, merging=Mean(type="mean", weights="agreement")))
    state, _ = server.step(server.start(), payloads(trained(server.setup, tasks=tasks).values()))
    sent, name = decode(server.post(state).payloads[0], SPEC).adapter, f"{CLASSES['pears']}x{WIDTH}"
    second = trained(server.setup, 2, dict.fromkeys(tasks, "apples"))
    second = {key: replace(one, adapter=sent + one.adapter) for key, one in second.items()}
    heads = trained(server.setup, 2, tasks)[4, 0].heads
    second[4, 0] = replace(second[4, 0], adapter=2 * sent - second[4, 0].adapter, heads=heads)
    after, step = server.step(state, payloads(second.values()))
    assert step.updates[-1]["weight"] == 0
    (before,), (now,) = ([cluster for n, cluster in one.clusters.items() if n >= 0] for one in (state, after))
    np.testing.assert_array_equal(now.heads[name], before.heads[name])
    assert not np.array_equal(*(one.heads[f"{CLASSES['apples']}x{WIDTH}"] for one in (now, before)))


def test_nor_is_theirs_taken_where_there_was_none():
    tasks = {(client, 0): "apples" for client in range(4)} | {(4, 0): "pears"}
    server = Aggregator(setup(tasks, clustering=SINGLE, merging=Mean(type="mean", weights="agreement")))
    start = decode(server.post(server.start()).payloads[0], SPEC).adapter
    first, heads = trained(server.setup, 1, dict.fromkeys(tasks, "apples")), trained(server.setup, 1, tasks)[4, 0].heads
    first[4, 0] = replace(first[4, 0], adapter=2 * start - first[4, 0].adapter, heads=heads)
    state, step = server.step(server.start(), payloads(first.values()))
    assert step.updates[-1]["weight"] == 0
    (cluster,) = (cluster for n, cluster in state.clusters.items() if n >= 0)
    assert list(cluster.heads) == [f"{CLASSES['apples']}x{WIDTH}"]
    post = server.post(state)
    sent = decode(post.payloads[post.addresses[4, 0].payload], SPEC).heads[0].matrix
    np.testing.assert_array_equal(sent, server.setup.start_heads[f"{CLASSES['pears']}x{WIDTH}"])


def test_slots_of_one_cluster_share_a_payload():
    server = Aggregator(setup())
    state, step = server.step(server.start(), payloads(trained(server.setup).values()))
    post = server.post(state)
    assert len(post.payloads) == 2
    assert groups({key: address.payload for key, address in post.addresses.items()}) == TRUE_GROUPS
    assert groups({key: address.same for key, address in post.addresses.items()}) == TRUE_GROUPS
    assert {key: address.cluster for key, address in post.addresses.items()} == step.labels
    assert {address.head for address in post.addresses.values()} == {0}


def test_local_heads_never_come_down():
    server = Aggregator(setup(exchange=Exchange(heads="local")))
    state, _ = server.step(server.start(), payloads(trained(server.setup, heads=False).values()))
    post = server.post(state)
    assert {address.head for address in post.addresses.values()} == {-1}
    assert all(decode(payload, SPEC).heads == () for payload in post.payloads)


def test_what_is_sent_is_rounded_to_the_wire():
    server = Aggregator(setup(down="bfloat16"))
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    sent = decode(server.post(state).payloads[0], SPEC)
    exact = state.clusters[server.post(state).addresses[0, 0].cluster].adapter
    np.testing.assert_allclose(sent.adapter, exact, rtol=2**-8)


def test_a_shared_adapter_comes_in_one_payload_with_a_head_a_slot():
    server = Aggregator(setup(exchange=Exchange(adapters="shared"), clustering=SINGLE, told=TASKS))
    alone = trained(server.setup)
    updates = [
        replace(alone[client, 0], heads=(*alone[client, 0].heads, *alone[client, 1].heads)) for client in range(5)
    ]
    state, step = server.step(server.start(), payloads(updates))
    post = server.post(state)
    assert len(step.updates) == 5
    assert [post.addresses[key].head for key in sorted(TASKS)] == [slot for _, slot in sorted(TASKS)]
    assert {post.addresses[key].cluster for key in TASKS} == {0}
    assert len(post.payloads) == 2  # clients with the same tasks in the same slots are sent the same
    mean = np.mean([update.adapter for update in updates], axis=0, dtype=np.float64)
    for key, task in TASKS.items():
        sent = decode(post.payloads[post.addresses[key].payload], SPEC)
        head = np.mean([alone[k].heads[0].matrix for k in TASKS if TASKS[k] == task], axis=0, dtype=np.float64)
        np.testing.assert_allclose(sent.adapter, mean, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(sent.heads[key[1]].matrix, head, atol=1e-6)


# -- state, and what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("clustering", [HDBSCAN, KMEANS], ids=["hdbscan", "kmeans"])
def test_a_loaded_state_takes_the_same_next_step(clustering):
    server = Aggregator(setup(clustering=clustering))
    state, _ = server.step(server.start(), payloads(trained(server.setup).values())[:7])
    again = Aggregator(setup(clustering=clustering))
    loaded = load(dump(state, SPEC), again.setup)
    assert dump(loaded, SPEC) == dump(state, SPEC)
    assert timeless(again.post(loaded)) == timeless(server.post(state))
    second = payloads(trained(server.setup, 2).values())[3:]
    (one, step), (other, other_step) = server.step(state, second), again.step(loaded, second)
    assert dump(other, SPEC) == dump(one, SPEC)
    assert timeless(other_step) == timeless(step)


def test_the_state_of_another_experiment_is_refused():
    server = Aggregator(setup())
    other = Aggregator(setup(spec=replace(SPEC, scale=1.0)))
    with pytest.raises(WireError, match="another shape"):
        load(dump(server.start(), SPEC), other.setup)


def test_step_leaves_its_state_alone():
    server = Aggregator(setup())
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    before = dump(state, SPEC)
    server.step(state, payloads(trained(server.setup, 2).values()))
    assert dump(state, SPEC) == before


def test_the_server_is_told_no_task_but_openly():
    assert not [task for task in CLASSES if task.encode() in pickle.dumps(setup())]
    assert b"apples" in pickle.dumps(setup(told=TASKS))


# -- slots that come, go and change ------------------------------------------------------------------------


def test_a_slot_is_served_and_judged_in_its_rounds_with_the_head_of_its_time():
    """Slot (0, 0) is apples in rounds 1 and 2 and pears from 3 on; (1, 0) comes in round 2; (2, 0) ends after it."""
    shapes = {task: f"{classes}x{WIDTH}" for task, classes in CLASSES.items()}
    registry = registered()
    registry[0, 0] = [Slot(shapes["apples"], spans=((1, 2),)), Slot(shapes["pears"], spans=((3, math.inf),))]
    registry[1, 0] = [Slot(shapes["pears"], spans=((2, math.inf),))]
    registry[2, 0] = [Slot(shapes["apples"], spans=((1, 2),))]
    server = Aggregator(setup(registry=registry))
    state = server.start()
    for round in (1, 2, 3):
        post = server.post(state)
        assert ((1, 0) in post.addresses) == (round > 1)
        assert ((2, 0) in post.addresses) == (round < 3)
        rows = {1: 2, 2: 2, 3: 3}[round]  # apples have two classes, pears three
        assert decode(post.payloads[post.addresses[0, 0].payload], SPEC).heads[0].matrix.shape == (rows, WIDTH)
        if round == 3:  # those of round 2 are judged by what they would be sent
            assert decode(post.payloads[post.judged[0, 0].payload], SPEC).heads[0].matrix.shape == (2, WIDTH)
            assert (2, 0) in post.judged
        sent = [update for key, update in trained(server.setup, round).items() if key in post.addresses]
        if round == 3:
            sent[0] = replace(sent[0], heads=(Head(np.zeros((3, WIDTH), np.float32), 1),))
        state, step = server.step(state, payloads(sent))
    assert (2, 0) in step.labels  # the server still knows what it was
    gone = opened(server.setup, state, payloads([trained(server.setup, 4)[2, 0]]))
    assert gone == ([], [LeftOut(2, None, "slot", "the client has no slot 0 in round 4")])


def test_a_slot_that_asks_for_another_head_is_sent_v0_and_not_held_though_it_was_away_when_it_changed():
    shapes = {task: f"{classes}x{WIDTH}" for task, classes in CLASSES.items()}
    tasks = {key: task for key, task in TASKS.items() if key != (0, 1)}  # client 0 holds nothing else
    registry = registered(tasks)
    registry[0, 0] = [Slot(shapes["apples"], spans=((1, 3),)), Slot(shapes["pears"], spans=((4, math.inf),))]
    server = Aggregator(setup(registry=registry))
    state = server.start()
    for round in (1, 2, 3, 4, 5):
        sent = trained(server.setup, round, tasks={**tasks, (0, 0): "pears"} if round == 5 else tasks)
        if round == 5:
            assert server.post(state).addresses[0, 0].cluster == START
        if round == 4:
            del sent[0, 0]
        state, step = server.step(state, payloads(sent.values()))
    pear = next(key for key, task in TASKS.items() if task == "pears" and key[0] == 1)
    assert step.labels[0, 0] == step.labels[pear]
    assert state.heard[0, 0] == 5
    assert load(dump(state, SPEC), server.setup).heard == state.heard


def test_what_started_anew_set_out_from_v0():
    server = Aggregator(setup(similarity=Flat(type="flat", of="step"), exchange=Exchange(restart=0.5)))
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    second = trained(server.setup, 2)
    second[2, 0] = replace(second[2, 0], afresh=True)
    state, step = server.step(state, payloads(second.values()))
    np.testing.assert_array_equal(state.since[2, 0], server.setup.start)
    assert not np.array_equal(state.since[2, 1], server.setup.start)
    assert [row["restarted"] for row in step.updates] == [key == (2, 0) for key in sorted(TASKS)]


# -- changes instead of adapters ---------------------------------------------------------------------------


def test_a_change_is_put_on_what_the_slot_was_sent():
    """As int8 rounded it on the way down; on v0 for the slot that started anew. Adapters may come beside changes."""
    server = Aggregator(setup(down="int8", exchange=Exchange(restart=0.5)))
    state, _ = server.step(server.start(), payloads(trained(server.setup).values()))
    post, second, sent = server.post(state), trained(server.setup, 2), []
    for key, update in second.items():
        change = replace(update, adapter=np.full(SPEC.size, 0.5, np.float32), change=True, afresh=key == (2, 0))
        payload = encode(change, Codec("float32", 1.0), SPEC, None)
        sent.append(Parcel(key[0], payload) if key[0] else payloads([update])[0])
    after, _ = server.step(state, sent)
    assert after.since == {}
    for key, address in post.addresses.items():
        start = server.setup.start if key == (2, 0) else decode(post.payloads[address.payload], SPEC).adapter
        np.testing.assert_array_equal(after.adapters[key], start + np.float32(0.5) if key[0] else second[key].adapter)
    assert not np.array_equal(after.adapters[3, 0], state.clusters[state.labels[3, 0]].adapter + np.float32(0.5))
