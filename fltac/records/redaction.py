"""What looks like a secret is not written down."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"
NAMES = r"token|secret|password|passwd|passphrase|credentials?|api[_-]?key|access[_-]?key|authorization"
NAMED = re.compile(rf"(?i)^(-*(?:[\w.-]*[._-])?(?:{NAMES})[=:])(.+)$", re.DOTALL)
NAME = re.compile(rf"(?i)^-+(?:[\w-]*[_-])?(?:{NAMES})$")  # its value is the next word
SHAPES = re.compile(
    r"\b(?:hf_|gh[pousr]_|github_pat_|sk-|xox[abprs]-|glpat-|pypi-)[\w-]{12,}"  # well-known makers' tokens
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JSON web tokens
    r"|\b[0-9a-fA-F]{64,}\b"  # Ray's; a commit has 40
    r"|(?i:bearer\s+)[^\s\"']+"
)
USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of a URL


def redacted(words: Sequence[str]) -> list[str]:
    """A command's words, with `***` for what is called, or is shaped like, a token or a password."""
    shown: list[str] = []
    for index, word in enumerate(words):
        if index and NAME.match(words[index - 1]):
            shown.append(HIDDEN)
        else:
            word = NAMED.sub(rf"\1{HIDDEN}", word)
            shown.append(USER.sub(HIDDEN, SHAPES.sub(HIDDEN, word)))
    return shown
