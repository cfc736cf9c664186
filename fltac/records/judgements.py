"""What models said of a run's answers, beside it: `judgements.jsonl`, and `judgements.json` for what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fltac.records.files import append, as_json, write
from fltac.records.reading import read_json, read_lines

KEYS = ("task", "cluster", "example", "asked", "model", "score")  # of every judgement


class Judgements:
    """Of one run directory."""

    def __init__(self, run: Path) -> None:
        self._each, self._means = run / "judgements.jsonl", run / "judgements.json"

    def cut(self) -> None:
        """Takes away a line that a kill tore."""
        if self._each.is_file() and not (text := self._each.read_bytes()).endswith(b"\n"):
            write(self._each, text[: text.rfind(b"\n") + 1])

    def add(self, judgement: Mapping[str, Any]) -> None:
        """One more answer scored by a model, on disk at once."""
        append(self._each, as_json(judgement))

    def each(self) -> list[dict[str, Any]]:
        """Answers that models scored, in order. Raises InputError for a damaged line."""
        return read_lines(self._each, "remove it, and fltac judge asks again", KEYS)

    def write_means(self, model: str, means: Mapping[str, Any]) -> None:
        """What a model's scores come to, task by task, beside those of other models."""
        write(self._means, as_json(self.means() | {model: means}, indent=2))

    def means(self) -> dict[str, dict[str, Any]]:
        """Model -> task -> mean score, answers, and those whose score could not be read."""
        return read_json(self._means, "remove it, and fltac judge writes it anew") if self._means.is_file() else {}
