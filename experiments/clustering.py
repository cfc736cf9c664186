"""Which similarity with which clusterer finds the tasks? The tables of docs/clustering.md, in one resumable command.

    python -m experiments.clustering --data FOLDER --out FOLDER [--seeds 5] [--workers 2] [--only CELL ...]

A cell is one way to make adapters (start, partition, rank); each of its seeds is a federation of one round whose
adapters are kept in a run directory. Every similarity and clusterer is then scored on the same adapters, without a
federation of its own. What is finished is not done again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load as load_tensors
from threadpoolctl import threadpool_limits

import fltac
from experiments.cases import finished, interval, mapped, parser, seeds, slug
from fltac.config import Agglomerative, B, Blend, Flat, Hdbscan, Kmeans, Product, Settling, Sketch, Spectral, Subspace
from fltac.model.adapters import adapter_spec, regauge, start_adapter
from fltac.model.backbone import skeleton
from fltac.records.scoring import agreement
from fltac.records.store import RunDirectory
from fltac.seeds import generator
from fltac.server.clustering import CLUSTERERS, Hints
from fltac.server.comparing import compared
from fltac.server.settling import conflicts, settle
from fltac.wire.messages import AdapterSpec

HERE = Path(__file__).parent
FIRST_SEED = 15  # 0 to 14 were looked at while the method was made
PARTITIONS = {
    "alpha 0.5": "{type='dirichlet', alpha=0.5}",
    "alpha 5": "{type='dirichlet', alpha=5.0}",
    "alpha 0.1": "{type='dirichlet', alpha=0.1}",
    "labels 0.5": "{type='label_dirichlet', alpha=0.5}",
}
CELLS = {  # the default's own first, so that a table is there early
    f"{init}, {partition}, rank {rank}": [
        f"adapter.init={init}", f"clients.partition={PARTITIONS[partition]}", f"adapter.rank={rank}"
    ]
    for init, rank, partition in itertools.product(("shared", "per-client"), (4, 1, 16), PARTITIONS)
}  # fmt: skip
PLAIN = {"cannot_link": False, "join": None}  # the clusterer's own answer, noise to what it is like
SIMILARITY = {
    "flat": Flat(type="flat"),
    "b": B(type="b"),
    "product": Product(type="product"),
    "subspace": Subspace(type="subspace"),
    "blend": Blend(type="blend"),
    "sketch 512": Sketch(type="sketch", basis="product", size=512),
}
CLUSTERER = {
    "hdbscan, settled": Hdbscan(type="hdbscan"),
    "hdbscan, no cannot-link": Hdbscan(type="hdbscan", cannot_link=False),
    "hdbscan, no join": Hdbscan(type="hdbscan", join=None),
    "hdbscan": Hdbscan(type="hdbscan", **PLAIN),
    "agglomerative, settled": Agglomerative(type="agglomerative"),
    "agglomerative": Agglomerative(type="agglomerative", **PLAIN),
    "spectral, settled": Spectral(type="spectral"),
    "spectral": Spectral(type="spectral", **PLAIN),
    "kmeans, k told": Kmeans(type="kmeans"),
}


@dataclass(frozen=True)
class Kept:
    """The adapters of a finished round, with the true task of each, which only scoring sees."""

    adapters: np.ndarray  # (n, p)
    clients: list[int]
    tasks: list[str]
    spec: AdapterSpec
    seed: int

    @property
    def shared(self) -> np.ndarray:
        """(n,) whether somebody else holds the task too: noise among the others is right."""
        return np.array([self.tasks.count(task) > 1 for task in self.tasks])

    def in_random_gauge(self) -> Kept:
        turned = [regauge(flat, self.spec, generator(self.seed, "gauge", i)) for i, flat in enumerate(self.adapters)]
        return replace(self, adapters=np.stack(turned))


def main() -> None:
    asked = parser(__doc__, 5, FIRST_SEED)
    asked.add_argument("--only", nargs="*", default=list(CELLS), choices=list(CELLS), help="cells, all where not given")
    options = asked.parse_args()
    jobs = [
        (cell, seed, str(options.out), options.data) for seed, cell in itertools.product(seeds(options), options.only)
    ]
    rows = [row for rows in mapped(one, jobs, options.workers) for row in rows]
    table = pd.DataFrame(rows)
    table.to_parquet(options.out / "scores.parquet")
    print(tables(table))


def one(cell: str, seed: int, out: str, data: str) -> list[dict[str, object]]:
    """The scores of one federation, from its file where they are there already."""
    folder = Path(out) / slug(cell) / f"seed-{seed}"
    asked = repr((SIMILARITY, CLUSTERER)).encode()  # other settings are other scores
    file = folder.with_name(f"{folder.name}-{hashlib.blake2b(asked, digest_size=4).hexdigest()}.json")
    if file.is_file():
        return json.loads(file.read_text())
    overrides = [*CELLS[cell], f"seed={seed}", f"data.root={data}"]
    finished(HERE / "clustering.toml", folder, overrides)
    kept = read(folder)
    rows = []
    for gauge, adapters in (("kept", kept), ("random", kept.in_random_gauge())):
        rows += [{"cell": cell, "seed": seed, "gauge": gauge} | row for row in scores(adapters)]
    half = file.with_suffix(".tmp")
    half.write_text(json.dumps(rows))
    half.replace(file)
    print(f"{cell}, seed {seed}: done", flush=True)
    return rows


def read(folder: Path) -> Kept:
    """The last round's adapters of a run."""
    run = RunDirectory(folder)
    experiment = fltac.load(run.experiment_file)
    (server,) = folder.glob("checkpoint/round-*/server.safetensors")
    tensors = load_tensors(server.read_bytes())
    table = run.table("updates").to_pylist()
    tasks = {(row["client"], row["slot"]): row["task"] for row in table}
    keys = [(int(client), int(slot)) for client, slot in tensors["keys"]]
    spec = adapter_spec(skeleton(experiment.model)[0], experiment.adapter)
    names = experiment.truths()
    return Kept(tensors["adapters"], [c for c, _ in keys], [names[tasks[key]] for key in keys], spec, experiment.seed)


