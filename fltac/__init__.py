"""fltac: federated LoRA fine-tuning with task-specific adapter clustering, on a Ray cluster.

experiment = fltac.load("experiments/quickstart.toml", ["adapter.rank=1"])
summary = fltac.run(experiment, out="runs/rank-1", runtime="local")
"""

from __future__ import annotations

from typing import Any

from fltac.errors import InputError
from fltac.layers import load

__all__ = ["InputError", "__version__", "load", "resume", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`run` and `resume` bring torch along, so they are imported when they are asked for."""
    if name in ("run", "resume"):
        from fltac.runtime import launch

        return getattr(launch, name)
    raise AttributeError(f"module 'fltac' has no attribute {name!r}")
