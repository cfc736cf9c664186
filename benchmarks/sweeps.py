"""Does a long sweep hold? Processes and memory as it goes, and what a point costs beside running it alone.

    python -m benchmarks.sweeps OUT [--points 200]

Runs `fltac sweep` of the tests' tiny experiment over as many seeds into OUT/sweep, looks at the driver and its actors
each second (OUT/sweeps.jsonl), and then runs the first ten points in this process, without a sweep and without Ray. The
table has the driver's memory between a tenth and a fifth of the points, and of the last tenth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import psutil

import fltac
from fltac.records.sweeps import SweepDirectory

ALONE = 10  # points


def main() -> None:
    from tests.tiny import write_tiny

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--points", type=int, default=200)
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True)
    file, directory = write_tiny(out), SweepDirectory(out / "sweep")
    (out / "log").touch()
    with (out / "log").open("w") as log, (out / "sweeps.jsonl").open("w") as lines:
        seeds = f"sweep.space.seed.grid={list(range(options.points))}"
        command = [sys.executable, "-m", "fltac", "sweep", str(file), seeds, "--out", str(directory.path)]
        driver = psutil.Popen(command, stdout=log, stderr=log)
        began, seen, below = time.monotonic(), list[dict[str, float]](), set[psutil.Process]()
        while driver.poll() is None:
            if (look := looked(driver, directory, below)) is not None:
                seen.append({"seconds": round(time.monotonic() - began, 1), **look})
                print(json.dumps(seen[-1]), file=lines, flush=True)
            time.sleep(1)
        seconds = time.monotonic() - began
    if driver.returncode:
        sys.exit((out / "log").read_text()[-2000:])
    time.sleep(5)
    left = [one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    began = time.monotonic()
    for seed in range(ALONE):
        fltac.run(fltac.load(file, [f"seed={seed}"]), out=out / f"alone-{seed}", runtime="local")
    alone = (time.monotonic() - began) / ALONE
    equal = sum(_same(directory.run(seed).path, out / f"alone-{seed}") for seed in range(ALONE))
    table(options.points, seconds, alone, seen, len(left), equal)


def looked(driver: psutil.Popen, directory: SweepDirectory, below: set[psutil.Process]) -> dict[str, int] | None:
    """Points done, the driver's resident bytes, and how many of each actor are below it; None once it is gone."""
    try:
        memory, here = driver.memory_info().rss, driver.children(recursive=True)
        actors = Counter("".join(one.cmdline()[:1]).partition(".")[0] for one in here)
    except psutil.NoSuchProcess:
        return None
    below.update(here)
    done = sum(1 for _ in directory.path.glob("points/*/summary.json"))
    named = {name: actors[f"ray::{name}"] for name in ("ClientActor", "AggregatorActor", "ResourceTrainable")}
    return {"done": done, "memory": memory, **named}


def table(points: int, seconds: float, alone: float, seen: list[dict[str, float]], left: int, equal: int) -> None:
    """What the looks say."""
    early = [look["memory"] for look in seen if points / 10 <= look["done"] < points / 5]
    late = [look["memory"] for look in seen if look["done"] >= points * 0.9]
    first = next(look for look in seen if look["done"])
    last = next(look for look in seen if look["done"] >= points - 1)
    each = (last["seconds"] - first["seconds"]) / (last["done"] - first["done"])
    most = {name: max(look[name] for look in seen) for name in ("ClientActor", "AggregatorActor", "ResourceTrainable")}
    print("| points | seconds in all | a point, in the sweep | a point, alone | driver, MB | actors at most | left |")
    print("|---|---|---|---|---|---|---|")
    memory = f"{median(early) / 1e6:.0f}, {median(late) / 1e6:.0f}"
    actors = ", ".join(f"{count} {name}" for name, count in most.items())
    print(f"| {points} | {seconds:.0f} | {each:.2f} | {alone:.2f} | {memory} | {actors} | {left} |")
    print(f"{equal} of {ALONE} points have the accuracy and bytes of the run alone")


def _same(*runs: Path) -> bool:
    keys = ("accuracy", "bytes_up", "bytes_down", "ari")
    one, other = (json.loads((run / "summary.json").read_text()) for run in runs)
    return all(one[key] == other[key] for key in keys)


if __name__ == "__main__":
    main()
