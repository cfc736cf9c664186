"""S1, the server's step alone: planted adapters in, clusters and their adapters out; seconds, memory, what was found.

    python -m benchmarks.server [--sizes 100 1000 10000] [--similarity blend flat] [--repeats 5] [--exact 1000]

Each measurement is a process of its own. Payloads are made by the wire's own encoder (`benchmarks/planted.py` says of
what), then `Aggregator.step` decodes, screens, compares, clusters, settles, follows and merges them, as in a run; the
method is `fltac`, all defaults, but for --similarity. `cluster` and `merge` are the step's own clocks; `step` is all of
it, with decoding, screening and the rows of the record; `busy` is the share of it that a core worked for it. Memory is
the highest resident size during the step less that just before it, when all payloads are there (Linux: VmHWM). ARI
against the planted tasks. --exact adds sizes at which sketches are off, for the ARI that they lose.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "server.json"
TASKS = 10
MIB = 2**20


def main(arguments: list[str] | None = None) -> None:
    """Prints a table and writes results/server.json; with --one, measures one size and prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--similarity", nargs="+", default=["blend", "flat"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--exact", type=int, nargs="*", default=[1000])
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--one", nargs=3, metavar=("SIZE", "SIMILARITY", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--no-sketch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        size, similarity, seed = options.one
        print(json.dumps(one(int(size), similarity, int(seed), options.tasks, not options.no_sketch)))
        return
    arms = [(size, similarity, True) for size in options.sizes for similarity in options.similarity]
    arms += [(size, similarity, False) for size in options.exact for similarity in options.similarity]
    found: dict[tuple[int, str, bool], list[dict]] = {arm: [] for arm in arms}
    for repeat in range(options.repeats):
        for arm in arms:  # in turn, so that a busy machine slows all alike
            found[arm].append(apart(*arm, repeat, options.tasks))
    report(found, options)


def apart(size: int, similarity: str, sketched: bool, seed: int, tasks: int) -> dict:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.server", "--one", str(size), similarity, str(seed)]
    command += ["--tasks", str(tasks), *([] if sketched else ["--no-sketch"])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(size: int, similarity: str, seed: int, tasks: int, sketched: bool) -> dict:
    """A step on `size` adapters, two a client."""
    from benchmarks.planted import Planted
    from fltac.config import parse_codec
    from fltac.records.scoring import agreement
    from fltac.server.aggregator import Aggregator
    from fltac.server.state import Parcel
    from fltac.wire.codecs import encode
    from fltac.wire.messages import Update

    planted, count = Planted(tasks, seed=seed), size // 2
    codec, who = parse_codec("float32"), planted.spec.fingerprint
    parcels = []
    for client in range(count):
        for slot in range(planted.slots):
            update = Update(1, client, slot, who, planted.adapter(client, slot, planted.start), (), 100)
            parcels.append(Parcel(client, encode(update, codec, planted.spec, None)))
    truths = [task for client in range(count) for task in planted.held(client)]
    server = Aggregator(setup(planted, count, similarity, sketched))
    server.step(server.start(), [parcel for parcel in parcels if parcel.sender < 4])  # imports, and BLAS awake
    before = reset_peak()
    began, cpu = time.perf_counter(), time.process_time()
    state, report = server.step(server.start(), parcels)
    step, busy, most = time.perf_counter() - began, time.process_time() - cpu, peak()
    score = agreement([state.labels[key] for key in sorted(state.labels)], truths)
    return {
        "cluster": report.seconds_cluster,
        "merge": report.seconds_merge,
        "step": step,
        "busy": busy / step,
        "mib": (most - before) / MIB,
        "payload_mib": sum(len(parcel.payload) for parcel in parcels) / MIB,
        "ari": score.ari,
        "clusters": len(set(state.labels.values())),
        "noise": report.noise,
    }


def setup(planted, count: int, similarity: str, sketched: bool):
    """What the server of such a federation is told."""
    from fltac.config import Exchange, Hdbscan, Mean
    from fltac.server.state import Setup, Slot

    config = similarities()[similarity]
    if not sketched:
        config = config.model_copy(update={"sketch_above": None})
    registry = {(client, slot): (Slot("2x385"),) for client in range(count) for slot in range(planted.slots)}
    return Setup(
        seed=planted.seed,
        spec=planted.spec,
        start=planted.start,
        start_heads={},
        registry=registry,
        exchange=Exchange(heads="local"),
        similarity=config,
        clustering=Hdbscan(type="hdbscan"),
        merging=Mean(type="mean"),
        down="float32",
    )


def similarities() -> dict:
    from fltac.config import B, Blend, Flat, Product, Subspace

    return {cls.__name__.lower(): cls(type=cls.__name__.lower()) for cls in (B, Blend, Flat, Product, Subspace)}


def reset_peak() -> int:
    """Resident bytes now; `peak` counts from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that were resident since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def report(found: dict[tuple[int, str, bool], list[dict]], options: argparse.Namespace) -> None:
    """The table, growth exponents, and all figures with their machine as JSON."""
    middle = {
        arm: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for arm, runs in found.items()
    }
    print(f"{'adapters':>8} {'similarity':>10} {'sketch':>7} {'cluster+merge s':>16} {'least':>7} {'most':>7} ", end="")
    print(f"{'merge s':>8} {'step s':>8} {'busy':>5} {'MiB':>7} {'payload MiB':>12} {'ARI':>6} {'growth':>7}")
    rows = []
    for (size, similarity, sketched), runs in found.items():
        own = [run["cluster"] + run["merge"] for run in runs]
        now, smaller = middle[size, similarity, sketched], [one for one in options.sizes if one < size]
        growth = None
        if sketched and smaller:
            past = [run["cluster"] + run["merge"] for run in found[max(smaller), similarity, True]]
            ratio = statistics.median(own) / statistics.median(past)
            growth = math.log(ratio) / math.log(size / max(smaller))
        row = {"adapters": size, "similarity": similarity, "sketch": sketched, "seconds": own, "growth": growth}
        rows.append(row | {"median": now, "runs": runs})
        print(f"{size:8} {similarity:>10} {'auto' if sketched else 'never':>7} {statistics.median(own):16.2f} ", end="")
        print(f"{min(own):7.2f} {max(own):7.2f} {now['merge']:8.2f} {now['step']:8.2f} {now['busy']:5.2f} ", end="")
        print(
            f"{now['mib']:7.0f} ",
            end="",
        )
        print(f"{now['payload_mib']:12.0f} {now['ari']:6.3f} {'' if growth is None else format(growth, '.2f'):>7}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine(), "tasks": options.tasks, "rows": rows}, indent=2) + "\n")


def machine() -> dict:
    """Where figures were taken."""
    import hdbscan
    import numpy
    import sklearn

    import fltac

    libraries = {"fltac": fltac, "numpy": numpy, "scikit-learn": sklearn}
    versions = {name: library.__version__ for name, library in libraries.items()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "versions": versions | {"hdbscan": getattr(hdbscan, "__version__", "")},
    }


if __name__ == "__main__":
    main()
