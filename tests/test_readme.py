"""What the README tells people to type is there, and what it shows is what ships."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_two_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("setup", "quickstart", "test", "check", "bench"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make quickstart" in README
    assert "make test" in README


def test_every_file_that_it_names_exists():
    named = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`((?:fltac|docs|experiments|benchmarks)/[\w./-]*)`", README
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_fltac_command_that_it_shows_is_one():
    from typer.main import get_command

    from fltac.cli import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = set(re.findall(r"^(?:\.venv/bin/)?fltac (\w+)", README, re.MULTILINE))
    assert shown
    assert shown <= commands


def test_every_method_is_told():
    for file in (ROOT / "fltac" / "methods").glob("*.toml"):
        assert f"`{file.stem}`" in README, file.stem


def test_ci_calls_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_what_is_declared_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[\[>=<]", one)[0].lower().replace("_", "-") for one in declared}
    assert names - pinned == set()
