"""What the commands behind the tables share: runs that are there once finished, and intervals over seeds."""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import fltac
from fltac.records.store import RunDirectory
from fltac.report.fronts import interval as student


def parser(doc: str | None, seeds: int, first: int) -> argparse.ArgumentParser:
    """The options that all of them have; `first` is the first seed that nobody had looked at."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True, help="folder with text/subj/train.parquet and so on")
    options.add_argument("--out", type=Path, required=True, help="folder for the runs")
    options.add_argument("--seeds", type=int, default=seeds)
    options.add_argument("--first-seed", type=int, default=first)
    options.add_argument("--workers", type=int, default=2, help="runs at a time, one core each")
    return options


def seeds(options: argparse.Namespace) -> range:
    """The seeds that were asked for."""
    return range(options.first_seed, options.first_seed + options.seeds)


def runs(
    file: Path, cases: Mapping[str, Sequence[str]], options: argparse.Namespace, chosen: Sequence[int] | None = None
) -> dict[tuple[str, int], RunDirectory]:
    """The finished run of each case (overrides of the file) and seed, under the folder that was asked for."""
    keys = list(itertools.product(cases, seeds(options) if chosen is None else chosen))
    jobs = [
        (file, options.out / slug(case) / f"seed-{seed}", [*cases[case], f"seed={seed}", f"data.root={options.data}"])
        for case, seed in sorted(keys, key=lambda key: key[1])  # a seed of all cases before the next
    ]
    mapped(finished, jobs, options.workers)
    return {(case, seed): RunDirectory(options.out / slug(case) / f"seed-{seed}") for case, seed in keys}


def slug(case: str) -> str:
    """The name of its folder."""
    return case.replace(", ", "-").replace(" ", "")


def mapped(one: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int) -> list[Any]:
    """`one(*job)` of each job, in order, some at a time."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(one, *zip(*jobs, strict=True)))


def finished(file: Path, folder: Path, overrides: Sequence[str]) -> RunDirectory:
    """The run in the folder; made where it is not there, continued where it was stopped.

    Raises ValueError where the folder holds a run of another experiment, whose results would be taken for this one's.
    """
    run, asked = RunDirectory(folder), fltac.load(file, overrides)
    if not run.experiment_file.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # what a torn start left
        fltac.run(asked, out=folder, runtime="local")
    elif fltac.load(run.experiment_file) != asked:
        raise ValueError(f"{folder} holds a run of another experiment; name another --out")
    elif run.summary() is None:
        fltac.resume(folder, runtime="local")
    return run


def interval(values: Sequence[float], most: float = np.inf, places: int = 2) -> str:
    """Mean and Student's 95 % interval, cut at `most`."""
    mean, half = student(np.array(values, dtype=float))
    if np.isnan(half):
        return f"{mean:.{places}f}"
    return f"{mean:.{places}f} ({mean - half:.{places}f}, {min(mean + half, most):.{places}f})"
