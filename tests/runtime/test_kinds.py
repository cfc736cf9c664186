"""Images and language models go through the whole house: check, run, resume, report, export."""

import json
import shutil
import sys

import pytest
import torch

import fltac
from fltac.cli import main
from fltac.export import export_cluster
from fltac.records.store import RunDirectory
from fltac.report.page import write_report
from tests.tiny_kinds import write_tiny_dialogues, write_tiny_images

MAKERS = {"images": write_tiny_images, "dialogues": write_tiny_dialogues}
CASES = [("images", "fltac"), ("images", "fedit"), ("dialogues", "fltac"), ("dialogues", "fedit")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def runs(files, tmp_path_factory):
    """A finished run of each kind and method, with its summary."""
    folder, done = tmp_path_factory.mktemp("runs"), {}
    for kind, method in CASES:
        more = ["training.generate=3"] if kind == "dialogues" else []
        experiment = fltac.load(files[kind], [f"method={method}", *more])
        out = folder / f"{kind}-{method}"
        done[kind, method] = out, fltac.run(experiment, out=out, runtime="local")
    return done


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_run_of_any_kind_is_complete(runs, case):
    out, summary = runs[case]
    assert len(summary.accuracy) == 2
    assert all(0 <= value <= 1 for value in (*summary.accuracy.values(), *summary.majority.values()))
    assert all(summary.metrics[task]["loss"] > 0 < summary.metrics_untuned[task]["loss"] for task in summary.accuracy)
    assert json.loads((out / "summary.json").read_text())["metrics"] == summary.metrics
    assert write_report([out]).stat().st_size > 1e6
    assert "nats an answer" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_run_of_any_kind_goes_on_as_if_it_had_not_stopped(runs, files, tmp_path, case):
    out, _ = runs[case]
    stopped = RunDirectory(tmp_path / "run")
    more = ["training.generate=3"] if case[0] == "dialogues" else []
    tell = []

    def stop(record):
        tell.append(record)
        raise KeyboardInterrupt

    experiment = fltac.load(files[case[0]], [f"method={case[1]}", *more])
    with pytest.raises(KeyboardInterrupt):
        fltac.run(experiment, out=stopped.path, runtime="local", tell=stop)
    assert len(stopped.lines()) == 1
    fltac.resume(stopped.path)
    for name in ("evaluations", "clusters", "generations"):
        assert stopped.table(name).equals(RunDirectory(out).table(name))


@pytest.mark.ray
def test_on_ray_a_language_model_leaves_the_same_records(runs, files, tmp_path, ray_address):
    out, _ = runs["dialogues", "fltac"]
    experiment = fltac.load(files["dialogues"], ["training.generate=3", "resources.actors=2"])
    fltac.run(experiment, out=tmp_path / "run", runtime="ray", address=ray_address)
    for name in ("evaluations", "clusters", "generations"):
        assert RunDirectory(tmp_path / "run").table(name).equals(RunDirectory(out).table(name))


def test_heads_of_a_language_model_cost_nothing(runs):
    _, images = runs["images", "fltac"]
    out, dialogues = runs["dialogues", "fltac"]
    assert images.bytes_up_heads > 0 == dialogues.bytes_up_heads == dialogues.bytes_down_heads
    for row in RunDirectory(out).table("updates").to_pylist():
        assert row["bytes_up_header"] <= 80
        assert row["bytes_up"] - row["bytes_up_header"] == 4 * 2 * (2 * (32 + 32 + 32 + 16))  # 2 layers, rank 2


def test_a_chosen_metric_is_told_beside_accuracy(runs):
    out, summary = runs["images", "fltac"]
    assert set(summary.metrics["warm"]) == {"loss", "f1"}
    assert set(summary.metrics["cold"]) == {"loss"}
    rows = RunDirectory(out).table("evaluations").to_pylist()
    told = {row["metric"] for row in rows if row["task"] == "warm" and row["round"] == 2}
    assert told == {"accuracy", "loss", "f1"}


@pytest.mark.parametrize("method", ["fltac", "fedit"])
def test_answers_are_written_after_the_last_round_alone(runs, method):
    out, summary = runs["dialogues", method]
    rows = RunDirectory(out).table("generations").to_pylist()
    assert {row["round"] for row in rows} == {2}
    each = {(row["task"], row["cluster"], row["example"]) for row in rows}
    assert len(each) == len(rows) >= 6
    by_task = {row["task"]: row for row in rows}
    assert by_task["opposites"]["prompt"].startswith("what is ")
    assert by_task["twice"]["reference"] == by_task["twice"]["prompt"].removesuffix(" ?")
    for found in summary.metrics.values():
        assert set(found) == {"loss", "exact_match", "rougeL"}
    assert not (out / "generations.parquet" / "round-0001.parquet").exists()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("kind", ["images", "dialogues"])
def test_peft_loads_what_is_exported(runs, tmp_path, kind):
    import transformers
    from peft import PeftModel

    out, _ = runs[kind, "fltac"]
    cluster = min(RunDirectory(out).last_adapters()[1])
    said = export_cluster(out, cluster, tmp_path / "peft")
    auto = {"images": "AutoModelForImageClassification", "dialogues": "AutoModelForCausalLM"}[kind]
    assert auto in said
    experiment = fltac.load(out / "experiment.json")
    labels = {"num_labels": int(said.split("num_labels=")[1].split(")")[0])} if kind == "images" else {}
    base = getattr(transformers, auto).from_pretrained(experiment.model.source.path, **labels)
    model = PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    plain = getattr(transformers, auto).from_pretrained(experiment.model.source.path, **labels).eval()
    given = {"pixel_values": torch.ones(1, 3, 16, 16)} if kind == "images" else {"input_ids": torch.tensor([[2, 3, 5]])}
    with torch.no_grad():
        assert not torch.allclose(model(**given).logits, plain(**given).logits)


def fltac_says(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["fltac", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def test_check_knows_what_it_will_take(files, monkeypatch, capsys):
    code, said, _ = fltac_says(monkeypatch, capsys, "check", files["dialogues"])
    assert code == 0
    assert "adapter: 448 numbers on 4 layers" in said


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("images", "training.image_size=20", "training.image_size: the model does not take images of this size"),
        ("images", "training.generate=2", "training.generate: is for models that write"),
        ("images", "tasks.warm.inputs=[]", "name the columns that go in"),
        ("dialogues", "training.max_length=99", "training.max_length: is more than the model reads; at most 64"),
        ("dialogues", "training.generate=-1", "training.generate: must be greater than or equal to 0"),
        ("dialogues", 'model.quantise="4bit"', "model.quantise: needs a GPU; give each client actor a share"),
        ("dialogues", 'tasks.twice.where={category="poem"}', "tasks.1.where.category: no row of"),
        ("dialogues", 'tasks.twice.inputs=["word"]', "name columns in inputs or in a prompt's template, not in both"),
        ("dialogues", "model.kind=text-classification", "tasks.0.prompt: is for model.kind"),
    ],
)
def test_what_a_kind_cannot_take_is_one_line(files, monkeypatch, capsys, kind, override, message):
    code, _, said = fltac_says(monkeypatch, capsys, "check", files[kind], override)
    assert code == 2
    assert message in said


def test_an_image_model_needs_no_tokenizer_and_a_language_model_one(files, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(files["dialogues"].parent / "model", folder)
    (folder / "tokenizer.json").unlink()
    experiment = fltac.load(files["dialogues"], [f"model.source.path={folder}"])
    with pytest.raises(fltac.InputError, match=r"model\.source\.path: has no tokenizer"):
        fltac.run(experiment, out=tmp_path / "run", runtime="local")
