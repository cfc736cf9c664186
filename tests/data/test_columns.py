"""What a task's columns may hold, and what is said where they do not."""

import numpy as np
import pyarrow as pa
import pytest

from fltac.config import Task
from fltac.data.columns import Rows, images, prompts
from fltac.errors import InputError
from fltac.model.kinds import KINDS

SOURCE = {"type": "files", "train": "a.parquet", "test": "b.parquet"}


def rows(**columns):
    return Rows(pa.table(columns), "tasks.0.source.train", "tasks.0")


def test_only_rows_with_the_value_are_a_task():
    table = rows(category=["qa", "poem", "qa", None], n=[1, 2, 3, 3])
    assert table.only({"category": "qa"}).table["n"].to_pylist() == [1, 3]
    assert table.only({"category": "qa", "n": 3}).table["n"].to_pylist() == [3]
    assert table.only({}).table.num_rows == 4


def test_a_class_is_named_where_the_feature_names_it():
    features = b'{"info": {"features": {"c": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}'
    table = pa.table({"c": [0, 1, 1]}).replace_schema_metadata({b"huggingface": features})
    assert Rows(table, "w", "k").only({"c": "yes"}).table.num_rows == 2


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"kind": "qa"}, r"tasks\.0\.where\.kind: no such column in tasks\.0\.source\.train; it has category"),
        ({"category": "q"}, r"tasks\.0\.where\.category: no row of .* has this value; there are qa, poem \(got 'q'\)"),
        ({"category": 1}, r"tasks\.0\.where\.category: column 'category' of .* holds string \(got 1\)"),
    ],
)
def test_a_value_that_no_row_has_is_told(where, message):
    with pytest.raises(InputError, match=message):
        rows(category=["qa", "poem"]).only(where)


def test_a_prompt_is_its_template_with_the_rows_texts():
    table = rows(q=["why?", "{x}"], c=["", "so"])
    assert prompts(table, "{c}: {{{q}}}") == [": {why?}", "so: {{x}}"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{q", r"tasks\.0\.prompt: is no template: .* write a brace as {{ or }}"),
        ("say something", r"tasks\.0\.prompt: names no column; write them in braces"),
        ("{nothing}", r"tasks\.0\.prompt: no such column in tasks\.0\.source\.train; it has q, n"),
        ("{n}", r"tasks\.0\.prompt: column 'n' must hold text, but holds int64"),
    ],
)
def test_a_template_that_fits_no_row_is_told(template, message):
    with pytest.raises(InputError, match=message):
        prompts(rows(q=["why?"], n=[1]), template)


def test_images_are_structs_of_bytes_or_bytes():
    assert images(rows(i=[{"bytes": b"1", "path": None}]), "i") == images(rows(i=[b"1"]), "i") == [b"1"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            [{"bytes": None, "path": "a.png"}],
            r"column 'i\.bytes' has nothing .* first is row 0",
        ),
        (
            ["a.png"],
            r"tasks\.0\.inputs: column 'i' must hold images \(a struct of bytes and path, or binary\)",
        ),
    ],
)
def test_a_column_without_images_is_told(column, message):
    with pytest.raises(InputError, match=message):
        images(rows(i=column), "i")


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        ("text-classification", {"prompt": "{q}"}, r'tasks\.0\.prompt: is for model\.kind = "causal-lm"'),
        ("image-classification", {"inputs": ("q", "a")}, r"tasks\.0\.inputs: .* takes one column of images"),
        ("image-classification", {"prompt": "{q}"}, r"tasks\.0\.inputs: .* takes one column of images"),
        ("causal-lm", {"inputs": ("q",)}, r"tasks\.0\.prompt: .* takes a template over text columns"),
        ("causal-lm", {"prompt": "{q}", "label": "n"}, r"tasks\.0\.label: column 'n' must hold text"),
        ("causal-lm", {"prompt": "{q}", "label": "a", "metric": "f1"}, r"tasks\.0\.metric: is made of classes"),
    ],
)
def test_what_another_kind_takes_is_told(kind, keys, message):
    task = Task.model_validate({"name": "x", "source": SOURCE, **keys})
    table = rows(q=["why?", "who?"], a=["so", "me"], n=[0, 1])
    with pytest.raises(InputError, match=message):
        KINDS[kind].read(task, table, table)


def test_responses_are_the_last_column_and_of_no_class():
    task = Task.model_validate({"name": "x", "source": SOURCE, "prompt": "{q}!", "label": "a"})
    table = rows(q=["why?"], a=["so"])
    classes, train, _ = KINDS["causal-lm"].read(task, table, table)
    assert (classes, train.columns) == ((), (["why?!"], ["so"]))
    assert np.array_equal(train.labels, [0])
