import numpy as np
import pytest

from fltac.data.batching import evaluation_batches, training_batches
from fltac.model.adapters import start_adapter
from fltac.model.backbone import build
from fltac.model.training import Work, evaluate, train


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
    done = train(backbone, start, [head], [work_of(tiny_world, "mood", 120)], 1e-2, 0)
    after = evaluate(backbone, done.adapter, done.heads[0], test)
    assert before.num_examples == after.num_examples == 30
    assert after.correct / 30 > max(0.85, tiny_world.tasks["mood"].majority)
    assert after.loss < before.loss


def test_training_twice_gives_the_same_bits(tiny_world, backbone):
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("mood")
    one, two = (train(backbone, start, [head], [work_of(tiny_world, "mood", 4)], 1e-3, 0) for _ in range(2))
    assert np.array_equal(one.adapter, two.adapter)
    assert np.array_equal(one.heads[0], two.heads[0])
    assert one.loss == two.loss


def test_a_shared_adapter_trains_each_head_on_its_own_task_alone(tiny_world, backbone):
    start = start_adapter(tiny_world.spec, 0)
    heads = [tiny_world.start_head("mood"), tiny_world.start_head("animal")]
    works = [work_of(tiny_world, "mood", 3), work_of(tiny_world, "animal", 3)]
    both = train(backbone, start, heads, works, 1e-3, 0)
    assert [head.shape for head in both.heads] == [(2, 33), (3, 33)]
    assert all(not np.array_equal(after, before) for after, before in zip(both.heads, heads, strict=True))


def test_a_diverging_loss_is_an_error_that_names_the_rate(tiny_world, backbone):
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("mood")
    with pytest.raises(FloatingPointError, match=r"lower training.learning_rate \(it is 1e\+30\)"):
        train(backbone, start, [head], [work_of(tiny_world, "mood", 5)], 1e30, 0)


def test_the_batch_size_of_an_evaluation_changes_no_answer(tiny_world, backbone):
    task = tiny_world.tasks["animal"]
    start, head = start_adapter(tiny_world.spec, 0), tiny_world.start_head("animal")
    scores = [
        evaluate(backbone, start, head, Work(task.test, evaluation_batches(task.test.lengths, size)))
        for size in (1, 7, 64)
    ]
    assert len({score.correct for score in scores}) == 1
    assert np.allclose([score.loss for score in scores], scores[0].loss, rtol=1e-4)
