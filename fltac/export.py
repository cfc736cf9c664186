"""From a run's cluster to a folder that `peft.PeftModel.from_pretrained` loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from fltac.config import Experiment
from fltac.errors import InputError, Problem
from fltac.layers import load
from fltac.records.files import require_new
from fltac.records.reading import reading
from fltac.records.store import RunDirectory


def export_cluster(folder: str | Path, cluster: int, to: str | Path, head: str | None = None) -> str:
    """Writes the cluster's adapter of the last round, with its head, as a PEFT directory, or the model where it was
    trained itself; returns how to load it.

    Raises InputError for an unknown cluster or head, or a folder in use.
    """
    from fltac.model.peft import write_model, write_peft

    run = RunDirectory.open(folder)
    experiment = load(run.experiment_file)
    last, files = run.last_adapters()
    if cluster not in files:
        raise InputError(Problem("--cluster", f"is no cluster of round {last}; choose one of {sorted(files)}", cluster))
    require_new(Path(to), "--to", "name a new folder")
    with reading(files[cluster]):
        tensors = load_file(files[cluster])
    heads = {name.removeprefix("head."): value for name, value in tensors.items() if name.startswith("head.")}
    if not heads:
        raise InputError(
            Problem(
                "--cluster",
                "has no head: heads stay at the clients in this run, or nobody chose it; name another",
                cluster,
            )
        )
    if (head is None and len(heads) > 1) or (head is not None and head not in heads):
        raise InputError(Problem("--head", f"choose one of the cluster's heads: {', '.join(sorted(heads))}", head))
    matrix = heads[head or next(iter(heads))]
    factors = {name: value for name, value in tensors.items() if not name.startswith("head.")}
    if experiment.exchange.trains == "model":
        write_model(experiment.model, experiment.seed, factors, matrix, Path(to))
        return f"model in {to}; load it with transformers' AutoModelForSequenceClassification.from_pretrained"
    source = write_peft(experiment.model, experiment.adapter, experiment.seed, factors, matrix, Path(to))
    return _recipe(experiment, source, matrix, to)


def _recipe(experiment: Experiment, source: str, head: np.ndarray, to: str | Path) -> str:
    from fltac.model.kinds import KINDS
    from fltac.model.peft import peft_changes

    auto = KINDS[experiment.model.kind].auto_model().__name__
    base, folder = json.dumps(source), json.dumps(str(to))  # a stranger's path stays a string where it is pasted
    changes = "".join(f", {name}={value}" for name, value in peft_changes(experiment.model, head).items())
    return (
        f"adapter in {to}; load it with\n"
        "  from peft import PeftModel\n"
        f"  from transformers import {auto}\n"
        f"  base = {auto}.from_pretrained({base}{changes})\n"
        f"  model = PeftModel.from_pretrained(base, {folder})"
    )
