"""Does an experiment with one task end as one cluster? The table of docs/clustering.md, in one resumable command.

    python -m experiments.one_task --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each task of clustering.toml alone, three rounds: every split is a mistake, and cannot-link knows nothing of it.
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

from experiments.cases import finished, mapped, parser, seeds

FILE = Path(__file__).parent / "clustering.toml"
FIRST_SEED = 50
TASKS = {task["name"]: task for task in tomllib.loads(FILE.read_text())["tasks"]}


def main() -> None:
    options = parser(__doc__, 5, FIRST_SEED).parse_args()
    jobs = [(name, seed, options.out, options.data) for seed, name in itertools.product(seeds(options), TASKS)]
    rows = dict(zip([job[:2] for job in jobs], mapped(one, jobs, options.workers), strict=True))
    print("| task | " + " | ".join(f"seed {seed}" for seed in seeds(options)) + " |")
    print("|---|" + "---|" * options.seeds)
    for name in TASKS:
        print(f"| {name} | " + " | ".join(rows[name, seed] for seed in seeds(options)) + " |")


def one(name: str, seed: int, out: Path, data: str) -> str:
    """How many clusters there were in each round."""
    overrides = [f"tasks={toml([TASKS[name]])}", "rounds=3", f"seed={seed}", f"data.root={data}"]
    run = finished(FILE, out / name / f"seed-{seed}", overrides)
    return ", ".join(str(line["clusters"]) for line in run.lines())


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={toml(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else repr(value)


if __name__ == "__main__":
    main()
