"""Files that are there whole or not at all."""

import pytest

from fltac.records.files import write_all


def test_what_cannot_be_put_in_its_place_leaves_no_half(tmp_path):
    (tmp_path / "b").mkdir()  # in the way
    with pytest.raises(IsADirectoryError):
        write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]
