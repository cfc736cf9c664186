"""What workers are asked in a round, and what they tell of it beside the updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fltac import packing
from fltac.records.left_out import LeftOut
from fltac.server.state import Post

if TYPE_CHECKING:  # which takes torch, and a driver that imports this does not
    from fltac.world import World

# what a client keeps to itself: `head-SLOT` where heads are local, `gain-SLOT`, `rest-SLOT` where changes are sent
ClientState = Mapping[str, np.ndarray]


class Order(NamedTuple):
    """A client's part in a round: which payloads it is sent, one a slot of the wire, or one a cluster from which it
    chooses, its private state, and the number of its pack: clients of one pack are trained side by side."""

    client: int
    payloads: tuple[int, ...]
    state: ClientState
    pack: int


def orders(
    world: World, round: int, drawn: Sequence[int], post: Post, states: Mapping[int, ClientState]
) -> list[Order]:
    """Each drawn client's order, in order: its payloads are those of its slots, or the one download of them all."""
    made, held = [], world.held(round)
    for client in drawn:
        addresses = [post.addresses[client, slot] for slot in held[client]]
        payloads = [address.payload for address in addresses]
        if world.shared or world.chooses:
            payloads = list(addresses[0].menu or payloads[:1])
        made.append(Order(client, tuple(payloads), states.get(client, {}), 0))
    sizes = [sum(packing.costs(world, held[client])) for client in drawn]
    packs = packing.together(sizes, packing.room(world))
    return [made[index]._replace(pack=number) for number, pack in enumerate(packs) for index in pack]


class Ledger(NamedTuple):
    """What the workers tell of a round beside the updates: a row a client and slot, the private states, and the
    clients whose work was lost with their actors."""

    rows: list[dict[str, Any]]
    states: dict[int, ClientState]
    lost: list[LeftOut]


class Job(NamedTuple):
    """One thing to judge: the adapter and head in a payload (or a client's own head) on a split of a task."""

    payload: int
    head: int
    task: str
    split: str
    own_head: np.ndarray | None = None
    writes: bool = False  # and answer the task's `asked` in the model's own words
