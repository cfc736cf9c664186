"""All data in one place, on Ray Train: a group of workers that take parts of every batch, the bar of a federation.

The round loop is the federation's own with a single client. It runs in the first worker; the others follow it, call
by call, so that all have trained the same when it goes on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import train
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2._internal.exceptions import RayTrainError
from ray.util.queue import Empty, Queue

from fltac.errors import StoppedError, behind, first_line
from fltac.federation import federate
from fltac.model.training import Score
from fltac.orders import Job, Ledger, Order
from fltac.records.rounds import RoundRecord
from fltac.records.store import RunDirectory
from fltac.runtime.capacity import Need
from fltac.runtime.local import LocalRuntime
from fltac.runtime.pool import LOST
from fltac.server.state import Post, Setup
from fltac.world import World

LOOK_SECONDS = 0.5  # between looks whether the workers have ended
END_SECONDS = 30.0  # for them to be gone
GO_ON = "what is finished is kept, and fltac resume goes on"
STARTS = 5  # of the workers, for each of which Ray Train waits a minute; by itself it would try for ever


def run_central(
    world: World,
    setup: Setup,
    directory: RunDirectory,
    need: Need,
    tell: Callable[[RoundRecord], None],
    say: Callable[[str], None],
    began: float | None = None,
) -> None:
    """The rounds that the run still lacks, on `need.actors` workers; Ray Train's own files are gone afterwards.

    One worker computes what `local.py` computes, to the bit; several add their parts of a gradient in another order.
    The run directory must be on storage that all nodes share. Raises what a worker raised, and StoppedError where the
    workers do not start, or are silent for longer than `faults.timeout_s`.
    """
    records = Queue(actor_options={"num_cpus": 0})
    folder = directory.path.resolve() / "ray-train"
    told = {
        "world": ray.put(world),
        "setup": setup,
        "run": str(directory.path.resolve()),
        "began": began,
        "records": records,
    }
    fitted = ray.remote(num_cpus=0, max_retries=0)(_fit).remote(told, need, folder)
    try:
        _tell_all(records, fitted, tell, say, setup.faults.timeout_s)
        ray.get(fitted)
    except StoppedError as error:
        raise behind(error) from None
    except LOST as error:
        raise StoppedError(f"the workers are gone ({first_line(behind(error))}); {GO_ON}") from None
    finally:
        with suppress(*LOST):  # its process ends, and with it all that it started
            ray.cancel(fitted, force=True)
        ray.wait([fitted], timeout=END_SECONDS)
        records.shutdown(force=True)
        shutil.rmtree(folder, ignore_errors=True)


# Ray Train in a process of its own: in ours it would take Ctrl-C for itself and exit with 0, and in a thread of ours
# it could not be ended, which breaks the process once Ray is shut down
def _fit(told: dict[str, Any], need: Need, folder: Path) -> None:
    """Has the workers work to the end. Raises what one of them raised."""
    resources = {"CPU": need.num_cpus} | ({"GPU": need.num_gpus} if need.num_gpus else {})
    trainer = TorchTrainer(
        _work,
        train_loop_config=told,
        scaling_config=train.ScalingConfig(
            num_workers=need.actors, use_gpu=need.num_gpus > 0, resources_per_worker=resources
        ),
        run_config=train.RunConfig(
            name="central",
            storage_path=str(folder),
            failure_config=train.FailureConfig(controller_failure_limit=STARTS - 1),
        ),
    )
    try:
        trainer.fit()
    except train.WorkerGroupError as error:  # which tells of each worker's error in parts
        errors = sorted(error.worker_failures.values(), key=lambda one: not isinstance(one, RayTrainError))
        if isinstance(errors[0], RayTrainError):  # a worker that is gone, which the others take for an error of theirs
            raise StoppedError(f"a worker is gone ({first_line(errors[0])}); {GO_ON}") from None
        raise errors[0] from None
    except train.ControllerError as error:
        what = f"{need.actors} workers did not start, or did not go on: {first_line(error.controller_failure)}"
        raise StoppedError(what) from None


def _tell_all(
    records: Queue, fitted: Any, tell: Callable[[RoundRecord], None], say: Callable[[str], None], patience: float
) -> None:
    """Rounds and lines as the workers send them, until they have ended."""
    heard = time.monotonic()
    while True:
        ended, _ = ray.wait([fitted], timeout=0)  # before the look: what was sent until then is there
        try:
            record = records.get(timeout=LOOK_SECONDS)
        except Empty:
            if ended:
                return
            if time.monotonic() > heard + patience:
                what = f"the workers finished no round in {patience:g} s (faults.timeout_s)"
                raise StoppedError(f"{what}; ray list actors shows whether they are there") from None
            continue
        heard = time.monotonic()
        say(record) if isinstance(record, str) else tell(record)


def _work(config: dict[str, Any]) -> None:
    """What each worker runs; Ray Train has made them a team."""
    import torch

    if get_device().type == "cuda":
        torch.cuda.set_device(get_device())
    with LocalRuntime(ray.get(config["world"]), config["setup"]) as local:
        if train.get_context().get_world_rank() > 0:
            _follow(local)
            return
        leader = _Leader(local)
        directory = RunDirectory(config["run"], config["records"].put)
        for record in federate(local.host.world, leader, directory, config["began"]):
            config["records"].put(record)
            leader.report(record.line)
        _say(None)


def _follow(local: LocalRuntime) -> None:
    while (call := _say(None)) is not None:
        name, values = call
        CALLS[name](local, *values)


class _Leader:
    """The runtime of the first worker: what is trained and judged, all do together."""

    def __init__(self, local: LocalRuntime) -> None:
        self.local, self.workers = local, train.get_context().get_world_size()
        self.start, self.aggregate, self.snapshot = local.start, local.aggregate, local.snapshot

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[Mapping[int, Any], Ledger]:
        updates, ledger = self._all("train", round, orders, post)
        return updates, ledger

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        scores: list[Score] = self._all("evaluate", jobs, post)
        return scores

    def report(self, line: Mapping[str, Any]) -> None:
        """The round's figures, where Ray's dashboard shows them."""
        self._all("report", {name: value for name, value in line.items() if isinstance(value, int | float)})

    def _all(self, name: str, *values: Any) -> Any:
        _say((name, values))
        return CALLS[name](self.local, *values)


def _evaluate(local: LocalRuntime, jobs: Sequence[Job], post: Post) -> list[Score]:
    """Each worker judges a part; the first gets all scores, in order."""
    from torch import distributed

    count, rank = train.get_context().get_world_size(), train.get_context().get_world_rank()
    mine = local.evaluate(jobs[rank::count], post)
    if count == 1:
        return mine
    parts: list[Any] | None = [None] * count if rank == 0 else None
    distributed.gather_object(mine, parts)
    return [parts[index % count][index // count] for index in range(len(jobs))] if parts else []


CALLS: dict[str, Callable[..., Any]] = {
    "train": lambda local, *values: local.train(*values),
    "evaluate": _evaluate,
    "report": lambda local, line: train.report(line),
}


def _say(call: tuple[str, tuple[Any, ...]] | None) -> Any:
    """From the first worker to all; the others call it to hear."""
    from torch import distributed

    heard = [call]
    if train.get_context().get_world_size() > 1:
        distributed.broadcast_object_list(heard, device=get_device() if distributed.get_backend() == "nccl" else None)
    return heard[0]