def scores(kept: Kept) -> Iterator[dict[str, object]]:
    """Every similarity and clusterer: ARI once settled, the share of noise among updates whose task has another holder,
    clusters, conflicts before."""
    since = np.broadcast_to(start_adapter(kept.spec, kept.seed), kept.adapters.shape)
    with threadpool_limits(1):
        for similarity, config in SIMILARITY.items():
            points, kin = compared(kept.adapters, since, kept.spec, config)
            for clusterer, how in CLUSTERER.items():
                hints = Hints(generator(kept.seed, "clustering", 1), number_of_tasks=len(set(kept.tasks)))
                found = CLUSTERERS[how.type](points, how, hints)
                labels = found.labels
                if isinstance(how, Settling):
                    labels = settle(points, kin, labels, kept.clients, [None] * len(labels), how)
                yield {
                    "similarity": similarity,
                    "clusterer": clusterer,
                    "ari": agreement(labels.tolist(), kept.tasks).ari,
                    "noise": float(((found.labels < 0) & kept.shared).sum() / max(kept.shared.sum(), 1)),
                    "clusters": len(set(labels.tolist())),
                    "conflicts": conflicts(found.labels, kept.clients),
                    "adapters": len(labels),
                }


def tables(scores: pd.DataFrame) -> str:
    """A markdown table a cell and gauge: rows are clusterers, columns similarities, entries ARI with its interval."""
    parts = []
    for (cell, gauge), part in scores.groupby(["cell", "gauge"], sort=False):
        parts.append(f"\n**{cell}, {gauge} gauge** ({part.seed.nunique()} seeds)\n")
        parts.append("| | " + " | ".join(SIMILARITY) + " |\n|---|" + "---|" * len(SIMILARITY))
        for clusterer in CLUSTERER:
            row = part[part.clusterer == clusterer]
            entries = [interval(row[row.similarity == similarity].ari, most=1) for similarity in SIMILARITY]
            parts.append(f"| {clusterer} | " + " | ".join(entries) + " |")
        default = part[(part.clusterer == "hdbscan, settled") & (part.similarity == "blend")]
        parts.append(
            f"\nDefault: noise {default.noise.mean():.1%}, conflicts before settling {default.conflicts.mean():.1f}"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
