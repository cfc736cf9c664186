"""Property tests draw the same examples on every run and are not timed: the machine may be busy."""

from hypothesis import settings

settings.register_profile("fltac", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fltac")
