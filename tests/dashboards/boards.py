"""The shipped boards and rules, as their tests read them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
RULES = DASHBOARDS / "prometheus" / "rules.yml"
GPU = re.compile(r"gpu|gram")  # what has data only where there is one


def maker():
    """`dashboards/make.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("make", DASHBOARDS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boards():
    return {file.stem: json.loads(file.read_text()) for file in sorted((DASHBOARDS / "grafana").glob("*.json"))}


def queries():
    """(where, query) of every panel, its variables at All."""
    found = []
    for name, board in boards().items():
        every = {f"${one['name']}": one.get("allValue", "") for one in board["templating"]["list"]}
        for panel in board["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for variable, value in every.items():
                    query = query.replace(variable, value)
                found.append((f"{name}: {panel['title']}", query))
    return found


def rules():
    """(recorded or alert, its name, its expression)"""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [
        ("record", rule["record"], rule["expr"]) if "record" in rule else ("alert", rule["alert"], rule["expr"])
        for group in groups
        for rule in group["rules"]
    ]


def tool(name):
    """Prometheus's program, or the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus, or as .ci/run has it")
    return found
