"""The real data sets inside installed packages: split by text, and the same on every read."""

import io
from collections import Counter
from functools import cache

import pytest

from fltac.data.samples import SAMPLES, read_sample
from fltac.errors import InputError

TEXT = {"news-topic": "text", "tweet-sentiment": "text", "reply-matching": "question", "question-topic": "question"}
IMAGE = {"digits": (8, 1797), "mnist": (28, 5000)}  # side, how many
CLASSES = {"news-topic": 5, "tweet-sentiment": 3, "reply-matching": 2}


@cache
def rows(name: str) -> tuple[list[dict], list[dict]]:
    train, test = read_sample(name, "tasks.0.source")
    return train.to_pylist(), test.to_pylist()


def test_every_sample_is_tested():
    assert set(TEXT) | set(IMAGE) == set(SAMPLES)


@pytest.mark.parametrize("name", IMAGE)
def test_images_are_square_distinct_and_of_ten_classes(name):
    from PIL import Image

    side, count = IMAGE[name]
    train, test = rows(name)
    stored = [row["image"]["bytes"] for row in train + test]
    assert len(set(stored)) == len(stored) == count
    with Image.open(io.BytesIO(stored[0])) as image:
        assert image.size == (side, side)
        assert image.getextrema()[1] > 200
    for split in (train, test):
        assert {row["label"] for row in split} == set(range(10))


@pytest.mark.parametrize("name", TEXT)
def test_no_test_text_was_trained_on(name):
    train, test = ({row[TEXT[name]] for row in split} for split in rows(name))
    assert not train & test
    assert len(test) / (len(train) + len(test)) == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("name", TEXT)
def test_texts_are_not_blank_and_every_class_is_in_train(name):
    train, test = rows(name)
    labels = {row["label"] for row in train}
    assert len(labels) == CLASSES.get(name, len(labels)) >= 2
    assert {row["label"] for row in test} <= labels
    assert all(value.strip() for row in train + test for value in row.values())


@pytest.mark.parametrize("name", ["tweet-sentiment", "reply-matching"])
def test_a_second_read_is_the_same(name):
    train, test = read_sample(name, "key")
    assert (train.to_pylist(), test.to_pylist()) == rows(name)


@pytest.mark.parametrize("name", ["news-topic", "tweet-sentiment", "question-topic"])
def test_a_text_is_there_once(name):
    train, test = rows(name)
    assert set(Counter(row[TEXT[name]] for row in train + test).values()) == {1}


def test_replies_are_balanced_in_both_splits():
    for split in rows("reply-matching"):
        counts = Counter(row["label"] for row in split)
        assert min(counts.values()) > 0.45 * counts.total() > 150


def test_no_reply_both_matches_and_differs():
    pairs: dict[tuple[str, str], set[str]] = {}
    for row in [*rows("reply-matching")[0], *rows("reply-matching")[1]]:
        pairs.setdefault((row["question"], row["reply"]), set()).add(row["label"])
    assert [pair for pair, labels in pairs.items() if len(labels) > 1] == []


def test_an_unknown_sample_is_told_with_those_there_are():
    with pytest.raises(
        InputError, match=r"tasks\.0\.source\.name: is no sample; choose one of news-topic, .*'new-topic'"
    ):
        read_sample("new-topic", "tasks.0.source")
