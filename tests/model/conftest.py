from pathlib import Path

import pytest

import fltac
from fltac.planning import build, plan
from fltac.world import World
from tests.tiny import write_tiny


@pytest.fixture(scope="package")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    file: Path = write_tiny(tmp_path_factory.mktemp("tiny"))
    return build(plan(fltac.load(file)))
