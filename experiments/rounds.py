"""Do clusters stay right once they are merged, in any gauge? The table of docs/clustering.md, in one resumable command.

    python -m experiments.rounds --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each seed of clustering.toml for three rounds, by the default and its two runners-up. Where each client turns its
factors (`adapter.gauge`), the mean of A and of B would be of no use: clusters are merged by product_svd.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from experiments.cases import interval, parser, runs, seeds

HERE = Path(__file__).parent
FIRST_SEED = 15
ROUNDS = 3
METHODS = {
    "blend, hdbscan": [],
    "subspace, hdbscan": ["similarity.type=subspace"],
    "blend, agglomerative": ["clustering.type=agglomerative"],
}
GAUGES = {"kept, mean": [], "random, product_svd": ["adapter.gauge=random", "merging.type=product_svd"]}
CASES = {
    f"{method}, {gauge}": [f"rounds={ROUNDS}", *METHODS[method], *GAUGES[gauge]]
    for gauge, method in itertools.product(GAUGES, METHODS)
}


def main() -> None:
    asked = parser(__doc__, 5, FIRST_SEED)
    asked.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), help="cases, all where not given")
    options = asked.parse_args()
    done = runs(HERE / "clustering.toml", {case: CASES[case] for case in options.only}, options)
    print("| similarity, clusterer, gauge, merging | " + " | ".join(f"round {r + 1}" for r in range(ROUNDS)) + " |")
    print("|---|" + "---|" * ROUNDS)
    for case in options.only:
        lines = [done[case, seed].lines() for seed in seeds(options)]
        aris = [interval([of_seed[r]["ari"] for of_seed in lines], most=1) for r in range(ROUNDS)]
        print(f"| {case} | " + " | ".join(aris) + " |")


if __name__ == "__main__":
    main()
