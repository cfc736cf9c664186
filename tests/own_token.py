"""A token of the tests' own, made on import: every Ray that they start or join has it, and nobody's home is touched."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_folder = Path(tempfile.mkdtemp(prefix="fltac-tests-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
FILE = _folder / "token"
FILE.touch(mode=0o600)
FILE.write_text("fedcba9876543210" * 4)
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(FILE)}  # before Ray is imported, which reads them
os.environ.pop("RAY_AUTH_TOKEN", None)
