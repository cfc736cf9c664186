"""What came up the wire, before anything is computed with it: only updates of this round go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fltac.errors import StoppedError
from fltac.records.left_out import LeftOut
from fltac.server.choosing import offered
from fltac.server.posting import by_client
from fltac.server.state import Key, Parcel, Setup, State, shape_name
from fltac.timeline import holding
from fltac.wire.codecs import decode
from fltac.wire.messages import NotFiniteError, Update, WireError

FEW = 3  # updates among which a median says what is usual


class _RefusedError(Exception):
    def __init__(self, why: str, what: str, slot: int | None = None) -> None:
        self.why, self.what, self.slot = why, what, slot


def opened(
    setup: Setup, state: State, sent: Sequence[Parcel], round: int | None = None
) -> tuple[list[Update], list[LeftOut]]:
    """The updates of a round (`state.round + 1`) by (client, slot), numbers as they came, and what is refused.

    Refused is what cannot be decoded, comes from another than it says, is of a slot that is not there or of another
    round, has another shape than the slot's, a number that is not finite, no examples, a start from v0 where none
    is asked for, a choice of a cluster that was not offered, or came twice: of two that differ, both.
    """
    round = state.round + 1 if round is None else round
    shapes, choices = head_shapes(setup, round), offered(setup, state) or [-1]
    found: dict[Key, list[tuple[bytes, Update]]] = {}
    refused = []
    for parcel in sent:
        try:
            update = _opened(setup, round, parcel, shapes, choices)
            found.setdefault(update.key, []).append((parcel.payload, update))
        except _RefusedError as error:
            refused.append(LeftOut(parcel.sender, error.slot, error.why, error.what))
    updates = []
    for (client, slot), each in sorted(found.items()):
        differ = len({payload for payload, _ in each}) > 1
        what = f"{len(each)} updates that differ" if differ else f"the same update {len(each)} times"
        refused += [LeftOut(client, slot, "duplicate", what)] * (len(each) - (not differ))
        updates += [] if differ else [each[0][1]]
    return updates, sorted(refused, key=lambda one: (one.client, -1 if one.slot is None else one.slot, one.why))


def taken(
    setup: Setup, state: State, sent: Sequence[Parcel], late: Mapping[int, str]
) -> tuple[list[Update], list[LeftOut], tuple[Parcel, ...]]:
    """The updates that came in time, with those that were late the round before; what is left out; what is kept.

    A late update stays closed until the next round, and counts then where nothing newer came of its slot.
    """
    updates, refused = opened(setup, state, [parcel for parcel in sent if parcel.sender not in late])
    newer = {update.key for update in updates}
    before, bad = opened(setup, state, state.late, state.round)
    refused += [
        LeftOut(client, None, "late", late[client]) for client in sorted({one.sender for one in sent} & set(late))
    ]
    kept = tuple(parcel for parcel in sent if parcel.sender in late) if setup.faults.late_weight else ()
    then, now = (head_shapes(setup, round) for round in (state.round, state.round + 1))
    still = [update for update in before if update.key not in newer and now.get(update.key) == then[update.key]]
    both = [*updates, *still]
    return sorted(both, key=lambda update: update.key), refused + bad, kept


def usual(setup: Setup, updates: Sequence[Update]) -> tuple[list[Update], list[LeftOut]]:
    """The updates, adapters whole, that are no further from v0 than `faults.max_norm` times the median, and the others.

    Adapters and heads are looked at apart, each by its root mean square; among fewer than three nothing is unusual. A
    change that is put on what was sent may come to infinity.
    """
    bound, strange = setup.faults.max_norm or math.inf, dict[Key, LeftOut]()
    for name, far in (("adapter", _far_adapter), ("heads", _far_heads)):
        distances = [far(setup, update) for update in updates]
        median = float(np.median(distances)) if len(updates) >= FEW else math.inf
        for update, distance in zip(updates, distances, strict=True):
            if not math.isfinite(distance):
                strange[update.key] = LeftOut(*update.key, "not finite", f"its {name} is, on what it was sent")
            elif distance > bound * median > 0:
                what = f"its {name} went {distance / median:.3g} times as far from v0 as the median"
                strange[update.key] = LeftOut(*update.key, "norm", what)
    return [update for update in updates if update.key not in strange], list(strange.values())


def require_enough(setup: Setup, round: int, updates: Sequence[Update], refused: Sequence[LeftOut]) -> None:
    """Raises StoppedError where fewer clients than `faults.min_clients` came through."""
    came = len({update.client for update in updates})
    if came < setup.faults.min_clients:
        why = "; ".join(f"client {one.client}: {one.why}, {one.what}" for one in refused[:5]) or "nobody was heard of"
        asked = f"faults.min_clients asks for {setup.faults.min_clients}"
        raise StoppedError(f"round {round}: updates of {came} clients can be merged, and {asked} ({why})")


def head_shapes(setup: Setup, round: int) -> dict[Key, list[str]]:
    """Who may send in a round, and the shapes of the heads that an update must bring; local heads are not sent."""
    slots, local = holding(setup.registry, round), setup.exchange.heads == "local"
    if setup.exchange.adapters == "shared":
        return {(client, 0): [slot.shape for slot in own.values()] for client, own in by_client(slots).items()}
    return {key: [] if local else [slot.shape] for key, slot in slots.items()}


def _opened(
    setup: Setup, round: int, parcel: Parcel, shapes: Mapping[Key, Sequence[str]], choices: Sequence[int]
) -> Update:
    try:
        update = decode(parcel.payload, setup.spec)
    except WireError as error:
        why = "not finite" if isinstance(error, NotFiniteError) else "undecodable"
        raise _RefusedError(why, str(error)) from None
    if not isinstance(update, Update):
        raise _RefusedError("undecodable", "a broadcast, which goes the other way")
    if update.client != parcel.sender:
        raise _RefusedError("sender", f"it says that it is of client {update.client}")
    if update.key not in shapes:
        raise _RefusedError("slot", f"the client has no slot {update.slot} in round {round}")
    if update.round != round:
        raise _RefusedError("round", f"of round {update.round}, in round {round}", update.slot)
    size = setup.spec.size_b if setup.frozen else setup.spec.size
    came, asked = [shape_name(*head.matrix.shape) for head in update.heads], list(shapes[update.key])
    if update.adapter.size != size or came != asked:
        what = f"{update.adapter.size} numbers and heads {came}, where the slot has {size} and {asked}"
        raise _RefusedError("shape", what, update.slot)
    if min([update.num_examples, *(head.num_examples for head in update.heads)]) < 1:
        raise _RefusedError("examples", "trained on none", update.slot)
    if update.afresh and setup.exchange.restart is None:
        raise _RefusedError("restart", "from v0, where no slot starts anew (exchange.restart)", update.slot)
    if update.choice not in choices:
        raise _RefusedError("choice", f"of cluster {update.choice}, which is none of {list(choices)}", update.slot)
    return update


def _far_adapter(setup: Setup, update: Update) -> float:
    start = setup.own_starts.get(update.client, setup.start)
    return float(np.sqrt(np.mean(np.square(update.adapter.astype(np.float64) - start))))


def _far_heads(setup: Setup, update: Update) -> float:
    moved = [head.matrix - setup.start_heads[shape_name(*head.matrix.shape)] for head in update.heads]
    numbers = np.concatenate([part.ravel() for part in moved]) if moved else np.zeros(0)
    return float(np.sqrt(np.mean(np.square(numbers.astype(np.float64))))) if numbers.size else 0.0
