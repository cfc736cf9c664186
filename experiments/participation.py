"""What does it cost that few clients take part? The table of docs/clustering.md, in one resumable command.

    python -m experiments.participation --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each seed runs participation.toml twice at as many client-rounds: a part of the clients, or all in fewer rounds.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from experiments.cases import finished, interval, mapped, parser, seeds

HERE = Path(__file__).parent
FIRST_SEED = 40
CASES = {"a part": [], "all": ["clients.fraction=1.0", "rounds=3"]}  # 6 of 20 in 10 rounds, 20 in 3


def main() -> None:
    options = parser(__doc__, 5, FIRST_SEED).parse_args()
    jobs = [(case, seed, options.out, options.data) for seed, case in itertools.product(seeds(options), CASES)]
    rows = mapped(one, jobs, options.workers)
    print("| clients in a round | rounds | client-rounds | ARI, last round | mean accuracy |")
    print("|---|---|---|---|---|")
    for case in CASES:
        mine = [row for row in rows if row["case"] == case]
        aris, accuracies = ([row[name] for row in mine] for name in ("ari", "accuracy_mean"))
        counts = " | ".join(str(mine[0][name]) for name in ("rounds", "client_rounds"))
        print(f"| {case} | {counts} | {interval(aris, most=1)} | {interval(accuracies, most=1)} |")
    part, full = ([row["accuracy_mean"] for row in rows if row["case"] == case] for case in CASES)
    print(f"\na part less all, paired: {interval([one - other for one, other in zip(part, full, strict=True)])}")


def one(case: str, seed: int, out: Path, data: str) -> dict[str, Any]:
    """A run's last round."""
    overrides = [f"seed={seed}", f"data.root={data}", *CASES[case]]
    run = finished(HERE / "participation.toml", out / case.replace(" ", "-") / f"seed-{seed}", overrides)
    lines = run.lines()
    return {"case": case, **lines[-1], "rounds": len(lines), "client_rounds": sum(line["clients"] for line in lines)}


if __name__ == "__main__":
    main()
