"""A language model learns to say responses: the prompt is given, the padding is nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fltac
from fltac.data.batching import evaluation_batches
from fltac.model.adapters import start_adapter
from fltac.model.backbone import build
from fltac.model.generation import write_answers
from fltac.model.kinds import KINDS
from fltac.model.kinds.causal_lm import Dialogues, fitted
from fltac.model.training import Learner, Work, evaluate, train
from fltac.planning import build as build_world
from fltac.planning import plan
from tests.tiny_kinds import write_tiny_dialogues

KIND = KINDS["causal-lm"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return build_world(plan(fltac.load(write_tiny_dialogues(tmp_path_factory.mktemp("dialogues")))))


@pytest.fixture(scope="module")
def backbone(world):
    return build(world.base, world.experiment.adapter, use_gpu=False)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 30))
def test_something_of_both_is_left_and_nothing_is_cut_that_fits(prompt, response, longest):
    asked, said = list(range(prompt)), list(range(100, 100 + response))
    kept, answer = fitted(asked, said, longest)
    assert kept
    assert answer == said[: len(answer)]
    assert len(kept) + len(answer) == min(prompt + response, longest)
    assert len(answer) >= min(response, longest // 2)
    assert kept[-1] == asked[-1]
    assert set(kept) <= set(asked)
    if prompt + response > longest and response <= longest // 2:
        assert answer == said, "the prompt makes room"


def test_a_prompt_that_is_too_long_loses_its_middle():
    assert fitted(list(range(10)), [50], 7) == ([0, 1, 2, 7, 8, 9], [50])


def test_examples_are_a_prompt_a_response_and_the_end(world):
    coder = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(world.experiment.model.source.path)
    examples = world.tasks["opposites"].train
    first = examples.ids[: examples.offsets[1]]
    assert examples.prompts[0] == 4
    prompt, response = coder.decode(first[:4]), coder.decode(first[4:])
    assert prompt.startswith("what is ")
    assert response.split()[-1] == "<end>"
    assert len(examples.answers) == examples.lengths.sum() - examples.prompts.sum()


def test_a_batch_asks_for_the_next_token_of_the_response_alone():
    examples = Dialogues(
        np.array([5, 6, 7, 8, 0, 5, 9, 0], np.int32), np.array([2, 1], np.int32), 0, 0, np.array([0, 5, 8])
    )
    batch = KIND.collate(examples, np.array([0, 1]), CPU)
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 7, 8, 0], [5, 9, 0, 0, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.answers.tolist() == [[-100, 7, 8, 0, -100], [9, 0, -100, -100, -100]]
    assert examples.answers.tolist() == [7, 8, 0, 9, 0]


def losses(backbone, examples, rows):
    batch = KIND.collate(examples, np.array(rows), CPU)
    with torch.no_grad():
        logits, right, _ = KIND.answer(backbone.module, nn.Identity(), batch)
    return nn.functional.cross_entropy(logits, right, reduction="none").numpy()


def test_the_loss_is_the_models_own_on_the_response_and_no_other(world, backbone):
    """Against transformers' labels, which are ignored at -100: in the prompt they would be counted."""
    examples = world.tasks["twice"].train
    batch = KIND.collate(examples, np.arange(6), CPU)
    labels = torch.full_like(batch.answers, -100)
    labels[:, 1:] = batch.answers[:, :-1]
    with torch.no_grad():
        wanted = float(backbone.module(**batch.inputs, labels=labels).loss)
        with_prompts = float(backbone.module(**batch.inputs, labels=batch.inputs["input_ids"]).loss)
    assert losses(backbone, examples, range(6)).mean() == pytest.approx(wanted, rel=1e-5)
    assert abs(with_prompts - wanted) > 1e-2


def test_padding_changes_no_loss(world, backbone):
    examples = world.tasks["opposites"].train
    long = Dialogues(
        np.concatenate([examples.ids, np.full(12, 2, np.int32)]),
        np.append(examples.prompts, 2).astype(np.int32),
        examples.pad,
        examples.end,
        np.append(examples.offsets, len(examples.ids) + 12),
    )
    alone = [losses(backbone, long, [row]) for row in range(4)]
    padded = losses(backbone, long, [0, 1, 2, 3, len(examples)])
    np.testing.assert_allclose(padded[: sum(map(len, alone))], np.concatenate(alone), atol=1e-5)


def test_there_is_no_head_and_a_task_is_learned(world, backbone):
    task, start, head = world.tasks["opposites"], world.start, world.start_head("opposites")
    test = Work(task.test, evaluation_batches(task.test.lengths, 8))
    assert head.shape == (0, 1)
    before = evaluate(backbone, start, head, test)
    work = Work(task.train, [np.arange(8) + 8 * (i % 4) for i in range(150)])
    (done,) = train(backbone, [Learner(start, [head], [work])], 3e-2)
    after = evaluate(backbone, done.adapter, done.heads[0], test)
    assert before.num_answers == 2 * before.num_examples  # a word and the end
    assert after.accuracy > 0.9 > before.accuracy
    assert after.mean_loss < before.mean_loss
    written = write_answers(backbone, done.adapter, task.test, np.arange(6), 4, 16)
    assert np.mean([one == other for one, other in zip(written, responses(task.test), strict=False)]) > 0.8


def test_side_by_side_each_learns_what_it_learns_alone(world, backbone):
    """Texts and responses of other lengths; one of the two has fewer rows."""
    short, long = world.tasks["opposites"].train, world.tasks["twice"].train
    works = [Work(short, [np.arange(4), np.arange(4, 8)]), Work(long, [np.arange(6), np.arange(6, 12)])]
    learners = [
        Learner(start_adapter(world.spec, seed), [np.zeros((0, 1), np.float32)], [work])
        for seed, work in enumerate(works)
    ]
    for done, learner in zip(train(backbone, learners, 1e-2), learners, strict=True):
        (wanted,) = train(backbone, [learner], 1e-2)
        assert done.loss == pytest.approx(wanted.loss, rel=1e-4)
        np.testing.assert_allclose(done.adapter, wanted.adapter, rtol=1e-4, atol=2e-5)


def responses(examples):
    """Tokens of each response without its end."""
    spans = zip(examples.offsets[:-1] + examples.prompts, examples.offsets[1:] - 1, strict=True)
    return [examples.ids[start:end].tolist() for start, end in spans]


def test_what_a_batch_of_prompts_holds_changes_no_answer(world, backbone):
    test, adapter = world.tasks["twice"].test, world.start + 0.1
    alone, together = (write_answers(backbone, adapter, test, np.arange(5), size, 16) for size in (1, 5))
    assert alone == together


def test_tied_weights_travel_once(world, backbone):
    assert "lm_head.weight" not in world.base.weights
    parameters = dict(backbone.module.named_parameters(remove_duplicate=False))
    assert parameters["lm_head.weight"] is parameters["model.embed_tokens.weight"]
    assert world.base.size == sum(part.numel() for part in backbone.module.parameters()) - world.spec.size
