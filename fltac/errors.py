"""What is said when the user's input is wrong: every problem at once, one line each."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill and batch systems, a terminal that is closed


class _Absent(Enum):  # the same one in every process
    ABSENT = "no value was given"


ABSENT = _Absent.ABSENT  # which differs from a given None


@dataclass(frozen=True)
class Problem:
    """One wrong input: the dotted key, what is wrong and what to do, and the value that was given."""

    key: str
    what: str
    got: object = ABSENT

    def line(self, file: str) -> str:
        """`file: dotted.key: what is wrong (got value)`, without the parts that do not apply."""
        got = "" if self.got is ABSENT else f" (got {self.got!r})"
        return ": ".join(part for part in (file, self.key, self.what) if part) + got


class InputError(Exception):
    """The user's input is wrong; nothing was started. The command line prints it and exits with 2."""

    def __init__(self, problems: Problem | Iterable[Problem], file: str = "") -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        self.file = file
        super().__init__("\n".join(self.lines()))

    def __reduce__(self) -> tuple[type[InputError], tuple[list[Problem], str], dict[str, object]]:
        """From one process to another as what it was made of, not as its text; with its notes."""
        return type(self), (self.problems, self.file), self.__dict__

    def lines(self, file: str = "") -> list[str]:
        """The problems in order; `file` names the experiment where the raiser did not know it."""
        return [problem.line(self.file or file) for problem in self.problems]


class StoppedError(Exception):
    """The run cannot go on, and says why in one line; what is finished is on disk. The command line exits with 1."""


def behind(error: BaseException) -> BaseException:
    """What was raised in another process, behind Ray's wrapper, whose text is a traceback."""
    return getattr(error, "cause", None) or error


def reason(error: BaseException) -> str:
    """What failed and where, in one line: with the notes that say whose work it was."""
    cause = behind(error)
    return " ".join([f"{type(cause).__name__}: {cause}", *getattr(cause, "__notes__", [])])


def in_one_line(said: object, most: int = 200) -> str:
    """What a library or a server says, however many lines it takes: its first so many characters."""
    return " ".join(str(said).split())[:most]


def first_line(error: BaseException) -> str:
    """What a library says of it, without the particulars."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}".rstrip(": ")
