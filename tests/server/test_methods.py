"""What each published method promises, on the server's side."""

from dataclasses import replace

import numpy as np
import pytest

from fltac.config import Exchange
from fltac.server.aggregator import Aggregator
from fltac.server.state import dump, load
from fltac.wire.codecs import WireError, decode, encode
from tests.server.test_aggregator import HDBSCAN, SIMILARITIES, SINGLE, SPEC, TASKS, TRUE_GROUPS, groups, setup, trained

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


def payloads(updates) -> list[bytes]:
    return [encode(update, "float32") for update in updates]


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
            sent = decode(post.payloads[address.payload]).adapter
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
    assert server.post(loaded) == server.post(state)
    again = {k: replace(u, adapter=2 * u.adapter) for k, u in only_b(server.setup, 2).items()}  # as far once more
    _, step = server.step(loaded, payloads(again.values()))
    assert groups(step.labels) == TRUE_GROUPS


def test_both_factors_are_refused_where_a_is_frozen_and_b_alone_where_it_is_not():
    for server, updates in ((frozen(), trained(setup())), (Aggregator(setup()), only_b(setup()))):
        with pytest.raises(WireError, match="no update of this run"):
            server.step(server.start(), payloads(updates.values()))
