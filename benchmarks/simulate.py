"""Ten thousand clients with two tasks each through the product's own rounds, without training: what the house takes.

    python -m benchmarks.simulate [--clients 10000] [--rounds 2] [--tasks 10]

Real: the round loop, orders and packs, what a client does beside training, the wire's encoding and decoding both ways,
the local runtime's server (screening, similarity, clustering, settling, tracking, merging), the post, records and the
run directory. Not real: there is no model. What a client learns is drawn (`benchmarks/planted.py`), on top of what it
was sent, and each score is the same. The run directory gets the clusters and not the slots' last adapters, which
resuming needs: they are as large as the payloads. Prints a line a round and writes results/simulate.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import fltac
from benchmarks.planted import SPEC, Planted
from benchmarks.server import MIB, machine, peak, reset_peak
from fltac.client import Begun, Client
from fltac.data.shards import Shard, Shards
from fltac.federation import federate
from fltac.host import Host
from fltac.model.backbone import Base
from fltac.model.kinds.text_classification import Texts
from fltac.model.training import Score, Trained
from fltac.orders import Job
from fltac.records.store import RunDirectory
from fltac.runtime.local import LocalRuntime
from fltac.setup import server_setup
from fltac.wire.codecs import decode
from fltac.world import Asked, EncodedTask, World

RESULT = Path(__file__).parent / "results" / "simulate.json"
EXAMPLES, TOKENS, WIDTH, CLASSES = 64, 32, 384, 2
TOML = """
name = "simulated"
[model]
source = { type = "path", path = "none" }
[adapter]
rank = 4
[clients]
partition = { type = "dirichlet", alpha = 1.0 }
[training]
steps = 1
pack = 64
[exchange]
restart = false
"""
TASK = """
[[tasks]]
name = "task-{}"
source = {{ type = "files", train = "none.parquet", test = "none.parquet" }}
inputs = ["text"]
"""


class DrawingHost(Host):
    """A worker without a model: what it learns is drawn."""

    def __init__(self, world: World, planted: Planted) -> None:
        self.world, self.planted, self.rate, self.backbone = world, planted, 0.0, None  # type: ignore[assignment]

    def _trained(self, begun: Sequence[tuple[Client, Begun]]) -> dict[int, tuple[Trained, float]]:
        done = {}
        for index, (client, one) in enumerate(begun):
            began = time.perf_counter()
            adapter = self.planted.adapter(client.number, one.slot, one.learner.adapter, client.round)
            done[index] = Trained(adapter, list(one.learner.heads), 1.0), time.perf_counter() - began
        return done

    def evaluate(self, jobs: Sequence[Job], payloads: Mapping[int, bytes]) -> list[Score]:
        for job in jobs:
            decode(payloads[job.payload], self.world.spec)
        return [Score(1, 1, 1, 0.0, 0.0, np.eye(CLASSES, dtype=np.int64)) for _ in jobs]


class Simulated(LocalRuntime):
    """The local runtime on such a worker."""

    def __init__(self, world: World, planted: Planted, setup) -> None:
        import torch

        from fltac.server.aggregator import Aggregator

        self._threads = torch.get_num_threads()
        self.world, self.host, self.aggregator = world, DrawingHost(world, planted), Aggregator(setup)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=10)
    options = parser.parse_args(arguments)
    began, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        lines = simulated(Path(folder), options.clients, options.rounds, options.tasks)
    took = {"seconds": time.perf_counter() - began, "seconds_cpu": time.process_time() - cpu}
    print(f"{options.clients} clients: {took['seconds']:.0f} s ({took['seconds_cpu']:.0f} s of one core)", end=", ")
    print(f"{max(line['memory_mib'] for line in lines):.0f} MiB at most")
    RESULT.parent.mkdir(exist_ok=True)
    found = {"machine": machine(), "clients": options.clients, "tasks": options.tasks, **took, "rounds": lines}
    RESULT.write_text(json.dumps(found, indent=2) + "\n")


def simulated(folder: Path, clients: int, rounds: int, tasks: int) -> list[dict]:
    """The lines of so many rounds."""
    (folder / "simulated.toml").write_text(TOML + "".join(TASK.format(task) for task in range(tasks)))
    experiment = fltac.load(
        folder / "simulated.toml", [f"rounds={rounds}", f"clients.count={clients}", "checkpoint.keep=0"]
    )
    planted = Planted(tasks, seed=experiment.seed)
    shards: Shards = {
        (client, slot): (Shard(f"task-{task}", np.arange(EXAMPLES)),)
        for client in range(clients)
        for slot, task in enumerate(planted.held(client))
    }
    names = [f"task-{task}" for task in range(tasks)]
    base = Base("text-classification", None, "classifier", WIDTH, (), {}, "float32")
    world = World(experiment, base, {name: encoded() for name in names}, shards, SPEC)
    told = SimpleNamespace(
        experiment=experiment, shards=shards, spec=SPEC, width=WIDTH, classes=dict.fromkeys(names, CLASSES)
    )
    run, lines = RunDirectory(folder / "run"), []
    run.create(experiment.dump(), {})
    with Simulated(world, planted, server_setup(told)) as runtime:  # type: ignore[arg-type]
        reset_peak()
        cpu = time.process_time()
        for record in federate(world, runtime, run):
            now = time.process_time()
            line = {name: value for name, value in record.line.items() if name.startswith(("seconds", "bytes"))}
            line |= {name: record.line[name] for name in ("round", "updates", "clusters", "noise", "ari", "refused")}
            lines.append(line | {"seconds_cpu": now - cpu, "memory_mib": peak() / MIB})
            print(
                f"round {line['round']}: {line['updates']} updates, {line['bytes_up'] / MIB:.0f} MiB up, "
                f"{line['bytes_down'] / MIB:.0f} down; {line['seconds']:.0f} s ({now - cpu:.0f} of one core), clients "
                f"{line['seconds_training']:.0f}, server {line['seconds_server']:.0f}, of it clustering "
                f"{line['seconds_cluster']:.0f} and merging {line['seconds_merge']:.0f}; {line['clusters']} clusters, "
                f"ARI {line['ari']:.3f}; {peak() / MIB:.0f} MiB at most",
                flush=True,
            )
            cpu = time.process_time()
    run.release()
    return lines


def encoded() -> EncodedTask:
    """A task of a few examples whose words are never looked at."""
    ids, offsets = np.zeros(EXAMPLES * TOKENS, np.int32), np.arange(0, EXAMPLES * TOKENS + 1, TOKENS)
    some = Texts(ids, None, 0, offsets, np.arange(EXAMPLES) % CLASSES)
    none = Texts(ids[:0], None, 0, offsets[:1], some.answers[:0])
    return EncodedTask(("no", "yes"), CLASSES, CLASSES, 0.5, some, none, some, Asked(offsets[:0], (), ()))


if __name__ == "__main__":
    main()
