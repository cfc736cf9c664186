"""How a command ends: which file an error is about, and what a signal leaves."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from fltac import screen
from fltac.errors import SIGNALS, InputError
from fltac.records.store import RunDirectory
from fltac.records.sweeps import SweepDirectory

ENDING_SECONDS = 30.0  # that what was started may take to end
SIGNALLED = tuple(128 + one for one in SIGNALS)  # as shells tell it
INTERRUPTED = 128 + signal.SIGINT


class Stoppable:
    """Says what is left where a signal ends a command, and ends with 128 and its number: what is finished is on disk.

    Signals that come soon after one are ignored: what was started is ended, which takes seconds. Later ones are
    answered anew, for the first may have come while Python passed over exceptions.
    """

    def __init__(self, folder: Path | None) -> None:
        """The folder of the run or sweep; None of a job, which another machine runs."""
        self.folder, self.number, self.heeds = folder, 0, 0.0  # the signal, and when the next is heeded, monotonic

    def __enter__(self) -> None:
        before = {one: signal.getsignal(one) for one in SIGNALS}
        self.before = {one: known for one, known in before.items() if known != signal.SIG_IGN}  # of nohup, and of `&`
        for one in self.before:
            signal.signal(one, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        if time.monotonic() < self.heeds:
            return
        self.number, self.heeds = number, time.monotonic() + ENDING_SECONDS
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for one, known in self.before.items():
            signal.signal(one, known or signal.SIG_DFL)
        number = self.number or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else 0)
        if error is not None and number:  # Ray makes errors of its own of the exception that we raised
            with suppress(OSError):  # of a terminal that is closed
                screen.errors.print(f"stopped: {self._left()}", markup=False)
            raise SystemExit(128 + number) from None

    def _left(self) -> str:
        if self.folder is None:
            return "a job that was submitted goes on without this terminal; ray job list shows it"
        if RunDirectory.there(self.folder):
            run = RunDirectory(self.folder)
            with suppress(InputError):
                if run.lines() and not run.has_checkpoint():
                    return "finished rounds are kept; checkpoint.keep = 0 leaves nothing to go on from"
        elif not SweepDirectory.there(self.folder):
            return "nothing had begun"
        return f"what is finished is kept; fltac resume {self.folder} goes on"


class Named:
    """Gives problems that were found below the command line the file that they are about."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError) and not error.file:
            error.file = str(self.file)
