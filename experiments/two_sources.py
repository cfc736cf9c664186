"""Do two sources of one task join, and what is that worth? The table of docs/clustering.md, in one resumable command.

    python -m experiments.two_sources --data FOLDER --out FOLDER [--seeds 5] [--workers 2]

Each seed runs two_sources.toml with cannot-link, which keeps a client's two slots apart, without it, and told the
truth. Sentences of MR that SST-2 has too are left out first, so that nothing is trained on that is tested.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from experiments.cases import interval, parser, runs, seeds
from fltac.records.scoring import agreement
from fltac.records.store import RunDirectory

HERE = Path(__file__).parent
FIRST_SEED = 60
CASES = {"cannot-link": [], "without": ["clustering.cannot_link=false"], "oracle, told": ["method=oracle"]}


def main() -> None:
    options = parser(__doc__, 5, FIRST_SEED).parse_args()
    source = f"tasks.mr.source={without_shared(Path(options.data), options.out.resolve() / 'mr')}"
    done = runs(HERE / "two_sources.toml", {case: [*own, source] for case, own in CASES.items()}, options)
    print("| | one cluster | ARI, one task | ARI, two tasks | SST-2 | MR | mean |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        each = [done[case, seed] for seed in seeds(options)]
        last = [run.lines()[-1] for run in each]
        joined = sum(len({row["cluster"] for row in rows(run) if row["task"] in ("sst2", "mr")}) == 1 for run in each)
        two = [agreement([row["cluster"] for row in rows(run)], [row["task"] for row in rows(run)]).ari for run in each]
        numbers = [[line["ari"] for line in last], two]
        numbers += [[line["accuracy"][task] for line in last] for task in ("sst2", "mr")]
        numbers += [[line["accuracy_mean"] for line in last]]
        cells = " | ".join(interval(values, most=1) for values in numbers)
        print(f"| {case} | {joined} of {len(each)} | {cells} |")


def rows(run: RunDirectory) -> list[dict]:
    """The updates of the last round."""
    table = run.table("updates").to_pylist()
    return [row for row in table if row["round"] == table[-1]["round"]]


def without_shared(data: Path, out: Path) -> str:
    """Writes MR without the sentences that SST-2 has too, and tells where as the experiment file would."""
    out.mkdir(parents=True, exist_ok=True)
    theirs = pa.concat_arrays(
        [letters(pq.read_table(data / f"text/sst2/{split}.parquet")["text"]) for split in ("train", "test")]
    )
    for split in ("train", "test"):
        table = pq.read_table(data / f"text/mr/{split}.parquet")
        pq.write_table(table.filter(pc.invert(pc.is_in(letters(table["text"]), theirs))), out / f"{split}.parquet")
    return f"{{type='files', train='{out}/train.parquet', test='{out}/test.parquet'}}"


def letters(texts: pa.ChunkedArray) -> pa.Array:
    """The letters of each text alone: the two sources space and quote in their own ways."""
    return pc.replace_substring_regex(pc.utf8_lower(texts), "[^a-z]", "").combine_chunks()


if __name__ == "__main__":
    main()
