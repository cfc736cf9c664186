"""Does an experiment with one task end as one cluster? The table of docs/clustering.md, in one resumable command.

    python -m experiments.one_task --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each task of clustering.toml alone, three rounds: every split is a mistake, and cannot-link knows nothing of it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from experiments.cases import parser, runs, seeds

FILE = Path(__file__).parent / "clustering.toml"
FIRST_SEED = 50


def main() -> None:
    options = parser(__doc__, 5, FIRST_SEED).parse_args()
    tasks = tomllib.loads(FILE.read_text())["tasks"]
    cases = {task["name"]: [f"tasks={toml([task])}", "rounds=3"] for task in tasks}
    done = runs(FILE, cases, options)
    print("| clusters in rounds 1 to 3 | " + " | ".join(f"seed {seed}" for seed in seeds(options)) + " |")
    print("|---|" + "---|" * options.seeds)
    for case in cases:
        rows = [[str(line["clusters"]) for line in done[case, seed].lines()] for seed in seeds(options)]
        print(f"| {case} | " + " | ".join(map(", ".join, rows)) + " |")


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={toml(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else repr(value)


if __name__ == "__main__":
    main()
