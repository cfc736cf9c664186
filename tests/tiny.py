"""A tiny real federation for tests: a random two-layer BERT and keyword tasks that it can learn, all in one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [
    "good",
    "bad",
    "fine",
    "poor",
    "cat",
    "dog",
    "bird",
    "sun",
    "rain",
    "snow",
    "one",
    "two",
    "the",
    "a",
    "is",
    "and",
]
TASKS = {"mood": ["good", "bad"], "animal": ["cat", "dog", "bird"], "weather": ["sun", "rain"]}

TOML = """
name = "tiny"
rounds = 2

[model]
source = { type = "path", path = "model" }

[adapter]
rank = 2

[[tasks]]
name = "mood"
source = { type = "files", train = "mood-train.parquet", test = "mood-test.parquet" }
inputs = ["text"]

[[tasks]]
name = "animal"
source = { type = "files", train = "animal-train.parquet", test = "animal-test.parquet" }
inputs = ["text"]
validation = 0.1

[[tasks]]
name = "weather"
source = { type = "files", train = "weather-train.parquet", test = "weather-test.parquet" }
inputs = ["text", "text"]

[clients]
count = 4
partition = { type = "dirichlet", alpha = 5.0 }

[training]
steps = 3
batch_size = 8
learning_rate = 5e-3
max_length = 16
"""


def write_tiny(folder: Path) -> Path:
    """Model, data and `tiny.toml` in `folder`; returns the experiment file."""
    write_model(folder / "model")
    for number, (name, keywords) in enumerate(TASKS.items()):
        for split, count in (("train", 120), ("test", 30)):
            write_task(folder / f"{name}-{split}.parquet", keywords, count, seed=10 * number + (split == "test"))
    file = folder / "tiny.toml"
    file.write_text(TOML)
    return file


def write_model(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)


def write_task(file: Path, keywords: list[str], count: int, seed: int) -> None:
    """Sentences of filler words around the keyword of their class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(len(keywords), size=count)
    filler = WORDS[10:]
    texts = [
        " ".join(
            [*draw.choice(filler, draw.integers(1, 6)), keywords[label], *draw.choice(filler, draw.integers(0, 4))]
        )
        for label in labels
    ]
    pq.write_table(pa.table({"text": texts, "label": labels}), file)
