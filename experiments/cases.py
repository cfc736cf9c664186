"""What the commands behind the tables share: runs that are there once finished, and intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

import fltac
from fltac.records.store import RunDirectory


def finished(file: Path, folder: Path, overrides: Sequence[str]) -> RunDirectory:
    """The run in the folder; made where it is not there, continued where it was stopped."""
    run = RunDirectory(folder)
    if run.summary() is None:
        if folder.exists():
            fltac.resume(folder, runtime="local")
        else:
            fltac.run(fltac.load(file, overrides), out=folder, runtime="local")
    return run


def interval(values: Sequence[float], most: float = np.inf) -> str:
    """Mean and Student's 95 % interval, cut at `most`."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return f"{mean:.2f}"
    half = student.ppf(0.975, n - 1) * float(np.std(values, ddof=1)) / np.sqrt(n)
    return f"{mean:.2f} ({mean - half:.2f}, {min(mean + half, most):.2f})"
