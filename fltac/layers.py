"""From layers (defaults, preset, file, command line) to one checked `Experiment`."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fltac.config import Clients, Experiment, cross_checks
from fltac.config.wording import KINDS, problems
from fltac.errors import InputError, Problem

Tree = dict[str, Any]
DEFAULTS: Tree = {  # what a later layer may build on; the values are those of fltac.config
    "method": Experiment.model_fields["method"].default,
    "clients": {"partition": {"type": Clients().partition.type}},
}
AXES = ("exchange", "similarity", "clustering", "merging")


@dataclass(frozen=True)
class Loaded:
    """An experiment and, for each axis of its method, the layer that set it."""

    experiment: Experiment
    origins: Mapping[str, str]


@dataclass(frozen=True)
class Layers:
    """What a user wrote, before it is put together: the file and the command line on top of it."""

    path: str
    file: Tree
    command: Tree

    def resolve(self, point: Mapping[str, Any] | None = None) -> Loaded:
        """All layers as one experiment; a sweep's `point`, dotted keys with their values, is the last, and no sweep.

        Raises InputError listing everything that is wrong.
        """
        below = merge(self.file, self.command)
        last = _anchored(_tree(point, below), Path.cwd(), below) if point is not None else {}
        tree: Tree = {}
        origins: dict[str, str] = {}
        named = {"default": DEFAULTS, "file": self.file, "command line": self.command, "sweep point": last}
        for name, layer in named.items():
            if "method" in layer:
                preset = _preset(layer["method"])
                tree.update({axis: preset.get(axis, {}) for axis in AXES})
                origins.update(dict.fromkeys(AXES, f"preset {layer['method']} ({name})"))
            origins.update({axis: name for axis in AXES if axis in layer})
            tree = merge(tree, layer)
        if point is not None:
            tree.pop("sweep", None)
        return Loaded(_validated(tree, self.path), origins)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a TOML file (or a run's experiment.json) with `key=value` overrides on top.

    Raises InputError listing everything that is wrong.
    """
    return read(path, overrides).resolve().experiment


def read(path: str | Path, overrides: Sequence[str] = ()) -> Layers:
    """The layers of an experiment. Raises InputError where they cannot be read."""
    path = Path(path)
    file = _anchored(_read(path), path.parent.resolve())
    file.setdefault("data", {})
    if isinstance(file["data"], dict):
        file["data"].setdefault("root", str(path.parent.resolve()))
    return Layers(str(path), file, _anchored(_tree(_values(overrides), file), Path.cwd(), file))


def merge(below: Tree, above: Tree) -> Tree:
    """Keys of `above` win, tables are merged; a table of another `type` replaces the one below whole."""
    merged = dict(below)
    if "alpha" in above or "scale" in above:  # two names of one number: the later layer's is meant
        merged.pop("alpha", None), merged.pop("scale", None)
    for key, value in above.items():
        old = merged.get(key)
        if not (isinstance(value, dict) and isinstance(old, dict)) or value.get("type", old.get("type")) != old.get(
            "type"
        ):
            merged[key] = value
        else:
            merged[key] = merge(old, value)
    return merged


def methods() -> list[str]:
    """The presets that ship with fltac."""
    return sorted(item.name.removesuffix(".toml") for item in _presets().iterdir() if item.name.endswith(".toml"))


def _presets() -> Any:
    return resources.files("fltac") / "methods"


def _preset(name: object) -> Tree:
    if name not in methods():
        raise InputError(Problem("method", f"is no method; choose one of {', '.join(methods())}", name))
    return tomllib.loads((_presets() / f"{name}.toml").read_text())


def _read(path: Path) -> Tree:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(Problem("", f"cannot read the experiment file: {reason}"), str(path)) from None
    try:
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(Problem("", f"is not valid {path.suffix[1:].upper() or 'TOML'}: {error}"), str(path)) from None
    if not isinstance(tree, dict):
        raise InputError(Problem("", "holds no experiment: it must be a table of keys", tree), str(path))
    return tree


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """`["adapter.rank=1"]` as keys with their values, TOML or else a string."""
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise InputError(Problem(key, "an override reads key=value, e.g. adapter.rank=1", override), "command line")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values


