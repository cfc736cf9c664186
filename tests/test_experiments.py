"""Every experiment that ships is read, and the ones whose data can be had here are run."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

import fltac
from fltac.config import Table
from fltac.errors import InputError
from fltac.estimate import estimate
from fltac.planning import plan
from fltac.records.store import RunDirectory

FOLDER = Path(__file__).parents[1] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))
DATA = os.environ.get("FLTAC_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="FLTAC_TEST_DATA names no folder of data sets")


def test_there_are_experiments():
    assert {file.name for file in FILES} >= {"quickstart.toml", "text_five.toml"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_read_and_named_after_its_file(file):
    assert fltac.load(file).name == file.stem.replace("_", "-")


# the hub's experiments, with the data sets and the model that each names
HUB = {"glue_bert": 2, "cifar_vit": 3, "dolly_llama": 2, "dolly_llama_drawn": 2}
SMALL = {"text_small": 36_864, "vision_small": 73_728, "dolly_small": 230_400}  # with the numbers of an adapter


def shown(file: Path) -> list[tuple[Path, list[str]]]:
    """The commands in a file's comments, and its bars, which are overrides alone, as (file, overrides)."""
    commands = re.findall(r"^#     (\S+(?: \S+)*)", file.read_text(), re.MULTILINE)  # up to two spaces
    found = []
    for words in map(shlex.split, commands):
        whole = words[0] == "fltac"
        found.append((FOLDER.parent / words[2] if whole else file, words[3:] if whole else words))
    return found


@pytest.mark.parametrize("name", [*HUB, *SMALL])
def test_the_commands_that_a_scenario_shows_are_experiments(name, tmp_path):
    commands = shown(FOLDER / f"{name}.toml")
    assert len(commands) >= 3
    for file, overrides in commands:
        placed = [override.replace("=FOLDER", f"={tmp_path}") for override in overrides]
        fltac.load(file, placed if name in HUB else [f"data.root={tmp_path}", *placed])


@pytest.mark.parametrize("name", HUB)
def test_without_a_hub_one_line_says_what_cannot_be_had(name):
    with pytest.raises(InputError) as refused:
        plan(fltac.load(FOLDER / f"{name}.toml"))
    lines = refused.value.lines()
    assert len(lines) == HUB[name]
    for line in lines:
        assert re.match(r"(tasks\.\d|model)\.source\.path: cannot be had from the hub; check the id, ", line)
        assert "connection" in line


def test_dollys_partition_as_drawn_is_all_that_differs():
    named, drawn = (json.loads(fltac.load(FOLDER / f"dolly_llama{which}.toml").dump()) for which in ("", "_drawn"))
    assert {key for key in named if named[key] != drawn[key]} == {"name", "clients"}
    partition = fltac.load(FOLDER / "dolly_llama_drawn.toml").clients.partition
    assert isinstance(partition, Table)
    pairs = sum(share > 0 for row in partition.shares.values() for share in row)
    assert (pairs, round(16 * 10 / pairs, 1)) == (39, 4.1)  # FedIT's ten clients at rank 16 to pairs at rank 1
    assert all(sum(row) == pytest.approx(1) for row in partition.shares.values())
    assert all(map(any, zip(*partition.shares.values(), strict=True)))


def write_shapes(folder: Path, name: str) -> list[str]:
    """The shape of the model that a small scenario names, without its weights, where no package holds it."""
    from transformers import Dinov2Config, LlamaConfig

    shapes = {
        "vision_small": Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14),
        "dolly_small": LlamaConfig(
            hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, vocab_size=49_152
        ),
    }
    if name not in shapes:
        return []
    shapes[name].save_pretrained(folder)
    (folder / "tokenizer.json").touch()
    return ["model.source.type=path", f"model.source.path={folder}"]


@needs_data
@pytest.mark.parametrize("name", SMALL)
def test_a_small_scenario_is_planned_on_real_data(name, tmp_path):
    planned = plan(fltac.load(FOLDER / f"{name}.toml", [f"data.root={DATA}", *write_shapes(tmp_path, name)]))
    assert planned.spec.size == SMALL[name]
    assert len({shard.task for each in planned.shards.values() for shard in each}) == len(planned.tasks) >= 3
    guess = estimate(planned)
    assert sum(one.adapters for one in guess.clients.values()) == guess.slots == len(planned.shards)


@pytest.mark.slow
def test_the_quickstart_runs_on_real_text_with_two_layers_of_the_real_model(tmp_path):
    overrides = ["model.num_hidden_layers=2", "rounds=2", "training.steps=15", "training.learning_rate=5e-3"]
    overrides += [f"tasks.{task}.max_test=60" for task in ("news", "tweets", "replies")]
    summary = fltac.run(fltac.load(FOLDER / "quickstart.toml", overrides), out=tmp_path / "run", runtime="local")
    assert set(summary.accuracy) == {"news", "tweets", "replies"}
    assert summary.ari is not None
    assert summary.ari > 0.5
    run = RunDirectory(tmp_path / "run")
    assert run.lines()[1]["train_loss"] < run.lines()[0]["train_loss"]
    news = {"task": "news", "split": "test", "metric": "loss", "cluster": None}
    untuned, first, second = (
        row["value"] for row in run.table("evaluations").to_pylist() if news.items() <= row.items()
    )
    assert second < first < untuned


@needs_data
@pytest.mark.slow
def test_five_real_tasks_are_told_apart_without_being_named(tmp_path):
    overrides = [f"data.root={DATA}", "model.num_hidden_layers=3", "rounds=1", "training.steps=10"]
    overrides += [f"tasks.{task}.max_test=40" for task in ("sst2", "subj", "trec", "snli", "sms_spam")]
    summary = fltac.run(fltac.load(FOLDER / "text_five.toml", overrides), out=tmp_path / "run", runtime="local")
    assert summary.ari is not None
    assert summary.ari > 0.6
