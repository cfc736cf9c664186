"""The arms: ways to run a workload, a round at a time. The first round is over when an arm has been made."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load

import fltac
from benchmarks.plain import Key, Learned, Model, Server, read, resident
from fltac.config import Experiment
from fltac.records.rounds import RoundRecord
from fltac.records.store import RunDirectory


class Bare:
    """One process and one loop, one adapter after another."""

    def __init__(self, experiment: Experiment, file: Path, folder: Path) -> None:
        self.work, self.number = read(file), 0
        self.server, self.model = Server(self.work), resident(file)
        self.round()

    def round(self) -> None:
        self.number += 1
        self.server.step({key: self._trained([key])[0] for key in self.work["holders"]})
        for cluster, task in self.server.questions():
            self.model.accuracy(self.server.judged(cluster, task), task)

    def close(self) -> dict[int, Learned]:
        return self.server.result()

    def _trained(self, keys: Sequence[Key]) -> list[Learned]:
        task, _ = self.work["holders"][keys[0]]
        batches = [self.work["batches"][*key, self.number] for key in keys]
        return self.model.train([self.server.sent(key) for key in keys], task, batches)


class Batched(Bare):
    """One process, all adapters in one forward pass."""

    def round(self) -> None:
        self.number += 1
        keys = list(self.work["holders"])
        self.server.step(dict(zip(keys, self._trained(keys), strict=True)))
        for cluster, task in self.server.questions():
            self.model.accuracy(self.server.judged(cluster, task), task)


class Authors(Bare):
    """The paper's authors' way: one process on all cores, each client in turn is given weights by name and gives them
    back, all texts padded to 128 tokens."""

    def __init__(self, experiment: Experiment, file: Path, folder: Path) -> None:
        self.work, self.number = read(file), 0
        self.server, self.model = Server(self.work), Model(self.work, padded=128)
        self.round()

    def round(self) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        super().round()
        torch.set_num_threads(1)

    def _trained(self, keys: Sequence[Key]) -> list[Learned]:
        self.model.module.load_state_dict({n: t.clone() for n, t in self.model.module.state_dict().items()})
        return super()._trained(keys)


class Processes:
    """Two processes, each with a model, and a queue: the floor of all that runs on two cores."""

    def __init__(self, experiment: Experiment, file: Path, folder: Path) -> None:
        self.work, self.number, self.server = read(file), 0, Server(read(file))
        context = multiprocessing.get_context("spawn")
        self.answers = context.SimpleQueue()
        self.orders = [context.SimpleQueue() for _ in range(2)]
        self.workers = [context.Process(target=_work, args=(file, o, self.answers), daemon=True) for o in self.orders]
        for worker in self.workers:
            worker.start()
        self.round()

    def round(self) -> None:
        self.number += 1
        keys = list(self.work["holders"])
        learned: dict[Key, Learned] = {}
        for answer in self._asked([("train", self.number, self._sent(keys[half::2])) for half in range(2)]):
            learned |= answer
        self.server.step(learned)
        asked = [(task, self.server.judged(cluster, task)) for cluster, task in self.server.questions()]
        self._asked([("judge", 0, asked[half::2]) for half in range(2)])

    def close(self) -> dict[int, Learned]:
        for orders, worker in zip(self.orders, self.workers, strict=True):
            orders.put(None)
            worker.join()
        return self.server.result()

    def _sent(self, keys: Sequence[Key]) -> list[tuple[Key, Learned]]:
        return [(key, self.server.sent(key)) for key in keys]  # pickle writes an array that is sent twice once

    def _asked(self, orders: Sequence[Any]) -> list[Any]:
        for queue, order in zip(self.orders, orders, strict=True):
            queue.put(order)
        return [self.answers.get() for _ in orders]


def _work(file: Path, orders: Any, answers: Any) -> None:
    model, work = resident(file), read(file)
    while (order := orders.get()) is not None:
        what, round, each = order
        if what == "judge":
            answers.put([model.accuracy(learned, task) for task, learned in each])
        else:
            batches = work["batches"]
            done = {k: model.train([sent], work["holders"][k][0], [batches[*k, round]])[0] for k, sent in each}
            answers.put(done)


class Federation:
    """fltac itself, as a user runs it; each round waits for its turn before the next begins."""

    runtime = "local"

    def __init__(self, experiment: Experiment, file: Path, folder: Path) -> None:
        self.experiment, self.layers, self.out = experiment, read(file)["layers"], folder / self.runtime
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: BaseException | None = None
        self.waited: list[float] = []  # after each round
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self._wait()

    def round(self) -> None:
        self.go.release()
        self._wait()

    def profile(self) -> dict[str, float]:
        """Where the median round's time went, without its turns' waiting."""
        lines = RunDirectory(self.out).lines()[1:]
        for line, waited in zip(lines, self.waited, strict=False):
            line["seconds"] -= waited
            line["seconds_record"] -= waited
        clocks = [name for name in lines[0] if name.startswith("seconds")]
        return {name: statistics.median(line[name] for line in lines) for name in clocks}

    def close(self) -> dict[int, Learned]:
        self.go.release()
        self.thread.join()
        found: dict[int, Learned] = {}
        for file in RunDirectory(self.out).last_adapters()[1].values():
            tensors = load(file.read_bytes())
            parts = [tensors[f"{layer}.{factor}"] for layer in self.layers for factor in ("lora_A", "lora_B")]
            adapter = np.concatenate([part.ravel() for part in parts])
            found |= {len(head): (adapter, head) for name, head in tensors.items() if name.startswith("head.")}
        return found

    def _run(self) -> None:
        try:
            fltac.run(self.experiment, out=self.out, runtime=self.runtime, tell=self._told)
        except BaseException as error:
            self.failure = error
        finally:
            self.done.release()

    def _told(self, record: RoundRecord) -> None:
        began = time.perf_counter()
        self.done.release()
        self.go.acquire()
        self.waited.append(time.perf_counter() - began)

    def _wait(self) -> None:
        self.done.acquire()
        if self.failure is not None:
            raise self.failure


class OnRay(Federation):
    """On two client actors."""

    runtime = "ray"


class Flower:
    """Flower's simulation on two CPUs, in an environment of its own: `benchmarks/flower.py`."""

    def __init__(self, experiment: Experiment, file: Path, folder: Path) -> None:
        self.result = folder / "flower.npz"
        command = [os.environ["FLOWER_PYTHON"], "-m", "benchmarks.flower", file, str(experiment.rounds), self.result]
        here = {"PYTHONPATH": str(Path(__file__).parent.parent), "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": (folder / "flower.log").open("w")}
        self.process = subprocess.Popen(command, env=os.environ | here, text=True, **pipes)
        self.round()

    def round(self) -> None:
        print("go", file=self.process.stdin, flush=True)
        while (line := self.process.stdout.readline()) != "done\n":
            if not line:
                raise RuntimeError((self.result.parent / "flower.log").read_text()[-2000:])

    def close(self) -> dict[int, Learned]:
        self.process.communicate()
        saved = np.load(self.result)
        return {len(saved["head"]): (saved["adapter"], saved["head"])}
