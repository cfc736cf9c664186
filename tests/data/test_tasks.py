"""Files become checked examples: classes from all data, caps and validation by named draws."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fltac.data.tasks import load_tasks
from fltac.errors import InputError
from fltac.layers import load
from fltac.model.kinds import KINDS

READ = KINDS["text-classification"].read
NAMES = ["negative", "neutral", "positive"]
FEATURES = {"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}}


def write(path, rows: list[dict], class_names: bool = False) -> None:
    """Rows as a file of the kind that the path's ending names; parquet with Hugging Face's class names if asked."""
    table = pa.Table.from_pylist(rows)
    if class_names:
        table = table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows(labels, start: int = 0) -> list[dict]:
    return [{"text": f"text {start + i}", "label": label} for i, label in enumerate(labels)]


@pytest.fixture
def tasks(tmp_path):
    """Loads a task of a train and a test file, with any keys and overrides."""

    def tasks(train, test, ending="jsonl", keys="", seed=0, class_names=False, inputs='["text"]'):
        write(tmp_path / f"train.{ending}", train, class_names)
        write(tmp_path / f"test.{ending}", test, class_names)
        (tmp_path / "experiment.toml").write_text(f"""
            name = "x"
            model.source = {{ type = "hub", path = "m" }}
            [[tasks]]
            name = "a"
            source = {{ type = "files", train = "train.{ending}", test = "test.{ending}" }}
            inputs = {inputs}
            {keys}
        """)
        return load_tasks(load(tmp_path / "experiment.toml", [f"seed={seed}"]), READ)[0]

    return tasks


def texts(split) -> list[str]:
    return split.columns[0]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "json"])
def test_every_kind_of_file_gives_the_same_examples(tasks, ending):
    task = tasks(rows([0, 1, 1]), rows([1, 0], start=3), ending)
    assert task.classes == ("0", "1")
    assert texts(task.train) == ["text 0", "text 1", "text 2"]
    assert texts(task.test) == ["text 3", "text 4"]
    np.testing.assert_array_equal(task.train.labels, [0, 1, 1])
    np.testing.assert_array_equal(task.test.labels, [1, 0])
    assert (len(task.train), len(task.validation), len(task.test)) == (3, 0, 2)


def test_a_class_label_names_the_classes_even_those_without_examples(tasks):
    task = tasks(rows([2, 0]), rows([0]), "parquet", class_names=True)
    assert task.classes == tuple(NAMES)
    np.testing.assert_array_equal(task.train.labels, [2, 0])


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_strings_are_classes_in_alphabetical_order_of_all_data(tasks, ending):
    task = tasks(rows(["no", "yes"]), rows(["maybe", "yes"]), ending)
    assert task.classes == ("maybe", "no", "yes")
    np.testing.assert_array_equal(task.train.labels, [1, 2])
    np.testing.assert_array_equal(task.test.labels, [0, 2])


def test_truth_values_are_two_classes(tasks):
    np.testing.assert_array_equal(tasks(rows([True, False]), rows([False])).train.labels, [1, 0])


@pytest.mark.parametrize("where", ["train", "test"])
def test_classes_are_counted_before_any_cap(tasks, where):
    many = [*[0] * 50, 4]
    train, test = (rows(many if where == split else [0, 1]) for split in ("train", "test"))
    task = tasks(train, test, keys="max_train = 2\nmax_test = 2")
    assert len(task.classes) == 5
    assert (len(task.train), len(task.test)) == (2, 2)


def test_two_inputs_are_two_columns(tasks):
    train = [{"one": "a", "two": "b", "label": 0}, {"one": "c", "two": "d", "label": 1}]
    assert tasks(train, train, inputs='["two", "one"]').train.columns == (["b", "d"], ["a", "c"])


def test_a_column_of_categories_is_read_as_its_values(tmp_path, tasks):
    plain = tasks(rows(["x", "y"]), rows(["y"]), "parquet")
    table = pa.parquet.read_table(tmp_path / "train.parquet")
    for name in ("text", "label"):
        table = table.set_column(table.column_names.index(name), name, table.column(name).dictionary_encode())
    pa.parquet.write_table(table, tmp_path / "train.parquet")
    again = load_tasks(load(tmp_path / "experiment.toml"), READ)[0]
    assert (texts(again.train), again.classes) == (texts(plain.train), plain.classes)


def test_caps_and_validation_are_seeded_disjoint_and_in_order(tasks):
    train, test = rows([0, 1] * 50), rows([0, 1] * 20, start=100)
    keys = "max_train = 60\nmax_test = 10\nvalidation = 0.25"

    def splits(seed):
        task = tasks(train, test, keys=keys, seed=seed)
        return [texts(split) for split in (task.train, task.validation, task.test)]

    once, other = splits(0), splits(1)
    assert [len(split) for split in once] == [45, 15, 10]
    assert not set(once[0]) & set(once[1])
    assert set(once[0]) | set(once[1]) <= {row["text"] for row in train}
    for split in once:
        assert split == sorted(split, key=lambda text: int(text.split()[1]))
    assert splits(0) == once
    assert all(one != two for one, two in zip(once, other, strict=True))


def test_labels_stay_with_their_texts(tasks):
    labels = np.random.default_rng(0).integers(0, 3, 90).tolist()
    task = tasks(rows(labels), rows([0, 1, 2]), keys="max_train = 50\nvalidation = 0.5")
    for split in (task.train, task.validation):
        assert [labels[int(text.split()[1])] for text in texts(split)] == split.labels.tolist()


def test_a_cap_above_the_data_takes_all(tasks):
    assert len(tasks(rows([0, 1]), rows([1]), keys="max_train = 9").train) == 2


def test_majority_is_trains_most_frequent_class_on_test(tasks):
    assert tasks(rows([1, 1, 0]), rows([1, 0, 0, 0])).majority == 0.25


def test_a_sample_needs_no_inputs(tmp_path):
    (tmp_path / "experiment.toml").write_text("""
        name = "x"
        model.source = { type = "hub", path = "m" }
        [[tasks]]
        name = "replies"
        source = { type = "sample", name = "reply-matching" }
        max_train = 10
        max_test = 4
    """)
    (task,) = load_tasks(load(tmp_path / "experiment.toml"), READ)
    assert task.classes == ("differs", "matches")
    assert (len(task.train.columns), len(task.train), len(task.test)) == (2, 10, 4)


def test_a_data_set_that_no_hub_gives_is_told_once(tmp_path):
    task = """
        [[tasks]]
        name = "{0}"
        source = {{ type = "hub", path = "{1}", name = "{0}" }}
        inputs = ["text"]
    """
    (tmp_path / "experiment.toml").write_text(
        'name = "x"\nmodel.source = { type = "hub", path = "m" }'
        + task.format("a", "no/such")
        + task.format("b", "no/such")
        + task.format("c", "nor/this")
    )
    with pytest.raises(InputError) as refused:
        load_tasks(load(tmp_path / "experiment.toml"), READ)
    assert [(problem.key, problem.got) for problem in refused.value.problems] == [
        ("tasks.0.source.path", "no/such"),
        ("tasks.2.source.path", "nor/this"),
    ]
