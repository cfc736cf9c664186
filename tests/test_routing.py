"""`fltac route`: a few examples without a task's name go to the cluster that knows them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments import routing as command
from fltac.answering import Trained
from fltac.errors import InputError
from fltac.given import Given
from fltac.routing import information, likelihood, route
from tests.tiny import TASKS, write_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Unseen rows of each task."""
    folder = tmp_path_factory.mktemp("routing")
    for seed, (task, keywords) in enumerate(TASKS.items(), start=100):
        write_task(folder / f"{task}.parquet", keywords, 24, seed)
    return folder


@pytest.fixture(scope="module")
def run(learned):
    return learned("oracle")


@pytest.mark.parametrize("task", ["mood", "animal"])
@pytest.mark.parametrize("how", ["labels", "no labels", "join"])
def test_each_task_is_known_again(run, folder, task, how):
    options = {"columns": ("text",)} if how == "no labels" else {"label": "label", "join": how == "join"}
    classes = [str(number) for number in range(len(TASKS[task]))]
    found = route(run, Given(file=folder / f"{task}.parquet"), classes=classes, **options)
    best = found.routes[0]
    assert best.cluster == Trained(run).home(task)
    assert list(best.tasks) == [task]
    assert {one.head.split("x")[0] for one in found.routes} == {"" if how == "join" else str(len(classes))}


def test_the_command_line_tells_the_best_first(run, folder, fltac):
    home = Trained(run).home("animal")
    asked = ["route", run, "--file", folder / "animal.parquet", "--label", "label", "--classes", 3]
    code, out, err = fltac(*asked)
    assert (code, err) == (0, "")
    head, best, *_, last = (line.split() for line in out.splitlines())
    assert head == ["cluster", "holds", "head", "log-likelihood", "of", "the", "answers"]
    assert best[:2] == [str(home), "animal"]
    assert last == ["cluster", str(home), "suits", "best"]
    code, out, _ = fltac(*asked, "--json")
    assert (code, json.loads(out)["tasks"]) == (0, ["animal"])


def test_without_classes_every_head_that_is_wide_enough_is_tried(run, folder):
    found = route(run, Given(file=folder / "mood.parquet"), label="label")
    assert len(found.routes) == 3
    found = route(run, Given(file=folder / "animal.parquet"), label="label")
    assert [list(one.tasks) for one in found.routes] == [["animal"]]


def test_one_adapter_for_all_tasks_has_a_head_to_choose(learned, folder):
    found = route(learned("fedit"), Given(file=folder / "animal.parquet"), label="label")
    assert found.routes[0].head == "animal"
    with pytest.raises(InputError, match="--join: needs adapters by task"):
        route(learned("fedit"), Given(file=folder / "animal.parquet"), label="label", join=True)


def test_prompts_and_responses_find_their_cluster(dialogues, tmp_path):
    rows = [{"prompt": f"what is {word} ?", "answer": other} for word, other in (("sun", "rain"), ("good", "bad"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = route(dialogues, Given(file=tmp_path / "rows.jsonl"), label="answer")
    assert (found.rule, list(found.routes[0].tasks)) == ("log-likelihood of the answers", ["opposites"])
    found = route(dialogues, Given(prompts=["what is sun ?"]))
    assert found.rule == "log-likelihood of the prompts"
    assert len(found.routes) == 2


def test_what_cannot_be_routed_is_told_in_a_line(run, folder):
    mood = Given(file=folder / "mood.parquet")
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


def test_likelihood_and_information_by_hand():
    said = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    assert likelihood(said, np.array([0, 1])) == pytest.approx(np.log(0.5) / 2)
    assert likelihood(said, np.array([1, 1])) < -40  # what was held impossible is very unlikely, not infinitely
    mean = np.array([0.75, 0.25])
    assert information(said) == pytest.approx(-(mean * np.log(mean)).sum() - np.log(2) / 2)
    assert information(said[:1].repeat(3, axis=0)) == information(said[1:].repeat(3, axis=0)) == 0


def test_how_often_a_rule_is_right_is_counted_by_task(run, monkeypatch):
    monkeypatch.setattr(command, "SIZES", (8, 16))
    told = command.table(Trained(run), draws=2, joins=1)
    assert told[0] == "| rule | 8 examples | 16 examples | 16, by task |"
    shares = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:3] for line in told[2:]}
    assert list(shares) == [
        "labels",
        "labels, all classes named",
        "no labels",
        "no labels, number of classes",
        "--join",
    ]
    assert all(0 <= float(share) <= 1 for each in shares.values() for share in each)
    assert told[3] == "| labels, all classes named | 1.00 | 1.00 | mood 1.00, animal 1.00, weather 1.00 |"
