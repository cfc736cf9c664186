"""`fltac predict`: what a run learned answers with the adapter and head that its holders were judged with."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fltac
from fltac.answering import Trained, predict
from fltac.errors import InputError
from fltac.given import Given
from fltac.records.store import RunDirectory
from tests.tiny import write_tiny
from tests.tiny_kinds import write_tiny_images


def accuracy(run, task):
    """Of predict on the task's test file, with the columns of the file."""
    file = run.parent / f"{task}-test.parquet"
    table = pq.read_table(file)
    cluster, answers = predict(run, task, Given(file=file))
    right = [answer.text == str(label) for answer, label in zip(answers, table["label"].to_pylist(), strict=True)]
    return cluster, float(np.mean(right)), answers


@pytest.mark.parametrize("method", ["oracle", "fedit", "full", "local", "central"])
def test_it_answers_as_the_holders_were_judged(learned, method):
    run = learned(method, *(["training.learning_rate=1e-3"] if method == "full" else []))
    rows = RunDirectory(run).table("evaluations").to_pylist()
    for task, classes in (("mood", 2), ("animal", 3)):
        cluster, found, answers = accuracy(run, task)
        (row,) = [
            row
            for row in rows
            if {"round": 1, "task": task, "split": "test", "metric": "accuracy", "cluster": cluster}.items()
            <= row.items()
        ]
        assert found == pytest.approx(row["value"])
        assert all(sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5) for one in answers)
        assert list(answers[0].probabilities) == [str(n) for n in range(classes)]
        assert answers[0].text == max(answers[0].probabilities, key=answers[0].probabilities.get)


def test_the_home_is_the_cluster_of_most_training_examples(learned):
    run = learned("local")
    rows = [row for row in RunDirectory(run).table("updates").to_pylist() if row["round"] == 1]
    largest = max((row for row in rows if row["task"] == "animal"), key=lambda row: row["num_examples"])
    assert Trained(run).home("animal") == largest["cluster"]


def test_texts_one_by_one_pairs_and_columns_say_the_same_as_a_file(learned, tmp_path):
    run = learned("oracle")
    table = pq.read_table(run.parent / "weather-test.parquet").slice(0, 3)
    pq.write_table(table, tmp_path / "three.parquet")
    _, wanted = predict(run, "weather", Given(file=tmp_path / "three.parquet"))
    texts = [text for text in table["text"].to_pylist() for _ in range(2)]  # the task takes the column twice
    assert predict(run, "weather", Given(texts=texts))[1] == wanted
    assert predict(run, "weather", Given(values=[f"text={texts[0]}"]))[1][0].text == wanted[0].text


def test_the_command_line_tells_classes_and_for_machines_all_it_knows(learned, fltac):
    run = learned("oracle")
    cluster, (wanted, other) = predict(run, "mood", Given(texts=["the good", "a bad"]))
    told = fltac("predict", run, "--task", "mood", "--text", "the good", "--text", "a bad")
    lines = [f"{one.text}  {one.probabilities[one.text]:.3f}\n" for one in (wanted, other)]
    assert told == (0, "".join(lines), "")
    code, out, _ = fltac("predict", run, "--task", "mood", "--text", "the good", "--json")
    assert code == 0
    assert json.loads(out)["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)
    assert (json.loads(out)["cluster"], json.loads(out)["row"]) == (cluster, 0)


def test_class_names_are_recorded_and_else_read_from_the_data(learned, tmp_path):
    run = learned("oracle")
    assert json.loads((run / "tasks.json").read_text())["animal"] == {"classes": ["0", "1", "2"]}
    shutil.copytree(run, tmp_path / "old")
    (tmp_path / "old" / "tasks.json").unlink()
    assert Trained(tmp_path / "old").classes("animal") == ("0", "1", "2")


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("nope", Given(texts=["a"]), r"--task: is no task of this run; choose one of mood, animal, weather \(got"),
        ("mood", Given(), "give examples in one way: --text, --image, --prompt, --set, --file"),
        ("mood", Given(texts=["a"], values=["text=a"]), "give examples in one way"),
        ("weather", Given(texts=["a"]), "--text: task 'weather' takes 2 texts an example"),
        ("mood", Given(prompts=["a"]), "--prompt: task 'mood' takes --text"),
        ("mood", Given(values=["word=a"]), r"tasks.0.inputs: no such column in what --set names; it has word"),
        ("mood", Given(values=["text"]), r"--set: reads COLUMN=VALUE, each column once \(got 'text'\)"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(learned, task, given, said):
    with pytest.raises(InputError, match=said) as told:
        predict(learned("oracle"), task, given)
    assert len(told.value.lines()) == 1
    assert told.value.file


def test_files_that_do_not_fit_are_told_in_a_line(learned, tmp_path):
    run = learned("oracle")
    with pytest.raises(InputError, match="--file: no such file"):
        predict(run, "mood", Given(file=tmp_path / "rows.csv"))
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match="--file: holds no rows"):
        predict(run, "mood", Given(file=tmp_path / "none.parquet"))
    with pytest.raises(InputError, match="--image: cannot be read: No such file"):
        predict(run, "mood", Given(images=[tmp_path / "cat.png"]))


def test_local_heads_never_left_their_clients(tmp_path):
    changes = ["method=oracle", "exchange.heads=local", "rounds=1", "training.steps=1"]
    run = tmp_path / "run"
    fltac.run(fltac.load(write_tiny(tmp_path), changes), out=run, runtime="local")
    with pytest.raises(InputError, match=r'with exchange\.heads = "local" heads never left their clients'):
        predict(run, "mood", Given(texts=["good"]))


def test_images_are_answered(tmp_path):
    changes = ["method=oracle", "rounds=1", "training.steps=20", "training.learning_rate=1e-2"]
    run = tmp_path / "run"
    fltac.run(fltac.load(write_tiny_images(tmp_path), changes), out=run, runtime="local")
    (image, *_), (label, *_) = pq.read_table(tmp_path / "warm-test.parquet").columns
    (tmp_path / "one.png").write_bytes(image.as_py()["bytes"])
    _, (one,) = predict(run, "warm", Given(images=[tmp_path / "one.png"]))
    _, many = predict(run, "warm", Given(file=tmp_path / "warm-test.parquet"))
    assert one.probabilities == pytest.approx(many[0].probabilities, abs=1e-5)
    assert one.text == str(label.as_py())


def test_prompts_are_answered_in_words(dialogues):
    _, by_column = predict(dialogues, "opposites", Given(values=["word=sun"]))
    _, whole = predict(dialogues, "opposites", Given(prompts=["what is sun ?", "what is good ?"]))
    assert [answer.text for answer in whole] == ["rain", "bad"]
    assert by_column == whole[:1]
    assert whole[0].probabilities is None
