"""No test reaches a hub; property tests draw the same examples on every run and are not timed."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's library is imported, which reads it once

from hypothesis import settings

settings.register_profile("fltac", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fltac")
