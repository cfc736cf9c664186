"""Tiny federations of the other kinds: a random ViT that tells colours, a random Llama that answers with a word."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

IMAGES = """
name = "tiny-images"
rounds = 2

[model]
kind = "image-classification"
source = { type = "path", path = "model" }

[adapter]
rank = 2

[[tasks]]
name = "warm"
source = { type = "files", train = "warm-train.parquet", test = "warm-test.parquet" }
inputs = ["image"]
metric = "f1"

[[tasks]]
name = "cold"
source = { type = "files", train = "cold-train.parquet", test = "cold-test.parquet" }
inputs = ["image"]
validation = 0.1

[clients]
count = 3
partition = { type = "dirichlet", alpha = 5.0 }

[training]
steps = 3
batch_size = 8
learning_rate = 5e-3
image_size = 16
"""
COLOURS = {"warm": ((250, 20, 20), (240, 220, 10)), "cold": ((10, 30, 250), (20, 240, 40), (0, 250, 250))}

DIALOGUES = """
name = "tiny-dialogues"
rounds = 2

[model]
kind = "causal-lm"
source = { type = "path", path = "model" }

[adapter]
rank = 2

[[tasks]]
name = "opposites"
source = { type = "files", train = "train.jsonl", test = "test.jsonl" }
prompt = "what is {word} ?"
label = "response"
where = { category = "opposites" }

[[tasks]]
name = "twice"
source = { type = "files", train = "train.jsonl", test = "test.jsonl" }
prompt = "{word} {word} ?"
label = "response"
where = { category = "twice" }
validation = 0.1

[clients]
count = 3
partition = { type = "dirichlet", alpha = 5.0 }

[training]
steps = 3
batch_size = 8
learning_rate = 1e-2
max_length = 16
"""
OPPOSITES = {"good": "bad", "fine": "poor", "sun": "rain", "one": "two"}
WORDS = ["what", "is", "?", *OPPOSITES, *OPPOSITES.values()]


def write_tiny_images(folder: Path) -> Path:
    """Model, images of two tasks and `tiny.toml` in `folder`; returns the experiment file."""
    import torch
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=16, patch_size=8
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "model")
    processor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"height": 16, "width": 16}}
    (folder / "model" / "preprocessor_config.json").write_text(json.dumps(processor))
    for number, (task, colours) in enumerate(COLOURS.items()):
        for split, count in (("train", 60), ("test", 20)):
            draw = np.random.default_rng(10 * number + (split == "test"))
            labels = draw.integers(len(colours), size=count)
            stored = [png(np.clip(draw.normal(colours[label], 40, (12, 10, 3)), 0, 255)) for label in labels]
            write_images(folder / f"{task}-{split}.parquet", stored, labels)
    file = folder / "tiny.toml"
    file.write_text(IMAGES)
    return file


def png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stored, "PNG")
    return stored.getvalue()


def write_images(file: Path, stored: list[bytes | None], labels: np.ndarray) -> None:
    """As a Hugging Face data set has images."""
    images = pa.array(
        [{"bytes": one, "path": None} for one in stored], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    features = {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), file)


def write_tiny_dialogues(folder: Path) -> Path:
    """Model, one file of two categories and `tiny.toml` in `folder`; returns the experiment file."""
    write_language_model(folder / "model")
    for split, count in (("train", 120), ("test", 40)):
        draw = np.random.default_rng(split == "test")
        rows = []
        for _ in range(count):
            word, category = str(draw.choice(list(OPPOSITES))), str(draw.choice(["opposites", "twice"]))
            response = OPPOSITES[word] if category == "opposites" else f"{word} {word}"
            rows.append({"word": word, "response": response, "category": category})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "tiny.toml"
    file.write_text(DIALOGUES)
    return file


def write_language_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<end>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", unk_token="<unk>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
