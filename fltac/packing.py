"""Which adapters are trained in one forward pass: told by what is drawn alone, so that it is the same wherever it runs.

What is padded and multiplied together decides the last bits of what is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fltac.data.shards import Shard

if TYPE_CHECKING:  # which takes torch, and a driver that imports this does not
    from fltac.world import World


def groups(world: World, shards: Mapping[int, Shard]) -> dict[int, list[int]]:
    """Slot of the wire -> the client's slots that its adapter serves."""
    slots = sorted(shards)
    return {0: slots} if world.shared else {slot: [slot] for slot in slots}


def costs(world: World, shards: Mapping[int, Shard]) -> list[float]:
    """What each of a client's adapters takes of the room in one forward pass: its tokens of a step, or 1 where they are
    counted."""
    training = world.experiment.training
    if training.pack != "auto":
        return [1.0] * len(groups(world, shards))

    def tokens(shard: Shard) -> float:
        lengths = world.tasks[shard.task].train.lengths[shard.indices]
        return min(training.batch_size, len(lengths)) * float(lengths.mean())

    return [max(tokens(shards[slot]) for slot in group) for group in groups(world, shards).values()]


def room(world: World) -> float:
    """Of one forward pass. What is drawn or taken in parts for one adapter is not for several: they are alone then."""
    experiment = world.experiment
    if experiment.adapter.dropout or experiment.exchange.trains == "model" or not world.sends:
        return 0
    if experiment.training.pack != "auto":
        return experiment.training.pack
    return experiment.training.pack_tokens or 0  # `Experiment.resolved` has put a number there


def together(costs: Sequence[float], room: float) -> Iterator[list[int]]:
    """Indices one after another, as many as the room takes; what takes more than all of it is alone."""
    begun: list[int] = []
    for index, cost in enumerate(costs):
        if begun and sum(costs[one] for one in begun) + cost > room:
            yield begun
            begun = []
        begun.append(index)
    if begun:
        yield begun
