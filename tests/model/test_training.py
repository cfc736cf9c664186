import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from fltac.config import Exchange
from fltac.data.batching import evaluation_batches, training_batches
from fltac.model.adapters import start_adapter
from fltac.model.backbone import build
from fltac.model.training import Learner, Work, evaluate, train


@pytest.fixture(scope="module")
def backbone(tiny_world):
    return build(tiny_world.base, tiny_world.experiment.adapter, use_gpu=False)


def work_of(world, task, steps, seed=0):
    examples = world.tasks[task].train
    return Work(examples, training_batches(examples.lengths, steps, 16, np.random.default_rng(seed)))


def test_a_task_is_learned(tiny_world, backbone):
    task = tiny_world.tasks["mood"]
    test = Work(task.test, evaluation_batches(task.test.lengths, 16))
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("mood")
    before = evaluate(backbone, start, head, test)
    (done,) = train(backbone, [Learner(start, [head], [work_of(tiny_world, "mood", 120)])], 1e-2)
    after = evaluate(backbone, done.adapter, done.heads[0], test)
    assert before.num_examples == after.num_examples == 30
    assert after.correct / 30 > max(0.85, tiny_world.tasks["mood"].majority)
    assert after.loss < before.loss


def test_training_twice_gives_the_same_bits(tiny_world, backbone):
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("mood")
    learner = Learner(start, [head], [work_of(tiny_world, "mood", 4)])
    (one,), (two,) = (train(backbone, [learner], 1e-3) for _ in range(2))
    assert np.array_equal(one.adapter, two.adapter)
    assert np.array_equal(one.heads[0], two.heads[0])
    assert one.loss == two.loss


def test_a_shared_adapter_trains_each_head_on_its_own_task_alone(tiny_world, backbone):
    start = start_adapter(tiny_world.spec, 0)
    heads = [tiny_world.start_head("mood"), tiny_world.start_head("animal")]
    works = [work_of(tiny_world, "mood", 3), work_of(tiny_world, "animal", 3)]
    (both,) = train(backbone, [Learner(start, heads, works)], 1e-3)
    assert [head.shape for head in both.heads] == [(2, 33), (3, 33)]
    assert all(not np.array_equal(after, before) for after, before in zip(both.heads, heads, strict=True))


def test_a_whole_model_trains_as_torch_trains_it(tiny_world):
    """The same batches through transformers' own model and AdamW; the base in the world is not touched."""
    before = tiny_world.base.checksum()
    whole = build(tiny_world.base, tiny_world.experiment.adapter, False, Exchange(trains="model"))
    work, head = work_of(tiny_world, "mood", 5), tiny_world.start_head("mood")
    (done,) = train(whole, [Learner(np.zeros(whole.adapter.spec.size, np.float32), [head], [work])], 1e-3)
    config = BertConfig.from_dict(tiny_world.base.config.to_dict() | {"num_labels": 2})
    model = BertForSequenceClassification(config).eval()
    own = {name: torch.tensor(array) for name, array in tiny_world.base.weights.items()}
    own |= {"classifier.weight": torch.tensor(head[:, :-1]), "classifier.bias": torch.tensor(head[:, -1])}
    model.load_state_dict(own)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for rows in work.batches:
        batch = whole.kind.collate(work.examples, rows, whole.device)
        optimiser.zero_grad()
        model(**batch.inputs, labels=batch.answers).loss.backward()
        optimiser.step()
    for name, change in whole.adapter.spec.named(done.adapter).items():
        expected = model.get_parameter(name).detach().numpy() - tiny_world.base.weights[name]
        np.testing.assert_allclose(change, expected, atol=2e-6)
    np.testing.assert_allclose(done.heads[0][:, :-1], model.classifier.weight.detach().numpy(), atol=2e-6)
    assert np.abs(done.adapter).max() > 1e-3
    assert tiny_world.base.checksum() == before


def test_a_diverging_loss_is_an_error_that_names_the_rate(tiny_world, backbone):
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("mood")
    with pytest.raises(FloatingPointError, match=r"lower training.learning_rate \(it is 1e\+30\)"):
        train(backbone, [Learner(start, [head], [work_of(tiny_world, "mood", 5)])], 1e30)


def test_the_batch_size_of_an_evaluation_changes_no_answer(tiny_world, backbone):
    task = tiny_world.tasks["animal"]
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("animal")
    scores = [
        evaluate(backbone, start, head, Work(task.test, evaluation_batches(task.test.lengths, size)))
        for size in (1, 7, 64)
    ]
    assert len({score.correct for score in scores}) == 1
    assert np.allclose([score.loss for score in scores], scores[0].loss, rtol=1e-4)


def learners_of(world, works):
    """Each from a start of its own: what is mixed up would show."""
    starts = [start_adapter(world.spec, seed) for seed in range(len(works))]
    return [
        Learner(start, [world.start_head(task) for task in tasks], [work_of(world, task, 4, seed) for task in tasks])
        for seed, (start, tasks) in enumerate(zip(starts, works, strict=True))
    ]


def alone(backbone, learners, rate):
    return [done for learner in learners for done in train(backbone, [learner], rate)]


def assert_alike(together, one_by_one):
    for done, wanted in zip(together, one_by_one, strict=True):
        assert done.loss == pytest.approx(wanted.loss, rel=1e-4)
        for found, right in zip([done.adapter, *done.heads], [wanted.adapter, *wanted.heads], strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    "works",
    [
        [["mood"], ["mood"], ["mood"]],
        [["mood"], ["animal"], ["weather"]],  # two and three classes, texts of other lengths
        [["mood", "animal"], ["animal", "weather"]],  # one adapter for two tasks, which take turns
    ],
)
def test_side_by_side_each_learns_what_it_learns_alone(tiny_world, backbone, works):
    learners = learners_of(tiny_world, works)
    assert_alike(train(backbone, learners, 1e-3), alone(backbone, learners, 1e-3))


def test_side_by_side_one_may_have_fewer_rows_than_another(tiny_world, backbone):
    few, many = learners_of(tiny_world, [["animal"], ["mood"]])
    (work,) = few.works
    few = few._replace(works=[work._replace(batches=[rows[:3] for rows in work.batches])])
    assert_alike(train(backbone, [few, many], 1e-3), alone(backbone, [few, many], 1e-3))


def test_side_by_side_with_only_b_trained_a_stays(tiny_world):
    backbone = build(tiny_world.base, tiny_world.experiment.adapter, False, Exchange(factors="b"))
    learners = learners_of(tiny_world, [["mood"], ["animal"]])
    together = train(backbone, learners, 1e-3)
    assert_alike(together, alone(backbone, learners, 1e-3))
    for done, learner in zip(together, learners, strict=True):
        for (a, b), (a_before, _) in zip(*map(tiny_world.spec.factors, (done.adapter, learner.adapter)), strict=True):
            assert np.array_equal(a, a_before)
            assert b.any()


def test_who_takes_other_turns_cannot_learn_side_by_side(tiny_world, backbone):
    one, two = learners_of(tiny_world, [["mood"], ["mood", "animal"]])
    with pytest.raises(ValueError, match="take other turns"):
        train(backbone, [one, two], 1e-3)
