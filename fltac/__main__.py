"""The process of the command line."""

import os
import sys
from contextlib import suppress

from fltac.cli import main
from fltac.screen.ending import SIGNALLED


def command() -> None:
    """Runs the command line. After a signal the process ends at once, all having been cleaned up: what it tore, such as
    an import of C++, may crash at the interpreter's own end, and the exit code be lost."""
    try:
        main()
    except SystemExit as ended:
        if ended.code in SIGNALLED:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # of a terminal that is closed
                    stream.flush()
            os._exit(ended.code)
        raise


if __name__ == "__main__":
    command()
