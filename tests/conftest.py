"""No test reaches a hub; every Ray has the tests' own token; property tests draw alike on every run, untimed."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's library is imported, which reads it once

_folder = Path(tempfile.mkdtemp(prefix="fltac-tests-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
(_folder / "token").touch(mode=0o600)
(_folder / "token").write_text("fedcba9876543210" * 4)
os.environ.pop("RAY_AUTH_TOKEN", None)
os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"] = (
    "token",
    str(_folder / "token"),
)  # before Ray reads them

from hypothesis import settings  # noqa: E402

settings.register_profile("fltac", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fltac")
