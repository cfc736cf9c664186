"""Kills at every round and stage, and 50 runs with kills at random: all must end as the run that nobody disturbed.

`python -m benchmarks.chaos OUT [--rounds 2] [--random 50]` writes a line a case to OUT/chaos.jsonl, does not do again
what ended, and prints the table of docs/reliability.md. The runs are those of a random two-layer BERT of width 32 on
made-up sentences, four clients on two actors, on a Ray cluster of the script's own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray

import fltac
from fltac.protocol import Runtime
from fltac.records.rounds import TABLES
from fltac.records.store import RunDirectory
from fltac.runtime import launch
from fltac.runtime.access import make_token
from fltac.runtime.capacity import needed
from fltac.runtime.cluster import Cluster
from fltac.runtime.remote import RayRuntime
from fltac.seeds import generator

STAGES = ("train", "upload", "cluster", "merge", "record")
VICTIMS = ("client", "aggregator", "driver")
LONGEST = 300.0  # seconds that a case may take; more is a hang
CALM = ["resources.actors=2", "faults.timeout_s=120"]
LATE = [  # for kills at random: three are drawn, two are waited for till a simulated deadline that not all of them keep
    *("faults.max_failures=-1", "clients.fraction=0.5", "clients.select=1.5", "faults.round_deadline_s=0.24"),
    "faults.late_weight=0.5",  # a late one counts half in the next round
    'network.tiers=[{name="slow", share=0.25, up_mbps=1, down_mbps=1, tokens_per_s=100}]',
]
Plan = Mapping[tuple[int, str], str]  # round and stage -> who dies


class Chaos:
    """A runtime around another: at the stages of a plan somebody in it dies.

    While clients train, and while the server clusters, it is a second thread that kills, `after` seconds into the
    training and a tenth of them into the server's step; else it is this one: once the updates are there, once they are
    merged, and before the round is recorded.
    """

    def __init__(self, runtime: RayRuntime, plan: Plan, after: float = 0.2) -> None:
        self.runtime, self.plan, self.after, self.struck = runtime, plan, after, list[tuple[int, str, str]]()
        self.start, self.evaluate, self.workers = runtime.start, runtime.evaluate, runtime.workers

    def train(self, round: int, orders: Sequence[Any], post: Any) -> Any:
        self.round = round
        with self._during("train"):
            return self.runtime.train(round, orders, post)

    def aggregate(self, updates: Mapping[int, Any], late: Mapping[int, str]) -> Any:
        self._strike("upload")
        with self._during("cluster"):
            done = self.runtime.aggregate(updates, late)
        self._strike("merge")
        return done

    def snapshot(self, whole: bool) -> dict[str, bytes]:
        self._strike("record")
        return self.runtime.snapshot(whole)

    def _strike(self, stage: str) -> None:
        victim = self.plan.get((self.round, stage))
        if victim is None:
            return
        self.struck.append((self.round, stage, victim))
        if victim == "driver":
            os.kill(os.getpid(), signal.SIGKILL)
        ray.kill(self.runtime.aggregator if victim == "aggregator" else self.runtime.pool.actors[0])

    @contextmanager
    def _during(self, stage: str) -> Iterator[None]:
        timer = threading.Timer(self.after * (0.1 if stage == "cluster" else 1), self._strike, [stage])
        timer.start()
        try:
            yield
        finally:
            timer.join()


def run(out: Path, file: Path, overrides: Sequence[str], plan: Plan, address: str, after: float = 0.2) -> None:
    """Begins a run, or goes on with it, until it ends or its driver dies."""
    experiment, directory = fltac.load(file, overrides), RunDirectory(out)
    with Cluster(partial(needed, experiment), address) as cluster, RayRuntime(cluster.need) as remote:
        remote.warm_up(experiment.model.kind)
        world, setup = launch.prepare(experiment)
        if directory.experiment_file.is_file():
            directory.claim()
        else:
            directory.create(experiment.dump(), launch.provenance("ray"))
        remote.load(world, setup)
        runtime: Runtime = Chaos(remote, plan, after)
        for _ in launch.rounds(world, runtime, directory):
            pass
    launch.conclude(directory)
    directory.release()


def survived(out: Path, file: Path, overrides: Sequence[str], plan: Plan, address: str, after: float) -> int:
    """Runs to the end, each driver in a process of its own that may take LONGEST; how many were needed."""
    for attempt in range(1, 10):
        left = {place: victim for place, victim in plan.items() if victim != "driver" or not _passed(out, place)}
        if attempt > 1:
            died = next(place for place in sorted(left, key=_order) if left[place] == "driver")
            del left[died]  # each dies once
            plan = left
        told = json.dumps([[*place, victim] for place, victim in left.items()])
        command = [sys.executable, "-m", "benchmarks.chaos", str(out), "--one", told, "--file", str(file)]
        command += ["--address", address, "--after", str(after), "--overrides", *overrides]
        said = out.with_name("driver.log")  # no pipe: whoever else holds its end would be waited for
        with said.open("w") as log:
            done = subprocess.run(command, timeout=LONGEST, stdout=log, stderr=log, check=False)
        if done.returncode == 0:
            return attempt
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(said.read_text()[-2000:])
    raise RuntimeError("the driver died more often than the plan says")


def _passed(out: Path, place: tuple[int, str]) -> bool:
    return len(RunDirectory(out).lines()) >= place[0]


def _order(place: tuple[int, str]) -> tuple[int, int]:
    return place[0], STAGES.index(place[1])


def results(out: Path) -> Any:
    """All that a run found out, without clocks."""

    def timeless(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not name.startswith(("seconds", "memory"))}

    run = RunDirectory(out)
    tables = {name: [timeless(row) for row in run.table(name).to_pylist()] for name in TABLES}
    adapters = {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.glob("adapters/*/*"))}
    return [timeless(line) for line in run.lines()], tables, adapters, timeless(run.summary() or {})


def left_over(seconds: float = 30.0) -> list[str]:
    """Actors' processes that are still there after so long: those of the cluster, which is below this process."""
    end = time.monotonic() + seconds
    while True:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                found += [" ".join(process.cmdline())]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        actors = [line for line in found if "ClientActor" in line or "AggregatorActor" in line]
        if not actors or time.monotonic() > end:
            return actors
        time.sleep(0.2)


