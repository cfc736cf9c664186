"""`fltac route`: a few examples without a task's name go to the cluster that knows them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fltac
from fltac.answering import Trained
from fltac.errors import InputError
from fltac.given import Given
from fltac.routing import _entropy, route
from tests.tiny import TASKS, write_task, write_tiny
from tests.tiny_kinds import write_tiny_dialogues


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that knows its tasks, and unseen rows of each."""
    folder = tmp_path_factory.mktemp("routing")
    changes = ["training.steps=60", "training.learning_rate=1e-2", "method=oracle"]
    fltac.run(fltac.load(write_tiny(folder), changes), out=folder / "run", runtime="local")
    for seed, (task, keywords) in enumerate(TASKS.items(), start=100):
        write_task(folder / f"{task}.parquet", keywords, 24, seed)
    return folder


@pytest.mark.parametrize("task", ["mood", "animal"])
@pytest.mark.parametrize("how", ["labels", "no labels", "join"])
def test_each_task_is_known_again(folder, task, how):
    options = {"columns": ("text",)} if how == "no labels" else {"label": "label", "join": how == "join"}
    classes = [str(number) for number in range(len(TASKS[task]))]
    found = route(folder / "run", Given(file=folder / f"{task}.parquet"), classes=classes, **options)
    best = found.routes[0]
    assert best.cluster == Trained(folder / "run").home(task)
    assert list(best.tasks) == [task]
    assert {one.head.split("x")[0] for one in found.routes} == {"" if how == "join" else str(len(classes))}


def test_without_classes_every_head_that_is_wide_enough_is_tried(folder):
    found = route(folder / "run", Given(file=folder / "mood.parquet"), label="label")
    assert len(found.routes) == 3
    found = route(folder / "run", Given(file=folder / "animal.parquet"), label="label")
    assert [list(one.tasks) for one in found.routes] == [["animal"]]


def test_one_adapter_for_all_tasks_has_a_head_to_choose(folder):
    changes = ["training.steps=60", "training.learning_rate=1e-2", "method=fedit"]
    fltac.run(fltac.load(folder / "tiny.toml", changes), out=folder / "fedit", runtime="local")
    found = route(folder / "fedit", Given(file=folder / "animal.parquet"), label="label")
    assert found.routes[0].head == "animal"
    with pytest.raises(InputError, match="--join: needs adapters by task"):
        route(folder / "fedit", Given(file=folder / "animal.parquet"), label="label", join=True)


def test_prompts_and_responses_find_their_cluster(tmp_path):
    changes = ["training.steps=80", "training.learning_rate=1e-2", "method=oracle"]
    fltac.run(fltac.load(write_tiny_dialogues(tmp_path), changes), out=tmp_path / "run", runtime="local")
    rows = [{"prompt": f"what is {word} ?", "answer": other} for word, other in (("sun", "rain"), ("good", "bad"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = route(tmp_path / "run", Given(file=tmp_path / "rows.jsonl"), label="answer")
    assert (found.rule, list(found.routes[0].tasks)) == ("loss of the answers", ["opposites"])
    found = route(tmp_path / "run", Given(prompts=["what is sun ?"]))
    assert found.rule == "loss of the prompts"
    assert len(found.routes) == 2


def test_what_cannot_be_routed_is_told_in_a_line(folder):
    run, mood = folder / "run", Given(file=folder / "mood.parquet")
    pq.write_table(pa.table({"text": ["a"], "label": ["good"]}), folder / "named.parquet")
    cases = [
        ({"given": mood, "join": True}, "--join: needs a column of answers; name it with --label"),
        ({"given": mood, "label": "nope"}, "--input: column 'label' must hold text"),
        ({"given": mood, "columns": ["text"], "label": "nope"}, "--label: no such column in .*mood.parquet"),
        ({"given": mood, "columns": ["text"], "classes": list("abcde")}, "no cluster has a head of 5 classes;"),
        ({"given": Given(file=folder / "named.parquet"), "label": "label"}, "name them all, --classes a,b,c"),
    ]
    for options, said in cases:
        with pytest.raises(InputError, match=said) as told:
            route(run, **options)
        assert len(told.value.lines()) == 1
        assert told.value.file


def test_entropy_is_of_what_is_likely():
    found = _entropy(np.array([[1.0, 0.0], [0.5, 0.5]]))
    np.testing.assert_allclose(found, [0, np.log(2)])
