"""Speed, side by side: `python -m benchmarks.run [W0-16 W3 ...] [--rounds 6]`.

Flower is an arm where FLOWER_PYTHON names the Python of an environment that has it.

The arms of a workload take turns, round by round, in one run; the first round of each is dropped. They must end with
the same adapters. Prints a table a workload and writes `benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks import arms
from benchmarks.plain import Learned, read, resident
from benchmarks.workloads import WORKLOADS, Workload, written
from fltac.config.model import dtype_of

ARMS = {
    "bare loop": arms.Bare,
    "two processes": arms.Processes,
    "batched": arms.Batched,
    "authors' way": arms.Authors,
    "fltac local": arms.Federation,
    "fltac ray": arms.OnRay,
    "flower": arms.Flower,
}
ONLY = {"batched": ("W1",), "authors' way": ("W3",), "flower": ("W0", "W1", "W2")}
PLAIN = [name for name in ARMS if not name.startswith("fltac")]
ALIKE = 1e-4  # of the norm of what was learned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="W0-64, or W0 for all of its sizes; all where none is named")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--dtype", default="float32", help="model.dtype of fltac's arms; the others compute in float32")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for workload in WORKLOADS:
        name = f"{workload.name}-{workload.clients}"
        if not options.workloads or {name, workload.name} & set(options.workloads):
            chosen = [arm for arm in options.arms if workload.name in ONLY.get(arm, (workload.name,))]
            if "FLOWER_PYTHON" not in os.environ:
                chosen = [arm for arm in chosen if arm != "flower"]
            seconds, results = measured(workload, chosen, options.rounds, options.dtype)
            told(name if options.dtype == "float32" else f"{name}-{options.dtype}", seconds, results)
            near = [arm for arm in results if arm != "authors' way" and (options.dtype == "float32" or arm in PLAIN)]
            wrong = [arm for arm in near if results[arm]["distance"] > ALIKE]
            assert not wrong, f"{wrong} computed something else than {chosen[0]}"


def measured(
    workload: Workload, names: list[str], rounds: int, dtype: str = "float32"
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each round but the first, an arm; processor seconds of the median one, how far its result is from the
    first arm's, and its accuracy."""
    seconds, work = ({name: list[float]() for name in names} for _ in range(2))
    processes: dict[str, list[psutil.Process]] = {}
    with tempfile.TemporaryDirectory() as folder:
        experiment, file = written(workload, rounds, Path(folder))
        there, model = {}, experiment.model.model_copy(update={"dtype": dtype_of(dtype, gpus=0)})
        for name in names:
            before = psutil.Process().children(recursive=True)
            asked = experiment if name in PLAIN else experiment.model_copy(update={"model": model})
            there[name] = ARMS[name](asked, file, Path(folder))
            processes[name] = [one for one in psutil.Process().children(recursive=True) if one not in before]
        for round in range(rounds - 1):
            for name in names[round % len(names) :] + names[: round % len(names)]:
                began, worked = time.perf_counter(), processor(processes[name])
                there[name].round()
                seconds[name].append(time.perf_counter() - began)
                work[name].append(processor(processes[name]) - worked)
        ended = {name: arm.close() for name, arm in there.items()}
        plain, heads = resident(file), read(file)["heads"]
        found = {}
        for name, result in ended.items():
            far = max(distance(result[classes], learned) for classes, learned in ended[names[0]].items())
            right = [plain.accuracy(result[len(head)], task) for task, head in heads.items()]
            spent = statistics.median(work[name])
            found[name] = {"processor": spent, "distance": far, "accuracy": statistics.mean(right)}
            if isinstance(there[name], arms.Federation):
                found[name]["profile"] = there[name].profile()
    return seconds, found


def processor(processes: list[psutil.Process]) -> float:
    """Seconds that this process and an arm's own took of the processor: what other work on the machine hardly moves."""
    return time.process_time() + sum(sum(one.cpu_times()[:2]) for one in processes if one.is_running())


def distance(one: Learned, other: Learned) -> float:
    """Of adapters and of heads, by the norm of the other."""
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(one, other, strict=True))


def told(name: str, seconds: dict[str, list[float]], results: dict[str, Any]) -> None:
    """The table, and the figures with their machine as JSON."""
    medians = {arm: statistics.median(values) for arm, values in seconds.items()}
    others = [arm for arm in medians if not arm.startswith("fltac")]
    head = f"\n{name:14} {'median':>8} {'least':>8} {'most':>8}  {'processor':>9} {'distance':>8} {'accuracy':>8}"
    print(head + "".join(f"{'/ ' + arm:>16}" for arm in others))
    for arm, values in seconds.items():
        ratios = "".join(f"{medians[arm] / medians[other]:16.2f}" for other in others)
        ended = "{processor:9.3f} {distance:8.0e} {accuracy:8.3f}".format(**results[arm])
        print(f"{arm:14} {medians[arm]:8.4f} {min(values):8.4f} {max(values):8.4f}  {ended}{ratios}", flush=True)
    versions = {package: metadata.version(package) for package in ("fltac", "torch", "transformers", "ray", "numpy")}
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    content = {"workload": name, "machine": machine, "seconds": seconds, "medians": medians, "results": results}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