def _tree(values: Mapping[str, Any], below: Tree) -> Tree:
    """Dotted keys as a tree; tasks are named or numbered, as in the tree `below`."""
    tree: Tree = {}
    for key, value in values.items():
        *path, last = key.split(".")
        if path and path[0] == "tasks":
            _set_in_task(tree, below, path, last, value)
            continue
        if path[:2] == ["sweep", "space"]:  # what is swept is a dotted key itself
            *swept, last = key.split(".")[2:]
            path, last = (["sweep", "space", ".".join(swept)], last) if last in KINDS else (path[:2], key[12:])
        table = tree
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(Problem(key, "contradicts another override", value), "command line")
        table[last] = value
    return tree


def _set_in_task(tree: Tree, file: Tree, path: list[str], last: str, value: object) -> None:
    """Arrays are replaced whole by a later layer, so the layer takes the file's tasks along."""
    tasks = tree.setdefault("tasks", copy.deepcopy(file.get("tasks", [])))
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(Problem("tasks", "must be an array of tables, [[tasks]]", tasks), "command line")
    names = [task.get("name") for task in tasks if isinstance(task, dict)]
    wanted = path[1] if len(path) > 1 else last
    index = names.index(wanted) if wanted in names else int(wanted) if wanted.isdecimal() else len(names)
    if index >= len(tasks) or len(path) == 1:
        what = f"names no task; one of {', '.join(map(str, names))}, then its key"
        if wanted in names:
            what = f"names a whole task; name one of its keys, such as tasks.{wanted}.max_train"
        raise InputError(Problem(".".join([*path, last]), what, wanted), "command line")
    change: Tree = {last: value}
    for part in reversed(path[2:]):
        change = {part: change}
    tasks[index] = merge(tasks[index], change)


def _anchored(layer: Tree, base: Path, below: Tree | None = None) -> Tree:
    """Paths of a layer made absolute: a file's are relative to its folder, the command line's to the present one.

    Whether the model is a path may be said in the layer `below` alone.
    """
    layer = dict(layer)
    data, source = layer.get("data"), _model_source(layer)
    if isinstance(data, dict) and isinstance(data.get("root"), str):
        layer["data"] = {**data, "root": _absolute(base, data["root"])}
    kind = source.get("type", _model_source(below or {}).get("type"))
    if kind == "path" and isinstance(source.get("path"), str):
        layer["model"] = {**layer["model"], "source": {**source, "path": _absolute(base, source["path"])}}
    sweep = layer.get("sweep")
    if isinstance(sweep, dict) and isinstance(sweep.get("space"), dict):  # trials resolve their points in other folders
        paths = ["data.root", *(["model.source.path"] if kind == "path" else [])]
        space = {key: _absolutes(base, one) if key in paths else one for key, one in sweep["space"].items()}
        layer["sweep"] = {**sweep, "space": space}
    return layer


def _absolute(base: Path, path: str) -> str:
    return str((base / Path(path).expanduser()).resolve())


def _absolutes(base: Path, values: object) -> object:
    """The paths of a dimension made absolute, whatever way they are named in."""
    if isinstance(values, dict):
        return {kind: _absolutes(base, each) for kind, each in values.items()}
    if isinstance(values, list):
        return [_absolutes(base, each) for each in values]
    return _absolute(base, values) if isinstance(values, str) else values


def _model_source(layer: Tree) -> Tree:
    model = layer.get("model")
    source = model.get("source") if isinstance(model, dict) else None
    return source if isinstance(source, dict) else {}


def _validated(tree: Tree, file: str) -> Experiment:
    try:
        experiment = Experiment.model_validate(tree)
    except ValidationError as error:
        raise InputError(problems(error, tree), file) from None
    if wrong := cross_checks(experiment):
        raise InputError([Problem(*each) for each in wrong], file)
    return experiment.resolved()
