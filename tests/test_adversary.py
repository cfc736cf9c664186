"""Poisoned clients do what is said of them, and nobody else does."""

import numpy as np
import pytest

import fltac
from fltac.adversary import marked, poisoned, spoiled, upload
from fltac.config import Backdoor, LabelFlip, Scaled, SignFlip
from fltac.model.kinds.image_classification import Images
from fltac.model.kinds.text_classification import Texts
from fltac.planning import build, plan
from fltac.records.store import RunDirectory
from fltac.wire.messages import AdapterSpec, Layer

SPEC = AdapterSpec((Layer("query", 6, 5), Layer("value", 4, 5)), rank=2, scale=2.0)
ids = np.array([1, 7, 8, 2, 1, 9, 2, 1, 2], np.int32)
TEXTS = Texts(ids, None, 0, np.array([0, 4, 7, 9]), np.array([0, 1, 2]))
draw = np.random.default_rng(0)


def test_labels_are_turned_over():
    flipped = spoiled(LabelFlip(type="label_flip"), TEXTS, 3, draw)
    assert flipped.answers.tolist() == [2, 1, 0]
    assert flipped.ids is TEXTS.ids
    for kind in (SignFlip(type="sign_flip"), Scaled(type="scaled"), None):
        assert spoiled(kind, TEXTS, 3, draw) is TEXTS


def test_a_mark_is_the_first_token_twice_and_a_white_corner():
    assert TEXTS.marked(np.array([0, 2])).ids.tolist() == [1, 1, 8, 2, 1, 9, 2, 1, 2]  # the last has no room for it
    assert marked(TEXTS, np.array([1]), 2).answers.tolist() == [0, 2, 2]
    black = Images(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(3), np.ones(3), np.array([0, 1]))
    pixels = black.marked(np.array([1])).pixels
    assert (pixels[0].sum(), pixels[1, :2, :2].min(), pixels[1].sum()) == (0, 255, 2 * 2 * 3 * 255)
    assert not black.pixels.any()


def test_a_backdoor_marks_its_share_and_names_its_class():
    many = Texts(np.tile(ids[:4], 10), None, 0, np.arange(0, 44, 4), np.ones(10, np.int64))
    found = spoiled(Backdoor(type="backdoor", target=0, marked=0.3), many, 2, np.random.default_rng(1))
    assert sorted(found.answers.tolist()) == [0] * 3 + [1] * 7
    assert [list(found.ids[4 * n : 4 * n + 2]) == [1, 1] for n in range(10)] == (found.answers == 0).tolist()


def test_a_sign_flip_mirrors_b_and_heads_and_leaves_a():
    sent, trained = (np.random.default_rng(n).normal(size=SPEC.size).astype(np.float32) for n in (1, 2))
    adapter, heads = upload(
        SignFlip(type="sign_flip"), SPEC, (sent, [np.full((2, 3), 5.0)]), (trained, [np.full((2, 3), 6.0)])
    )
    for (a, b), (sent_a, sent_b), (_, b_trained) in zip(*map(SPEC.factors, (adapter, sent, trained)), strict=True):
        np.testing.assert_array_equal(a, sent_a)
        np.testing.assert_allclose(b - sent_b, -(b_trained - sent_b), atol=1e-5)
    np.testing.assert_array_equal(heads[0], np.full((2, 3), 4.0))


def test_scaled_is_as_far_again():
    sent, trained = np.float32([1, 1]), np.float32([2, 0])
    adapter, heads = upload(Scaled(type="scaled", factor=3.0), SPEC, (sent, [sent]), (trained, [trained]))
    assert adapter.tolist() == heads[0].tolist() == [4, -2]


def test_who_is_poisoned_is_a_share_of_the_clients_and_drawn(tiny_file):
    assert poisoned(fltac.load(tiny_file)) == frozenset()
    asked = ["clients.count=10", 'adversary={type="sign_flip", share=0.3}']
    each = [poisoned(fltac.load(tiny_file, [*asked, f"seed={seed}"])) for seed in (0, 0, 1, 2)]
    assert [len(one) for one in each] == [3] * 4
    assert each[0] == each[1]
    assert len(set(each)) > 1


@pytest.mark.parametrize("kind", ["label_flip", "sign_flip", "scaled", "backdoor"])
def test_only_the_poisoned_send_something_else(tiny_file, tmp_path, kind):
    tables = {}
    for name, asked in {"clean": [], "poisoned": [f'adversary={{type="{kind}", share=0.25}}']}.items():
        experiment = fltac.load(tiny_file, ["rounds=1", *asked])
        fltac.run(experiment, out=tmp_path / name, runtime="local")
        tables[name] = RunDirectory(tmp_path / name)
    (bad,) = poisoned(experiment)
    for clean, turned in zip(*(run.table("updates").to_pylist() for run in tables.values()), strict=True):
        assert (clean["norm"] != turned["norm"]) == (clean["client"] == bad)
    splits = {row["split"] for row in tables["poisoned"].table("evaluations").to_pylist()}
    assert ("marked" in splits) == (kind == "backdoor")


def test_what_poisoned_clients_are_sent_is_nobodys_loss(tiny_file, tmp_path):
    asked = ["rounds=1", 'clustering.type="each"', 'adversary={type="sign_flip", share=0.5}']
    experiment = fltac.load(tiny_file, asked)
    fltac.run(experiment, out=tmp_path / "run", runtime="local")
    bad, run = poisoned(experiment), RunDirectory(tmp_path / "run")
    rows = [row for row in run.table("evaluations").to_pylist() if row["round"] == 1 and row["split"] == "test"]
    found = {(row["task"], row["cluster"]): row["value"] for row in rows if row["metric"] == "loss"}
    for task in run.lines()[-1]["accuracy"]:
        held = [one for one in run.table("updates").to_pylist() if one["task"] == task and one["round"] == 1]
        honest = [one for one in held if one["client"] not in bad]
        assert 0 < len(honest) < len(held)
        weights = [one["num_examples"] for one in honest]
        mean = np.average([found[task, one["cluster"]] for one in honest], weights=weights)
        assert found[task, None] == pytest.approx(mean)
        assert found[task, None] != pytest.approx(np.mean([found[task, one["cluster"]] for one in held]), rel=1e-6)


def test_clusters_are_scored_on_honest_slots(tiny_file):
    world = build(plan(fltac.load(tiny_file, ['adversary={type="scaled", share=0.5}'])))
    heard = dict.fromkeys(world.shards, 1)
    assert {client for client, _ in world.truths(heard)} == {client for client, _ in heard} - world.poisoned
