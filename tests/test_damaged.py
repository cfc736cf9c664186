"""What is damaged in a run directory is told in one line, with what to do, or made anew."""

import json
import shutil
from pathlib import Path

import pytest

import fltac as library

PREDICT = ["predict", "--task", "mood", "--text", "word"]
EXPORT = ["export", "--cluster", "0", "--to", "new"]
DAMAGED = {  # what reads it, and what is to be done
    "provenance.json": (["resume", "--runtime", "local"], "restore it from a copy"),
    "summary.json": (["resume"], "remove it, and fltac resume writes it anew"),
    "experiment.json": (["watch"], "restore it from a copy"),
    "tasks.json": (PREDICT, "remove it, and the names are read from the data"),
    "updates.parquet/round-0001.parquet": (["report"], "restore it from a copy, or begin the run anew"),
    "adapters/round-0002/cluster-0.safetensors": (EXPORT, "restore it from a copy"),
    "checkpoint/round-0002/server.safetensors": (PREDICT, "without summary.json fltac resume makes it anew"),
}
BROKEN = {file: (file, "{") for file in DAMAGED}
BROKEN |= {f"deep {file}": (file, "[" * 50_000) for file in DAMAGED if file.endswith(".json")}
BROKEN |= {f"other {file}": (file, "{}") for file in ("provenance.json", "summary.json", "experiment.json")}


@pytest.fixture(scope="module")
def finished(tiny_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    library.run(library.load(tiny_file), out=folder, runtime="local")
    return folder


@pytest.mark.parametrize(("file", "content"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_told_in_one_line(finished, fltac, tmp_path, monkeypatch, file, content):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "run")
    Path("run", file).write_text(content)
    if file == "provenance.json":
        Path("run", "summary.json").unlink()
    (command, *options), remedy = DAMAGED[file]
    code, _, err = fltac(command, "run", *options)
    assert (code, err.count("\n")) == (2, 1), err
    assert Path(err.split(": ")[0]).resolve() == Path("run", file).resolve()
    assert f"); {remedy}" in err


def test_a_run_without_checkpoints_is_not_begun_anew_and_ends_where_all_was_done(finished, fltac, tiny_file, tmp_path):
    out, kept = tmp_path / "run", json.loads((finished / "summary.json").read_text())
    library.run(library.load(tiny_file, ["checkpoint.keep=0"]), out=out, runtime="local")
    (out / "summary.json").unlink()
    code, said, err = fltac("resume", out)
    assert (code, err, "round " in said) == (0, "", False)
    assert json.loads((out / "summary.json").read_text())["accuracy"] == kept["accuracy"]
    (out / "summary.json").unlink()
    first, *_ = lines = (out / "rounds.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 2
    (out / "rounds.jsonl").write_text(first)
    code, _, err = fltac("resume", out)
    assert (code, err.count("\n"), "1 finished rounds to read" in err) == (2, 1, True)
    assert (out / "rounds.jsonl").read_text() == first
    assert (out / "adapters" / "round-0002").is_dir()


def test_damaged_lines_are_told_and_resume_restores_them_and_a_torn_round(finished, fltac, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    results = (out / "rounds.jsonl").read_text()
    for line in ("garbage", "[]", "{}", "[" * 50_000):
        (out / "rounds.jsonl").write_text(f"{line}\n{results}")
        code, _, err = fltac("report", out)
        what = "line 1: is damaged; without summary.json fltac resume restores it from the checkpoint"
        assert (code, err) == (2, f"{out / 'rounds.jsonl'}: {what} (got {line[:40]!r})\n")
    (out / "summary.json").unlink()
    code, said, _ = fltac("resume", out)
    assert (code, "round " in said, (out / "rounds.jsonl").read_text()) == (0, False, results)
    (out / "summary.json").unlink()
    (out / "checkpoint" / "round-0002" / "clients.bin").write_bytes(b"torn")
    code, said, err = fltac("resume", out)
    assert (code, err, "going on from round 1" in said, "round 2/2" in said) == (0, "", True, True)
