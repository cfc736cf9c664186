"""No test reaches a hub; property tests draw the same examples on every run and are not timed."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's library is imported, which reads it once

import pytest
from hypothesis import settings

import fltac
from fltac.cli import main
from tests.tiny import write_tiny
from tests.tiny_kinds import write_tiny_dialogues

settings.register_profile("fltac", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fltac")

SHORT = ["rounds=1", "clients.count=2"]


@pytest.fixture(name="fltac")
def command_line(monkeypatch, capsys):
    """Runs the command line in process; returns (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fltac", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """By method a run of the tiny federation that has learned its tasks, beside its data; made when first asked for."""
    folder = tmp_path_factory.mktemp("learned")
    file = write_tiny(folder)

    def run(method, *overrides):
        if not (folder / method).exists():
            changes = [f"method={method}", *SHORT, "training.steps=40", "training.learning_rate=1e-2", *overrides]
            fltac.run(fltac.load(file, changes), out=folder / method, runtime="local")
        return folder / method

    return run


@pytest.fixture(scope="session")
def dialogues(tmp_path_factory):
    """A run of the tiny language model that has learned to answer, and wrote some answers."""
    folder = tmp_path_factory.mktemp("dialogues")
    changes = ["method=oracle", *SHORT, "training.steps=80", "training.generate=3"]
    fltac.run(fltac.load(write_tiny_dialogues(folder), changes), out=folder / "run", runtime="local")
    return folder / "run"
