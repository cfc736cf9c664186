"""Secrets of a command line are not recorded, and nothing else is lost."""

import pytest

from fltac.records.redaction import redacted

HEX = "0123456789abcdef" * 4  # as Ray's tokens are


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--token", "abc"], ["--token", "***"]),
        (["--hub-token=abc"], ["--hub-token=***"]),
        (["HF_TOKEN=abc"], ["HF_TOKEN=***"]),
        (["api_key=abc", "x.password=a b"], ["api_key=***", "x.password=***"]),
        ([f"note={HEX}"], ["note=***"]),
        (["hf_abcdefghijklmnopqrst"], ["***"]),
        (["https://user:word@host/data.csv"], ["https://***@host/data.csv"]),
        (["Authorization: Bearer abc.def"], ["Authorization:***"]),
    ],
)
def test_what_looks_like_a_secret_is_hidden(words, shown):
    assert redacted(["fltac", *words]) == ["fltac", *shown]


def test_an_experiments_own_keys_are_kept():
    words = [
        "fltac", "run", "experiments/tokens.toml", "training.max_tokens=64", "adapter.rank=1", "tokenizer=fast",
        "model.source.revision=0123456789abcdef0123456789abcdef01234567", "--out", "/runs/a-very-long-name-of-a-run",
        "network.usd_per_gb=1", 'tasks.mood.inputs=["token"]',
    ]  # fmt: skip
    assert redacted(words) == words
