"""A sweep's folder."""

import json

import pytest

from fltac.errors import InputError
from fltac.records.sweeps import SweepDirectory


@pytest.mark.parametrize("text", ['{"par', "[1]", "{}", '{"params": 3, "failure": null}'])
def test_a_note_that_is_none_is_told_with_its_file(tmp_path, text):
    (tmp_path / "points").mkdir()
    directory = SweepDirectory(tmp_path)
    directory.note(0, {"seed": 1})
    (tmp_path / "points" / "0001.json").write_text(text)
    for read in (directory.noted, lambda: directory.failure(1)):
        with pytest.raises(InputError) as raised:
            read()
        (line,) = raised.value.lines()
        assert line.startswith(f"{tmp_path / 'points' / '0001.json'}: is no note of a point (")
        assert "delete it" in line


def test_what_is_no_point_is_passed_over(tmp_path):
    (tmp_path / "points").mkdir()
    directory = SweepDirectory(tmp_path)
    directory.note(0, {"seed": 1})
    (tmp_path / "points" / "notes.json").write_text(json.dumps("mine"))
    assert directory.noted() == {0: {"seed": 1}}
