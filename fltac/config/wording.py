"""What pydantic found wrong, in words for whoever wrote the file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from fltac.config.base import Config
from fltac.config.sweep import Dimension
from fltac.errors import ABSENT, Problem

KINDS = tuple(Dimension.model_fields)  # of a sweep's values


def problems(error: ValidationError, tree: dict[str, Any]) -> list[Problem]:
    """A problem a key of the tree that was refused."""
    told: dict[str, Problem] = {}
    for each in (_problem(dict(one), tree) for one in error.errors()):
        before = told.get(each.key)  # a value of two possible types fails twice: once is said
        what = each.what if before is None else f"{before.what} or {each.what.removeprefix('must be ')}"
        told[each.key] = Problem(each.key, what, each.got)
    return list(told.values())


def _problem(error: dict[str, Any], tree: dict[str, Any]) -> Problem:
    """A pydantic error as one line of ours: the key as the user wrote it, the remedy, the value."""
    at: Any = tree
    path: list[str] = []
    named: Any = None
    for part in error["loc"]:
        if isinstance(at, dict) and part == at.get("type") and at is not named and not isinstance(at.get(part), dict):
            named = at
            continue  # pydantic names the member of a union; the user's file does not
        if not isinstance(at, dict | list):
            break  # nor has a plain value parts
        if isinstance(at, list) and not isinstance(part, int):
            break
        path.append(str(part))
        at = at.get(part) if isinstance(at, dict) else at[part] if isinstance(part, int) and part < len(at) else None
    key, kind, what, got = ".".join(path), error["type"], error["msg"], error["input"]
    if kind == "missing":
        what, got = "is required; add it", ABSENT
    elif path[:2] == ["sweep", "space"] and kind in ("extra_forbidden", "model_type"):
        what = _swept(path, got)
    elif kind == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys() - {path[-1]}, n=1)
        what = f"unknown key; did you mean {near[0]!r}?" if near else "unknown key; remove it"
    elif kind == "union_tag_not_found":
        key, what = f"{key}.type", "is required: say which kind it is"
    elif kind == "union_tag_invalid":
        key, what, got = f"{key}.type", f"must be one of {error['ctx']['expected_tags']}", error["ctx"]["tag"]
    elif kind == "too_short" and error["ctx"]["actual_length"] == 0:
        what = "is empty; name one at least"
    elif kind in ("dict_type", "model_type"):
        what = "must be a table of keys"
    elif kind == "value_error":
        what, got = str(error["ctx"]["error"]), got
    else:
        what = what.replace("Input should be a valid tuple", "must be an array, [..] or [[..]]")
        what = what.replace("Input should be", "must be").replace("Tuple should have", "must have")
        if kind == "literal_error" and named is not None and len(path) > 1:
            what = f"{what} where {'.'.join(path[:-1])}.type is {named['type']!r}"
    return Problem(key, what, got)


def _swept(path: Sequence[str], got: object) -> str:
    """What is wrong with a key under sweep.space that is no way to name values, and which dotted key is meant."""
    if near := difflib.get_close_matches(path[-1].split(".")[-1], KINDS, n=1):
        return f"unknown key; did you mean {near[0]!r}?"
    keys, values = list(path[2:]), got
    while isinstance(values, dict) and len(values) == 1 and not values.keys() & set(KINDS):
        ((key, values),) = values.items()
        keys.append(key)
    return f'what is swept is a dotted key in quotes with a table of its values: "{".".join(keys)}" = {{ grid = [..] }}'


def _known_keys() -> set[str]:
    kinds = [Config]
    for kind in kinds:  # grows as it goes
        kinds += kind.__subclasses__()
    return {field for kind in kinds for field in kind.model_fields}
