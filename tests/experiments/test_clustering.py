"""The command behind docs/clustering.md, on a federation of seconds."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import fltac
from experiments import clustering as command
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    out = folder / "run"
    fltac.run(fltac.load(write_tiny(folder), ["rounds=1"]), out=out, runtime="local")
    return command.read(out)


def test_adapters_are_read_with_their_true_tasks(kept):
    assert set(kept.tasks) == {"mood", "animal", "weather"}
    assert kept.adapters.shape == (len(kept.tasks), kept.spec.size)
    assert all(kept.shared[i] == (kept.tasks.count(task) > 1) for i, task in enumerate(kept.tasks))


def test_every_pair_of_similarity_and_clusterer_is_scored(kept):
    rows = list(command.scores(kept))
    pairs = {(row["similarity"], row["clusterer"]) for row in rows}
    assert pairs == set(product(command.SIMILARITY, command.CLUSTERER))
    for row in rows:
        assert -1 <= row["ari"] <= 1
        assert 0 <= row["noise"] <= 1
        assert row["adapters"] == len(kept.tasks)


def test_a_score_sees_what_is_there(kept):
    """Adapters that are their task's own direction are told apart by all that is settled, in any gauge if they may."""
    far = kept.adapters.copy()
    for task in set(kept.tasks):
        draw = np.random.default_rng(len(task))
        far[[task == one for one in kept.tasks]] = draw.normal(size=kept.spec.size)
    apart = replace(kept, adapters=far + np.random.default_rng(0).normal(size=far.shape).astype(np.float32) / 10)
    rows = [row for row in command.scores(apart) if row["clusterer"] == "hdbscan, settled"]
    assert [row["ari"] for row in rows] == [1] * len(command.SIMILARITY)
    turned = command.scores(apart.in_random_gauge())
    assert [row["ari"] for row in turned if (row["similarity"], row["clusterer"]) == ("blend", "hdbscan, settled")] == [
        1
    ]
