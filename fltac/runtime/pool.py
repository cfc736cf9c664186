"""Client actors that are replaced when they die: the one place where clients' work is done again.

A call brings all that it needs, so that it may be made twice: what one left behind is never used.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ray
from ray import exceptions

from fltac.config import Faults
from fltac.errors import StoppedError, first_line
from fltac.runtime.capacity import Need

READY_SECONDS = 300.0  # for an actor to start; a cluster that is busy for longer is told as such
STARTS = 3  # in a row that an actor may die in before its place is given up
LATER = 1 / 3  # see `spread`: enough where one worker is twice as fast as another
LEAST = 500  # tokens: half a second of a small model on one core; an image counts as one, as everywhere
# what becomes of a call whose actor, worker or node is gone, or which is not answered in time
LOST = (
    exceptions.RayActorError,
    exceptions.ObjectLostError,
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
    exceptions.LocalRayletDiedError,
    exceptions.GetTimeoutError,
)

Piece = list[int]  # what a call is to do, as indices of the work
Send = Callable[[Any, Piece], list[Any]]  # to an actor: a call's references, the last of which ends it


class Done(NamedTuple):
    """A call that was answered: its piece of the work, what the last reference held, all of them."""

    piece: Piece
    answer: Any
    refs: list[Any]


class Until(NamedTuple):
    """When work is over, done or not: after so many seconds, or once so much of it is there."""

    seconds: float
    enough: int
    sizes: Sequence[int]  # how much each part of the work is


class Call(NamedTuple):
    """A call under way."""

    place: int
    piece: Piece
    refs: list[Any]
    began: float


class Pool:
    """Actors, each in its place; the work of one that dies goes to whoever is free."""

    def __init__(self, make: Callable[[], Any], need: Need, say: Callable[[str], None]) -> None:
        """`make` starts an actor that has `load`, and does not wait for it; `say` is told of each that is lost."""
        self.make, self.need, self.say = make, need, say
        self.actors = [make() for _ in range(need.actors)]
        self._starting: dict[int, Any] = {}  # place -> what its actor answers when it has loaded
        self._starts: Counter[int] = Counter()  # place -> how often its actor died while it did

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)

    def load(self, shared: Any, faults: Faults) -> None:
        """Has all actors load what they work on. Raises StoppedError where they do not start in READY_SECONDS."""
        self._shared, self._faults = shared, faults
        self._starts.clear()
        for place in range(len(self.actors)):
            self._load(place)
        end = time.monotonic() + READY_SECONDS
        while self._starting:
            self._ready([], end - time.monotonic())
            if self._starting and time.monotonic() > end:
                raise StoppedError(self._not_started())

    def run(
        self, what: str, pieces: Sequence[Piece], send: Send, until: Until | None = None
    ) -> tuple[list[Done], dict[int, tuple[str, str]]]:
        """The answers of all calls, and what is not done, with why: lost too often, or late. `what` is for people.

        A piece whose call is lost is done again, each of its parts by itself, so that one that kills its actor is
        told from the others. Raises what a call raised, and StoppedError where no actor is left.
        """
        waiting, running = deque(piece for piece in pieces if piece), dict[Any, Call]()
        done, failures, given_up = list[Done](), Counter[int](), dict[int, tuple[str, str]]()
        began = moved = time.monotonic()

        def failed(call: Call, why: str) -> None:
            self.say(f"{what}: client actor {call.place} is replaced, its work done again ({why})")
            self._replace(call.place)
            for index in call.piece:
                failures[index] += 1
                if 0 <= self._faults.max_failures < failures[index]:
                    given_up[index] = "lost", f"{what} was lost {failures[index]} times, at last: {why}"
                else:
                    waiting.append([index])

        while waiting or running:
            for place in self._free(running):
                if waiting:
                    piece = waiting.popleft()
                    refs = send(self.actors[place], piece)
                    running[refs[-1]] = Call(place, piece, refs, time.monotonic())
            oldest = min((call.began for call in running.values()), default=moved)
            limit = self._faults.timeout_s if running else READY_SECONDS
            end = min(oldest + limit, began + until.seconds) if until else oldest + limit
            ready = self._ready(list(running), end - time.monotonic())
            for ref in ready:
                call = running.pop(ref)
                try:
                    done.append(Done(call.piece, ray.get(ref, timeout=self._faults.timeout_s), call.refs))
                except LOST as error:
                    failed(call, first_line(error))
            now = time.monotonic()
            moved = now if ready else moved
            for ref, call in list(running.items()):
                if now > call.began + self._faults.timeout_s:
                    failed(running.pop(ref), f"no answer in {self._faults.timeout_s:g} s")
            if waiting and not running and not self._free(running) and now > moved + READY_SECONDS:
                raise StoppedError(f"{what} waits: {self._not_started()}")
            if until and (
                now > began + until.seconds or sum(until.sizes[i] for one in done for i in one.piece) >= until.enough
            ):
                late = [index for piece in (*waiting, *(call.piece for call in running.values())) for index in piece]
                given_up |= dict.fromkeys(late, ("late", f"not there after {now - began:.3g} s"))
                for call in running.values():
                    self._replace(call.place)
                break
        return done, given_up

    def _free(self, running: dict[Any, Call]) -> list[int]:
        busy = {call.place for call in running.values()} | self._starting.keys()
        return [place for place in range(len(self.actors)) if place not in busy and self._starts[place] <= STARTS]

    def _load(self, place: int) -> None:
        self._starting[place] = self.actors[place].load.remote(self._shared)

    def _replace(self, place: int) -> None:
        ray.kill(self.actors[place])
        self.actors[place] = self.make()
        self._load(place)

    def _ready(self, refs: list[Any], seconds: float) -> list[Any]:
        """Those of the calls that ended first, in time; actors that end their start in between are taken note of."""
        if not refs and not self._starting:
            raise StoppedError("no client actor is left, and none can be started")
        ready, _ = ray.wait([*refs, *self._starting.values()], num_returns=1, timeout=max(seconds, 0.0))
        for place, ref in list(self._starting.items()):
            if ref in ready:
                del self._starting[place]
                try:
                    ray.get(ref)
                    self._starts[place] = 0
                except LOST as error:
                    self._starts[place] += 1
                    if self._starts[place] <= STARTS:
                        self.say(f"client actor {place} did not start, and is replaced ({first_line(error)})")
                        self._replace(place)
                    elif all(self._starts[other] > STARTS for other in range(len(self.actors))):
                        raise StoppedError(f"no client actor can be started: {first_line(error)}") from None
        return [ref for ref in ready if ref in refs]

    def _not_started(self) -> str:
        free = ray.available_resources()
        return (
            f"{len(self._starting)} of {len(self.actors)} client actors did not start in {READY_SECONDS:g} s: "
            f"each needs {self.need.num_cpus:g} CPUs and {self.need.num_gpus:g} GPUs, "
            f"free are {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs"
        )


def spread(costs: Sequence[float], workers: int) -> list[Piece]:
    """Indices of the costs in pieces, in order within each: one for each worker, and then what whoever is free takes.

    How long a worker takes is known roughly. So the cheapest, a part of LATER of all costs in tokens, are kept back, in
    pieces that shrink towards the end: each is a worker's half of what is left then, and no less than LEAST, since a
    call takes time. Nobody waits longer than the last piece takes. Of the others the longest go first to whoever has
    least. Source of the shrinking: Polychronopoulos and Kuck 1987, guided self-scheduling.
    """
    order = sorted(range(len(costs)), key=lambda index: (-costs[index], index))
    bound, left, begun = LATER * sum(costs), 0.0, len(order)
    while workers > 1 and bound >= LEAST * workers and left + costs[order[begun - 1]] <= bound:
        begun -= 1
        left += costs[order[begun]]
    later, piece, size = list[Piece](), Piece(), 0.0
    for index in order[begun:]:
        piece.append(index)
        size += costs[index]
        if size >= max(LEAST, left / (2 * workers)):
            later.append(piece)
            piece, size, left = [], 0.0, left - size
    pieces = [Piece() for _ in range(workers)]
    loads = [0.0] * workers
    for index in [*order[:begun], *piece]:  # the last few are too little for a call
        least = loads.index(min(loads))
        pieces[least].append(index)
        loads[least] += costs[index]
    return [sorted(one) for one in [*pieces, *later]]
