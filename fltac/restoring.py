"""Where a run stands: its last checkpoint that is whole and possible, and the server that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fltac.errors import InputError, Problem, behind
from fltac.judging import judge_v0
from fltac.protocol import Runtime
from fltac.records.checkpoint import Checkpoint, States, TornError
from fltac.records.store import RunDirectory
from fltac.server.snapshot import described
from fltac.server.state import Post
from fltac.wire.messages import WireError
from fltac.world import World


def restored(world: World, runtime: Runtime, run: RunDirectory) -> tuple[int, States, Post]:
    """The last finished round (0: none), the clients' private states, and the server's post after it.

    Raises InputError where there are checkpoints and none can be used, or the experiment was changed since.
    """

    def use(found: Checkpoint) -> Post:
        if found.round:
            _require_of_run(found, world, run)
        try:
            return runtime.start(found.files)
        except WireError as error:
            raise TornError(str(behind(error))) from None

    found, post = run.checkpoint(use)
    if found.round and not run.has_bars():  # they were lost, and this post is not v0's
        judge_v0(world, runtime, run, runtime.start({}))
        post = runtime.start(found.files)
    return found.round, found.states, post


def _require_of_run(found: Checkpoint, world: World, run: RunDirectory) -> None:
    try:
        round, spec = described(found.files)
    except WireError as error:
        raise TornError(str(error)) from None
    if spec != world.spec.fingerprint.hex():
        what = "has adapters of another shape than the last round left; undo what was changed in it, or begin a new run"
        raise InputError(Problem("", what), str(run.experiment_file))
    if round != found.round:
        raise TornError(f"holds a server of round {round}")
    for client, kept in found.states.items():
        _require_private(client, kept, world)


def _require_private(client: int, kept: Mapping[str, np.ndarray], world: World) -> None:
    """What a client keeps to itself: `gain-SLOT` (1,), `head-SLOT` (classes, columns), `rest-SLOT` (p,)."""
    size = world.spec.size_b if world.experiment.exchange.factors == "b" else world.spec.size
    heads = {(task.classes, world.base.width + 1) for task in world.tasks.values()}
    for name, array in kept.items():
        kind, _, slot = name.partition("-")
        shapes = {"gain": array.shape == (1,), "head": array.shape in heads, "rest": array.shape == (size,)}
        ours = slot.isdecimal() and 0 <= client < world.experiment.clients.count
        fits = shapes.get(kind, False) and array.dtype == (np.float64 if kind == "gain" else np.float32)
        if not ours or not fits or not np.isfinite(array).all():
            raise TornError(f"holds {name} of client {client}, {array.dtype} {array.shape}, which no client keeps")
