"""What is no update of this run, this round and this slot is refused with a reason, and touches nothing."""

from dataclasses import replace

import numpy as np
import pytest

from fltac.config import Exchange, Faults
from fltac.errors import StoppedError
from fltac.server.aggregator import Aggregator
from fltac.server.screening import opened, usual
from fltac.server.snapshot import dump, load
from fltac.server.state import Parcel
from fltac.wire.codecs import HEADER, SHAPE, encode, seal
from fltac.wire.messages import Broadcast, Head
from tests.server.test_aggregator import FLOAT32, SINGLE, SPEC, TASKS, WIDTH, payloads, setup, trained

SERVER = Aggregator(setup())
SENT = trained(SERVER.setup)
GOOD = SENT[0, 0]
SMALL = SENT[2, 1]


def parcel(update, sender=None) -> Parcel:
    return Parcel(update.client if sender is None else sender, encode(update, FLOAT32, SPEC, None))


def with_number(value, place) -> Parcel:
    """GOOD with another number there, adapter first: bytes that `encode` would not write."""
    payload, begin = bytearray(parcel(GOOD).payload), HEADER.size + SHAPE.size
    payload[begin + 4 * place : begin + 4 * place + 4] = np.float32(value).tobytes()
    return Parcel(0, seal(bytes(payload)))


def head(matrix=None, examples=3) -> tuple[Head]:
    return (Head(GOOD.heads[0].matrix if matrix is None else matrix, examples),)


BAD = {
    "no message": (Parcel(0, b"rubbish" * 20), "undecodable", None),
    "empty": (Parcel(0, b""), "undecodable", None),
    "truncated": (Parcel(0, parcel(GOOD).payload[:-1]), "undecodable", None),
    "another run": (parcel(replace(GOOD, spec=b"another!")), "undecodable", None),
    "a broadcast": (
        Parcel(0, encode(Broadcast(1, SPEC.fingerprint, GOOD.adapter, ()), FLOAT32, SPEC, None)),
        "undecodable",
        None,
    ),
    "another client": (parcel(GOOD, sender=3), "sender", None),
    "no client": (parcel(replace(GOOD, client=5)), "slot", None),
    "no slot": (parcel(replace(GOOD, slot=2)), "slot", None),
    "an old round": (parcel(replace(GOOD, round=0)), "round", 0),
    "a later round": (parcel(replace(GOOD, round=2)), "round", 0),
    "B alone": (parcel(replace(GOOD, adapter=SPEC.only_b(GOOD.adapter))), "shape", 0),
    "no head": (parcel(replace(GOOD, heads=())), "shape", 0),
    "two heads": (parcel(replace(GOOD, heads=GOOD.heads * 2)), "shape", 0),
    "a larger head": (parcel(replace(GOOD, heads=head(np.zeros((9, WIDTH), np.float32)))), "shape", 0),
    "NaN": (with_number("nan", 3), "not finite", None),
    "infinity": (with_number("-inf", SPEC.size - 1), "not finite", None),
    "NaN in a head": (with_number("nan", SPEC.size), "not finite", None),
    "no examples": (parcel(replace(GOOD, num_examples=0)), "examples", 0),
    "no examples of a head": (parcel(replace(GOOD, heads=head(examples=0))), "examples", 0),
    "from v0": (parcel(replace(GOOD, afresh=True)), "restart", 0),
    "a choice": (parcel(replace(GOOD, choice=0)), "choice", 0),
}


@pytest.mark.parametrize(("bad", "why", "slot"), BAD.values(), ids=BAD)
def test_what_is_no_update_is_refused_and_the_others_merge_as_without_it(bad, why, slot):
    others = payloads(update for key, update in SENT.items() if key != (0, 0))
    state, step = SERVER.step(SERVER.start(), [bad, *others])
    assert [(one.client, one.slot, one.why) for one in step.refused] == [(bad.sender, slot, why)]
    assert step.refused[0].what
    expected, alone = SERVER.step(SERVER.start(), others)
    assert dump(state, SPEC) == dump(expected, SPEC)
    assert step.updates == alone.updates


