"""Real weights learn: a vision transformer in `vit` and a causal language model in `lm` under FLTAC_TEST_MODELS.

Both are Hugging Face directories; any ViT or DINOv2 that takes 84 pixels and any model with a tokenizer will do.
"""

import json
import os

import pytest

import fltac

MODELS, DATA = os.environ.get("FLTAC_TEST_MODELS"), os.environ.get("FLTAC_TEST_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MODELS is None, reason="FLTAC_TEST_MODELS names no folder with the models vit and lm"),
]
COMMON = """
rounds = 2
clients = { count = 2, partition = { type = "dirichlet", alpha = 5.0 } }
"""


def losses(tmp_path, text):
    """Each task's loss on test, untuned and after the last round."""
    (tmp_path / "real.toml").write_text(text)
    summary = fltac.run(fltac.load(tmp_path / "real.toml"), out=tmp_path / "run", runtime="local")
    return [(summary.metrics_untuned[task]["loss"], summary.metrics[task]["loss"]) for task in summary.accuracy]


def test_a_vision_transformer_learns_digits(tmp_path):
    text = f"""
        name = "vit"
        {COMMON}
        training = {{ steps = 5, batch_size = 16, learning_rate = 2e-3, image_size = 84 }}
        model.kind = "image-classification"
        model.source = {{ type = "path", path = "{MODELS}/vit" }}
        [[tasks]]
        name = "digits"
        source = {{ type = "sample", name = "digits" }}
        max_train = 200
        max_test = 50
    """
    ((before, after),) = losses(tmp_path, text)
    assert after < before - 0.2


def test_a_language_model_learns_to_answer(tmp_path):
    """All its layers, so that it knows something before; the answers are short and of one form."""
    rows = [{"q": f"Is {n} odd or even?", "a": f"The number {n} is {'odd' if n % 2 else 'even'}."} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = f"""
        name = "lm"
        {COMMON}
        training = {{ steps = 3, batch_size = 4, learning_rate = 1e-3, max_length = 48 }}
        model.kind = "causal-lm"
        model.source = {{ type = "path", path = "{MODELS}/lm" }}
        [[tasks]]
        name = "parity"
        source = {{ type = "files", train = "rows.jsonl", test = "rows.jsonl" }}
        prompt = "{{q}}\\n"
        label = "a"
        max_test = 16
    """
    ((before, after),) = losses(tmp_path, text)
    assert before < 5, "it is pretrained"
    assert after < before - 0.2


@pytest.mark.skipif(DATA is None, reason="FLTAC_TEST_DATA names no folder of data sets")
def test_a_language_model_learns_two_categories_of_one_file(tmp_path):
    task = """
        source = { type = "files", train = "small_train.jsonl", test = "small_test.jsonl" }
        prompt = "{instruction}\\n{context}\\n"
        label = "response"
        max_test = 12
    """
    text = f"""
        name = "dolly"
        data.root = "{DATA}/text/dolly"
        {COMMON}
        training = {{ steps = 4, batch_size = 4, learning_rate = 2e-3, max_length = 64 }}
        model.kind = "causal-lm"
        model.num_hidden_layers = 4
        model.source = {{ type = "path", path = "{MODELS}/lm" }}
        [[tasks]]
        name = "closed_qa"
        where = {{ category = "closed_qa" }}
        {task}
        [[tasks]]
        name = "classification"
        where = {{ category = "classification" }}
        {task}
    """
    for before, after in losses(tmp_path, text):
        assert after < before