def plans(rounds: int, random: int) -> Iterator[tuple[str, list[str], Plan, float]]:
    """Name, overrides, plan, and how long into a stage a kill comes."""
    for round in range(1, rounds + 1):
        for stage in STAGES:
            for victim in VICTIMS:
                yield f"{victim}, {stage}, round {round}", CALM, {(round, stage): victim}, 0.2
    for number in range(random):
        draw, plan = generator(0, "chaos", number), dict[tuple[int, str], str]()
        for _ in range(draw.integers(1, 4)):
            victim = VICTIMS[draw.choice(3, p=[0.45, 0.45, 0.1])]
            plan[int(draw.integers(1, rounds + 1)), STAGES[draw.integers(5)]] = victim
        yield f"random {number}", [*CALM, *LATE], plan, float(draw.uniform(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--random", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no case after so long")
    for name, kind in (("--one", str), ("--file", Path), ("--address", str), ("--after", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--overrides", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        plan = {(round, stage): victim for round, stage, victim in json.loads(options.one)}
        run(options.out, options.file, options.overrides, plan, options.address, options.after)
    else:
        every(options)


def every(options: argparse.Namespace) -> None:
    from ray.cluster_utils import Cluster as Own

    from tests.tiny import write_tiny

    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "data" / "tiny.toml"
    if not file.is_file():
        write_tiny(out / "data")
    tried = [json.loads(line) for line in _lines(out / "chaos.jsonl")]
    done = {row["case"]: row for row in tried if not row["error"]}
    expected = {}
    end = time.monotonic() + 60 * options.minutes
    make_token()  # the cluster has the one that runs send
    cluster = Own(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        for case, asked, plan, after in plans(options.rounds, options.random):
            overrides = [*asked, f"rounds={options.rounds}"]
            if case in done or time.monotonic() > end:
                continue
            if tuple(overrides) not in expected:
                shutil.rmtree(out / "calm", ignore_errors=True)
                fltac.run(fltac.load(file, overrides), out=out / "calm", runtime="local")
                expected[tuple(overrides)] = results(out / "calm")
            shutil.rmtree(out / "run", ignore_errors=True)
            began, error, drivers = time.monotonic(), "", 0
            try:
                drivers = survived(out / "run", file, overrides, plan, cluster.address, after)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
            seconds = time.monotonic() - began
            same = not error and results(out / "run") == expected[tuple(overrides)]
            kills = [f"{victim} in {stage} of {round}" for (round, stage), victim in plan.items()]
            row = {"case": case, "kills": kills, "same": same, "left": left_over(), "drivers": drivers}
            tried.append(row | {"seconds": round(seconds, 1), "error": error})
            with (out / "chaos.jsonl").open("a") as lines:
                lines.write(json.dumps(tried[-1]) + "\n")
            print(json.dumps(tried[-1]), flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()
    table(tried)


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """A row a victim, and one for kills at random: of all that was tried, what was tried again too."""
    print("| who dies | runs | kills | as undisturbed | hung or failed | processes left | seconds, longest |")
    print("|---|---|---|---|---|---|---|")
    for name in (*VICTIMS, "random"):
        each = [row for row in rows if row["case"].startswith(name)]
        if each:
            sums = [sum(len(row["kills"]) for row in each), sum(row["same"] for row in each)]
            sums += [sum(bool(row["error"]) for row in each), sum(len(row["left"]) for row in each)]
            seconds = [row["seconds"] for row in each]
            middle = float(np.median(seconds))
            print(f"| {name} | {len(each)} | {' | '.join(map(str, sums))} | {middle:.0f}, {max(seconds):.0f} |")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []


if __name__ == "__main__":
    main()