def test_an_update_that_came_is_refused_in_the_next_round():
    state, _ = SERVER.step(SERVER.start(), payloads(SENT.values()))
    second = trained(SERVER.setup, 2)
    _, step = SERVER.step(state, [parcel(GOOD), *payloads(second.values())])
    assert step.refused == [(0, 0, "round", "of round 1, in round 2")]
    assert len(step.updates) == len(second)


def test_of_the_same_update_twice_one_counts_and_of_two_that_differ_none():
    once, _ = SERVER.step(SERVER.start(), payloads(SENT.values()))
    state, step = SERVER.step(SERVER.start(), [*payloads(SENT.values()), parcel(GOOD)])
    assert dump(state, SPEC) == dump(once, SPEC)
    assert step.refused == [(0, 0, "duplicate", "the same update 2 times")]
    other = parcel(replace(GOOD, adapter=GOOD.adapter + 1))
    for order in (1, -1):
        updates, refused = opened(SERVER.setup, SERVER.start(), [parcel(GOOD), other][::order])
        assert updates == []
        assert refused == [(0, 0, "duplicate", "2 updates that differ")] * 2


def test_who_says_to_be_another_does_not_keep_that_one_out():
    forged = parcel(replace(GOOD, adapter=-GOOD.adapter), sender=4)
    updates, refused = opened(SERVER.setup, SERVER.start(), [forged, *payloads(SENT.values())])
    assert updates == [SENT[key] for key in sorted(SENT)]
    assert [(one.client, one.slot, one.why) for one in refused] == [(4, None, "sender")]


# -- how far is too far ---------------------------------------------------------------------------------------


def stretched(update, factor):
    return replace(update, adapter=SERVER.setup.start + np.float32(factor) * (update.adapter - SERVER.setup.start))


def with_norms(bound, factors):
    """What becomes of updates that went `factors` as far as SMALL did."""
    server = setup(faults=Faults(max_norm=bound))
    updates = [replace(stretched(SMALL, factor), client=client) for client, factor in enumerate(factors)]
    kept, refused = usual(server, updates)
    assert {one.why for one in refused} <= {"norm"}
    return [update.client for update in kept], [one.client for one in refused]


def test_too_far_is_a_multiple_of_the_median():
    assert with_norms(10.0, [1, 1, 1, 9.9, 10.1]) == ([0, 1, 2, 3], [4])
    assert with_norms(2.0, [1, 1, 1, 9.9, 10.1]) == ([0, 1, 2], [3, 4])
    assert with_norms(False, [1, 1, 1, 1e6]) == ([0, 1, 2, 3], [])
    assert with_norms(10.0, [1, 1e6]) == ([0, 1], [])  # of two nobody knows which is usual
    assert with_norms(10.0, [0, 0, 0, 1]) == ([0, 1, 2, 3], [])


def test_a_change_may_come_to_infinity_on_what_it_is_put_on():
    infinite = replace(GOOD, adapter=np.where(np.arange(SPEC.size) == 3, np.float32("inf"), GOOD.adapter))
    kept, refused = usual(setup(faults=Faults(max_norm=False)), [infinite, SMALL])
    assert kept == [SMALL]
    assert [(one.client, one.slot, one.why) for one in refused] == [(0, 0, "not finite")]


def test_heads_are_looked_at_apart():
    far = [replace(update, heads=head(update.heads[0].matrix + 1000)) for update in [SENT[0, 0]]]
    kept, refused = usual(SERVER.setup, [*far, *[update for key, update in SENT.items() if key != (0, 0)]])
    assert [(one.client, one.slot, one.why) for one in refused] == [(0, 0, "norm")]
    assert len(kept) == len(SENT) - 1


def test_a_far_update_does_not_reach_the_merge():
    far = {**SENT, (0, 0): stretched(GOOD, 1e5)}
    state, step = SERVER.step(SERVER.start(), payloads(far.values()))
    assert [one.why for one in step.refused] == ["norm"]
    expected, _ = SERVER.step(SERVER.start(), payloads(update for key, update in SENT.items() if key != (0, 0)))
    assert dump(state, SPEC) == dump(expected, SPEC)


