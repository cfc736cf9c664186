"""A cluster leaves as a PEFT directory and does there what it did in the run."""

import numpy as np
import pytest
import torch

import fltac
from fltac.data.tasks import load_tasks
from fltac.errors import InputError
from fltac.export import export_cluster
from fltac.model.kinds import KINDS
from fltac.records.store import RunDirectory
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    experiment = fltac.load(write_tiny(folder), ["training.steps=80", "training.learning_rate=1e-2", "method=oracle"])
    fltac.run(experiment, out=folder / "run", runtime="local")
    return experiment, folder / "run"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("task", ["mood", "animal"])
def test_peft_loads_it_and_gets_the_accuracy_of_the_run(finished, tmp_path, task):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    experiment, folder = finished
    rows = RunDirectory(folder).table("evaluations").to_pylist()
    wanted = {"round": 2, "task": task, "split": "test", "metric": "accuracy"}
    (row,) = [row for row in rows if wanted.items() <= row.items() and row["cluster"] is not None]
    classes = {"mood": 2, "animal": 3}[task]
    said = export_cluster(folder, row["cluster"], tmp_path / "peft")
    assert f"num_labels={classes}" in said

    source = experiment.model.source.path
    base = AutoModelForSequenceClassification.from_pretrained(source, num_labels=classes)
    model = PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    (test,) = [data.test for data in load_tasks(experiment, KINDS["text-classification"].read) if data.name == task]
    tokens = AutoTokenizer.from_pretrained(source)(*test.columns, padding=True, return_tensors="pt")
    with torch.no_grad():
        answers = model(**tokens).logits.argmax(-1).numpy()
    assert float(np.mean(answers == test.labels)) == pytest.approx(row["value"])
    assert row["value"] > 0.6, "a task at chance would prove little"


def test_unknown_cluster_unknown_head_and_a_folder_in_use_are_refused(finished, tmp_path):
    _, folder = finished
    with pytest.raises(InputError, match=r"--cluster: is no cluster of round 2; choose one of \[0, 1, 2\] \(got 9\)"):
        export_cluster(folder, 9, tmp_path / "peft")
    with pytest.raises(InputError, match="--head: choose one of the cluster's heads"):
        export_cluster(folder, 0, tmp_path / "peft", head="9x9")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(InputError, match="--to: is there already"):
        export_cluster(folder, 0, tmp_path / "used")


def test_a_model_that_was_trained_itself_leaves_as_transformers_own(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    changes = ["training.steps=20", "training.learning_rate=1e-3", "method=full", "rounds=2"]
    experiment = fltac.load(write_tiny(tmp_path), changes)
    summary = fltac.run(experiment, out=tmp_path / "run", runtime="local")
    export_cluster(tmp_path / "run", 0, tmp_path / "out", head="animal")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    (test,) = [data.test for data in load_tasks(experiment, KINDS["text-classification"].read) if data.name == "animal"]
    tokens = AutoTokenizer.from_pretrained(experiment.model.source.path)(
        *test.columns, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        answers = model(**tokens).logits.argmax(-1).numpy()
    assert float(np.mean(answers == test.labels)) == pytest.approx(summary.accuracy["animal"])
    assert summary.accuracy["animal"] > 0.6
