"""Files that are there whole or not at all."""

import pytest

from fltac.records import files
from fltac.records.files import write, write_all, write_folder


def test_what_cannot_be_put_in_its_place_leaves_no_half(tmp_path):
    (tmp_path / "b").mkdir()  # in the way
    with pytest.raises(IsADirectoryError):
        write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]


def test_what_is_written_is_reached_by_synced_folders_alone(tmp_path, monkeypatch):
    synced, sync = [], files._sync
    monkeypatch.setattr(files, "_sync", lambda folder: (synced.append(folder), sync(folder)))
    write(tmp_path / "a" / "b" / "file", b"1")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    synced.clear()
    write_folder(tmp_path / "c" / "round-1", {"file": b"1"})
    assert synced[0] == tmp_path
    assert synced[-1] == tmp_path / "c"
    assert (tmp_path / "c" / "round-1" / "file").read_bytes() == b"1"
