"""Sentences that both sources have are left out of the one, however they are spaced."""

import pyarrow as pa
import pyarrow.parquet as pq

from experiments.two_sources import without_shared


def test_shared_sentences_are_left_out(tmp_path):
    texts = {
        "sst2/train": ["A fine film .", "dull"],
        "sst2/test": ["never again"],
        "mr/train": ["a fine film.", "Never -- again!", "only here"],
        "mr/test": ["Dull.", "nor this"],
    }
    for name, rows in texts.items():
        (tmp_path / "text" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": rows, "label": [0] * len(rows)}), tmp_path / "text" / f"{name}.parquet")
    where = without_shared(tmp_path, tmp_path / "out")
    assert pq.read_table(tmp_path / "out/train.parquet")["text"].to_pylist() == ["only here"]
    assert pq.read_table(tmp_path / "out/test.parquet")["text"].to_pylist() == ["nor this"]
    assert where == f"{{type='files', train='{tmp_path}/out/train.parquet', test='{tmp_path}/out/test.parquet'}}"
