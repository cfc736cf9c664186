import numpy as np
import torch

from fltac.config import Training
from fltac.data.columns import Split
from fltac.model.kinds import KINDS
from fltac.model.kinds.text_classification import Texts

KIND = KINDS["text-classification"]


def encode(world, longest, *columns):
    labels = np.zeros(len(columns[0]), np.int64)
    source = (world.experiment.model.source.path, None)
    return KIND.encode(Split(columns, labels), source, Training(max_length=longest), "tasks.0.source")


def test_a_batch_is_padded_to_its_own_longest():
    examples = Texts(
        ids=np.array([5, 6, 7, 8, 9], np.int32),
        segments=np.array([0, 0, 1, 0, 0], np.uint8),
        pad=1,
        offsets=np.array([0, 3, 5]),
        answers=np.array([1, 0]),
    )
    batch = KIND.collate(examples, np.array([1, 0]), torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[8, 9, 1], [5, 6, 7]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert batch.answers.tolist() == [0, 1]


def test_pairs_are_two_segments_and_long_texts_are_cut(tiny_world):
    coded = encode(tiny_world, 16, ["good cat"], ["bad dog sun"])
    assert coded.lengths.tolist() == [2 + 1 + 1 + 3 + 1]
    assert coded.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert encode(tiny_world, 16, ["good " * 50]).lengths.tolist() == [16]


def test_no_examples_are_no_tokens(tiny_world):
    assert len(encode(tiny_world, 16, [])) == 0


def test_a_long_text_is_cut_to_what_it_would_have_been_cut_to(tiny_world):
    text = "\n good  cat\tdog-sun, " * 30
    long = encode(tiny_world, 1000, [text])
    short = encode(tiny_world, 9, [text])
    assert short.lengths.tolist() == [9]
    assert short.ids[:-1].tolist() == long.ids[:8].tolist()  # then the end mark
    marks = "\u0301 \ufffd \u200b " * 9 + "good dog"  # words to a splitter, nothing to the tokenizer
    assert encode(tiny_world, 4, [marks]).ids.tolist() == (encode(tiny_world, 4, ["good dog"]).ids.tolist())
    assert encode(tiny_world, 9, [" "]).lengths.tolist() == [2]
