import numpy as np
import torch

from fltac.model.kinds import KINDS, Encoded


def test_a_batch_is_padded_to_its_own_longest():
    examples = Encoded(
        ids=np.array([5, 6, 7, 8, 9], np.int32),
        segments=np.array([0, 0, 1, 0, 0], np.uint8),
        pad=1,
        offsets=np.array([0, 3, 5]),
        labels=np.array([1, 0]),
    )
    batch = KINDS["text-classification"].collate(examples, np.array([1, 0]), torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[8, 9, 1], [5, 6, 7]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert batch.labels.tolist() == [0, 1]


def test_pairs_are_two_segments_and_long_texts_are_cut(tiny_world):
    source = (tiny_world.experiment.model.source.path, None)
    kind = KINDS["text-classification"]
    coded = kind.encode((["good cat"], ["bad dog sun"]), np.array([0]), source, 16)
    assert coded.lengths.tolist() == [2 + 1 + 1 + 3 + 1]
    assert coded.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert kind.encode((["good " * 50],), np.array([0]), source, 16).lengths.tolist() == [16]


def test_no_examples_are_no_tokens(tiny_world):
    source = (tiny_world.experiment.model.source.path, None)
    assert len(KINDS["text-classification"].encode(([],), np.zeros(0, np.int64), source, 16)) == 0


def test_a_long_text_is_cut_to_what_it_would_have_been_cut_to(tiny_world):
    source = (tiny_world.experiment.model.source.path, None)
    kind, text = KINDS["text-classification"], "\n good  cat\tdog-sun, " * 30
    long = kind.encode(([text],), np.array([0]), source, 1000)
    short = kind.encode(([text],), np.array([0]), source, 9)
    assert short.lengths.tolist() == [9]
    assert short.ids[:-1].tolist() == long.ids[:8].tolist()  # then the end mark
    marks = "\u0301 \ufffd \u200b " * 9 + "good dog"  # words to a splitter, nothing to the tokenizer
    assert kind.encode(([marks],), np.array([0]), source, 4).ids.tolist() == (
        kind.encode((["good dog"],), np.array([0]), source, 4).ids.tolist()
    )
    assert kind.encode(([" "],), np.array([0]), source, 9).lengths.tolist() == [2]
