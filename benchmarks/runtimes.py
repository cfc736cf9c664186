"""What Ray costs beside the bare loop: seconds a round of empty clients' federations, arms in turn in one run.

`python benchmarks/runtimes.py [REPEATS]` prints a table and writes benchmarks/results/runtimes.json. The work is a
random two-layer BERT of width 64 on fixed sentences, one step a client and round, so that what is timed is the house
and not the model. Both arms run the same experiment; that they end with the same adapters is checked first.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import fltac
from fltac.records.store import RunDirectory

CLIENTS = 16
ROUNDS = 7
OVERRIDES = ["method=fedit", f"rounds={ROUNDS}", f"clients.count={CLIENTS}", "training.steps=1"]
ARMS = {"local": {"runtime": "local"}, "ray": {"runtime": "ray"}}

TOML = """
name = "bench"
[model]
source = { type = "path", path = "model" }
[adapter]
rank = 8
[[tasks]]
name = "words"
source = { type = "files", train = "words.parquet", test = "words.parquet" }
inputs = ["text"]
[clients]
partition = { type = "dirichlet", alpha = 100.0, min_examples = 1 }
[training]
batch_size = 1
max_length = 16
"""


def main() -> None:
    """Runs each arm REPEATS times (5 where not given), in turn."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        experiment = fltac.load(write(Path(folder)), OVERRIDES)
        seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for repeat in range(repeats):
            outs = {arm: Path(folder) / f"{arm}-{repeat}" for arm in ARMS}
            for arm, where in ARMS.items():
                fltac.run(experiment, out=outs[arm], **where)
                lines = RunDirectory(outs[arm]).lines()[1:]  # the first round warms up
                seconds[arm].append(statistics.median(line["seconds"] for line in lines))
            assert adapters(outs["local"]) == adapters(outs["ray"]), "the arms computed different adapters"
    report(seconds)


def write(folder: Path) -> Path:
    """The benchmark's model, data and experiment file."""
    from transformers import BertConfig, BertModel, BertTokenizer

    words = [f"word{number}" for number in range(50)]
    (folder / "model").mkdir()
    (folder / "model" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizer(str(folder / "model" / "vocab.txt")).save_pretrained(folder / "model")
    config = BertConfig(
        vocab_size=55, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    BertModel(config).save_pretrained(folder / "model")
    texts = [" ".join(words[(7 * row + place) % 50] for place in range(10)) for row in range(10 * CLIENTS)]
    pq.write_table(pa.table({"text": texts, "label": [row % 2 for row in range(len(texts))]}), folder / "words.parquet")
    file = folder / "bench.toml"
    file.write_text(TOML)
    return file


def adapters(out: Path) -> list[bytes]:
    return [file.read_bytes() for file in RunDirectory(out).last_adapters()[1].values()]


def report(seconds: dict[str, list[float]]) -> None:
    """The table, and the figures with their machine as JSON."""
    ratios = [ray / local for ray, local in zip(seconds["ray"], seconds["local"], strict=True)]
    rows = {**seconds, "ray / local": ratios}
    print(f"{'arm':12} {'median':>8} {'least':>8} {'most':>8}   seconds a round, {CLIENTS} clients")
    for name, values in rows.items():
        print(f"{name:12} {statistics.median(values):8.3f} {min(values):8.3f} {max(values):8.3f}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    machine = {"platform": platform.platform(), "python": platform.python_version(), "fltac": fltac.__version__}
    (results / "runtimes.json").write_text(
        json.dumps({"clients": CLIENTS, "machine": machine, **rows}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