# -- who may send, and how many must ----------------------------------------------------------------------------


def test_too_few_clients_stop_the_round_and_it_is_said_why():
    server = Aggregator(setup(faults=Faults(min_clients=5)))
    server.step(server.start(), payloads(SENT.values()))
    few = [update for key, update in SENT.items() if key[0] < 4]
    with pytest.raises(StoppedError, match=r"round 1: updates of 4 clients can be merged, and faults\.min_clients"):
        server.step(server.start(), payloads(few))
    with pytest.raises(StoppedError, match=r"of 0 clients .* asks for 1 \(client 0: undecodable, a payload of 0 bytes"):
        SERVER.step(SERVER.start(), [Parcel(0, b"")])
    with pytest.raises(StoppedError, match="nobody was heard of"):
        SERVER.step(SERVER.start(), [])


def test_where_one_adapter_is_shared_it_comes_as_slot_0_with_a_head_a_task():
    server = setup(exchange=Exchange(adapters="shared"), told=TASKS)
    shared = replace(GOOD, heads=(*SENT[0, 0].heads, *SENT[0, 1].heads))
    state = SERVER.start()
    assert opened(server, state, [parcel(shared)]) == ([shared], [])
    assert opened(server, state, [parcel(replace(shared, slot=1))])[1][0].why == "slot"
    assert opened(server, state, [parcel(replace(shared, heads=shared.heads[::-1]))])[1][0].why == "shape"


# -- late updates -------------------------------------------------------------------------------------------------

LATE = {2: "slow"}


def halves() -> Aggregator:
    return Aggregator(setup(faults=Faults(late_weight=0.5), clustering=SINGLE))


def test_a_late_update_counts_half_in_the_next_round():
    server = halves()
    first, step = server.step(server.start(), payloads(SENT.values()), LATE)
    assert step.refused == [(2, None, "late", "slow")]
    assert {row["client"] for row in step.updates} == {0, 1, 3, 4}
    second = {key: update for key, update in trained(server.setup, 2).items() if key[0] < 2}
    for state in (first, load(dump(first, SPEC), server.setup)):
        merged, step = server.step(state, payloads(second.values()))
        weighed = [(update.adapter, 1.0) for update in second.values()]
        weighed += [(update.adapter, 0.5) for key, update in SENT.items() if key[0] == 2]
        expected = sum(adapter.astype(np.float64) * weight for adapter, weight in weighed) / 5  # four and two halves
        np.testing.assert_allclose(merged.clusters[0].adapter, expected, rtol=1e-5, atol=1e-6)
        assert merged.heard[2, 0] == 1
        assert merged.late == ()
        assert {row["client"] for row in step.updates} == {0, 1, 2}


def test_a_late_update_gives_way_to_a_newer_one_of_its_slot():
    server = halves()
    state, _ = server.step(server.start(), payloads(SENT.values()), LATE)
    without, _ = server.step(server.start(), payloads(update for key, update in SENT.items() if key[0] != 2))
    second = payloads(trained(server.setup, 2).values())
    assert dump(server.step(state, second)[0], SPEC) == dump(server.step(without, second)[0], SPEC)


def test_where_late_updates_do_not_count_nothing_of_them_is_kept():
    server = Aggregator(setup())
    state, _ = server.step(server.start(), payloads(SENT.values()), LATE)
    expected, _ = server.step(server.start(), payloads(update for key, update in SENT.items() if key[0] != 2))
    assert dump(state, SPEC) == dump(expected, SPEC)


def test_a_late_update_is_looked_at_when_it_is_taken():
    server = halves()
    bad = [Parcel(2, b"rubbish"), parcel(replace(SENT[2, 0], round=3))]
    state, _ = server.step(server.start(), [*payloads(u for k, u in SENT.items() if k[0] != 2), *bad], LATE)
    _, step = server.step(state, payloads(trained(server.setup, 2).values()))
    assert [(one.client, one.why) for one in step.refused] == [(2, "undecodable"), (2, "round")]
