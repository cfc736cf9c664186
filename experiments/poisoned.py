"""What do poisoned clients cost under each defence? The table of docs/reliability.md, in one resumable command.

    python -m experiments.poisoned --data FOLDER --out FOLDER [--seeds 3] [--workers 2] [--attacks sign_flip ..]

Each seed runs poisoned.toml under the oracle (which tests the merge) and under fltac (which tests all of it): under
each attack with each defence, clean with the plain mean, and under the first method clean with each defence, too. What
is lost is the mean accuracy on test less that of the clean run with the plain mean, in points; of a backdoor also how
often its mark is taken for its class.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cases import interval, parser, runs, seeds
from fltac.records.rounds import accuracies
from fltac.records.store import RunDirectory

HERE = Path(__file__).parent
FIRST_SEED = 60
ATTACKS = ("sign_flip", "scaled", "label_flip", "backdoor")
DEFENCES = {
    "mean": ["merging.type=mean"],
    "trimmed_mean": ["merging.type=trimmed_mean"],
    "median": ["merging.type=median"],
    "norm_clip": ["merging.type=norm_clip"],
    "agreement": ["merging.type=norm_clip", "merging.weights=agreement"],
}
METHODS = ("oracle", "fltac")


def main() -> None:
    asked = parser(__doc__, 3, FIRST_SEED)
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    asked.add_argument("--attacks", nargs="+", choices=ATTACKS, default=ATTACKS)
    asked.add_argument("--defences", nargs="+", choices=DEFENCES, default=list(DEFENCES))
    options = asked.parse_args()
    defences = list(dict.fromkeys(["mean", *options.defences]))  # what the others are held against
    clean = itertools.chain(
        itertools.product(options.methods, ["clean"], ["mean"]),
        itertools.product(options.methods[:1], ["clean"], defences),
    )
    keys = list(dict.fromkeys([*clean, *itertools.product(options.methods, options.attacks, defences)]))
    cases = {" ".join(key): overrides(*key) for key in keys}
    done = runs(HERE / "poisoned.toml", cases, options)
    print("| method | attack | merge | mean accuracy | lost, points | marked taken for the class | ARI, last round |")
    print("|---|---|---|---|---|---|---|")
    for method, attack, defence in keys:
        each = [done[f"{method} {attack} {defence}", seed] for seed in seeds(options)]
        undisturbed = [done[f"{method} clean mean", seed] for seed in seeds(options)]
        found, before = ([run.lines()[-1]["accuracy_mean"] for run in several] for several in (each, undisturbed))
        lost = interval(100 * np.subtract(before, found))
        marked = interval([of_mark(run) for run in each]) if attack == "backdoor" else "-"
        ari = interval([run.lines()[-1]["ari"] for run in each], most=1)
        print(f"| {method} | {attack} | {defence} | {interval(found, most=1)} | {lost} | {marked} | {ari} |")


def overrides(method: str, attack: str, defence: str) -> list[str]:
    """Of the experiment file."""
    poison = [] if attack == "clean" else [f"adversary.type={attack}"]
    return [f"method={method}", *DEFENCES[defence], *poison]


def of_mark(run: RunDirectory) -> float:
    """The mean over tasks of how much of test, marked, is taken for the backdoor's class after the last round."""
    rows: list[dict[str, Any]] = run.table("evaluations").to_pylist()
    last = max(row["round"] for row in rows)
    return float(np.mean(list(accuracies([row for row in rows if row["round"] == last], "marked").values())))


if __name__ == "__main__":
    main()
