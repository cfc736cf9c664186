"""What does it cost that few clients take part? The table of docs/clustering.md, in one resumable command.

    python -m experiments.participation --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each seed runs participation.toml twice at as many client-rounds: a part of the clients, or all in fewer rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cases import interval, parser, runs, seeds

HERE = Path(__file__).parent
FIRST_SEED = 40
CASES = {"a part": [], "all": ["clients.fraction=1.0", "rounds=3"]}  # 6 of 20 in 10 rounds, 20 in 3


def main() -> None:
    options = parser(__doc__, 5, FIRST_SEED).parse_args()
    done = runs(HERE / "participation.toml", CASES, options)
    lines = {case: [done[case, seed].lines() for seed in seeds(options)] for case in CASES}
    print("| clients in a round | rounds | client-rounds | ARI, last round | mean accuracy |")
    print("|---|---|---|---|---|")
    for case, each in lines.items():
        drawn = sum(line["clients"] for line in each[0])
        aris = interval([of_seed[-1]["ari"] for of_seed in each], most=1)
        print(f"| {case} | {len(each[0])} | {drawn} | {aris} | {interval(accuracies(each), most=1)} |")
    print(f"\na part less all, paired: {interval(np.subtract(*map(accuracies, lines.values())))}")


def accuracies(each: Sequence[Sequence[dict[str, Any]]]) -> list[float]:
    """The mean accuracy after the last round, by seed."""
    return [of_seed[-1]["accuracy_mean"] for of_seed in each]


if __name__ == "__main__":
    main()
