"""The command line as a user meets it: what goes in, what is printed, how it exits."""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
import tomllib
from contextlib import suppress
from importlib.util import find_spec

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fltac as library
from fltac.layers import load
from fltac.records.store import RunDirectory
from fltac.screen import ending
from fltac.screen.ending import Stoppable
from tests.processes import left, marked
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


# override -> the key in the message, and a part of what is said; the value given must be in the line too
BAD_VALUES = {
    "adapter.rnk=3": ("adapter.rnk", "unknown key; did you mean 'rank'?"),
    "adaptr.rank=3": ("adaptr", "unknown key; did you mean 'adapter'?"),
    "adapter.rank=0": ("adapter.rank", "must be greater than or equal to 1"),
    "adapter.rank=two": ("adapter.rank", "must be a valid integer"),
    "adapter.rank=true": ("adapter.rank", "must be a valid integer"),
    "adapter.scale=-1": ("adapter.scale", "must be greater than 0"),
    "adapter.scale=nan": ("adapter.scale", "must be a finite number"),
    "adapter.dropout=1.0": ("adapter.dropout", "must be less than 1"),
    'adapter.targets=["nothing"]': ("adapter.targets", "name linear layers of this model"),
    "seed=-1": ("seed", "must be greater than or equal to 0"),
    "rounds=0": ("rounds", "must be greater than or equal to 1"),
    "rounds=1.5": ("rounds", "must be a valid integer"),
    'name="a/b"': ("name", "String should match pattern"),
    "method=fedavg": (
        "method",
        "is no method; choose one of central, central-mixed, fedit",
    ),
    "model.kind=video": ("model.kind", "must be 'text-classification', 'image-classification' or 'causal-lm'"),
    "model.dtype=float8": ("model.dtype", "must be 'float32', 'bfloat16' or 'auto'"),
    "model.source.path=/nowhere": ("model.source.path", "is no model folder"),
    "model.source.type=s3": ("model.source.type", "must be one of 'hub', 'path', 'package'"),
    "model.num_hidden_layers=9": ("model.num_hidden_layers", "is more than the model has; at most 2"),
    "training.max_length=99": ("training.max_length", "is more than the model reads; at most 32"),
    "resources.actors=[2]": ("resources.actors", "must be"),
    "resources.actors=5": ("resources.actors", "is more than there are clients (4)"),
    "clients.count=0": ("clients.count", "must be greater than or equal to 1"),
    "clients.fraction=0.0": ("clients.fraction", "must be greater than 0"),
    "clients.fraction=1.5": ("clients.fraction", "must be less than or equal to 1"),
    "clients.partition.alpha=0.0": ("clients.partition.alpha", "must be greater than 0"),
    "clients.partition.alpha=-0.5": ("clients.partition.alpha", "must be greater than 0"),
    "clients.partition.min_examples=1000": (
        "clients.partition",
        "reaches both min_share and min_examples; lower them",
    ),
    "clients.partition.type=random": ("clients.partition.type", "must be one of 'dirichlet'"),
    "training.learning_rate=0": ("training.learning_rate", "must be greater than 0"),
    "training.learning_rate=inf": ("training.learning_rate", "must be a finite number"),
    "training.batch_size=many": ("training.batch_size", "must be a valid integer"),
    "wire.up=int2": ("wire.up", "is no codec; write NUMBERS[+topSHARE][+zstd], e.g. int8+top0.1+zstd"),
    "wire.up=float32+zstd+top0.1": ("wire.up", "is no codec"),
    "wire.up=int8+top": ("wire.up", "is no codec"),
    "wire.up=int8+top0": ("wire.up", "a share above 0 and at most 1"),
    "wire.up=int8+top1.5": ("wire.up", "a share above 0 and at most 1"),
    "wire.up=8": ("wire.up", "must be a valid string"),
    "faults.max_failures=-2": ("faults.max_failures", "must be greater than or equal to -1"),
    "faults.min_clients=5": ("faults.min_clients", "is more than there are clients (4); lower it"),
    "faults.late_weight=0.5": ("faults.late_weight", "waits for nobody: set faults.round_deadline_s or clients.select"),
    "faults.max_norm=1": ("faults.max_norm", "must be greater than 1"),
    "faults.clock=wall": ("faults.clock", "must be 'simulated' or 'real'"),
    "clients.fraction=0.5 & faults.min_clients=3": ("faults.min_clients", "is more than a round waits for (2)"),
    "clients.select=1.5": ("clients.select", "draws more than fraction = 1 does, which is all"),
    'adversary={type="scaled", share=0.1}': ("adversary.share", "of 4 clients is nobody; raise it"),
    "clients.select=0.9": ("clients.select", "must be greater than or equal to 1"),
    'adversary={type="backdoor", target=2}': ("adversary.target", "is no class of mood and weather"),
    'merging={type="trimmed_mean", trim=0.5}': ("merging.trim", "must be less than 0.5"),
    "wire.down=int8+top0.1": ("wire.down", "goes without +top: a client keeps no adapter between rounds"),
    "similarity.type=cosine": (
        "similarity.type",
        "must be one of 'flat', 'b', 'product', 'subspace', 'blend', 'sketch'",
    ),
    "clustering.type=dbscan": ("clustering.type", "must be one of 'hdbscan'"),
    "clustering.min_cluster_size=1": ("clustering.min_cluster_size", "must be greater than or equal to 2"),
    "clustering.noise=drop": ("clustering.noise", "must be 'nearest', 'own' or 'last'"),
    "merging.weights=loss": ("merging.weights", "must be 'uniform', 'examples' or 'agreement'"),
    "merging.weights=agreement & adapter.gauge=random": (
        "adapter.gauge",
        'does not go with merging.weights = "agreement": steps of turned factors cannot be compared; set "kept"',
    ),
    "merging.weights=agreement & clients.fraction=0.5 & clients.select=1.5 & faults.late_weight=0.5": (
        "faults.late_weight",
        'does not go with merging.weights = "agreement": what a late one was sent is gone; leave it out',
    ),
    "merging.weights=agreement & adapter.init=per-client": ("adapter.init", "different A cannot be compared"),
    "merging.weights=agreement & wire.up=int8+top0.1": ("wire.up", "by +top each sends other numbers; leave it out"),
    "exchange.adapters=shared": (
        "clustering.type",
        'a shared adapter serves all tasks, so it goes with type = "single"',
    ),
    "exchange.restart=2": ("exchange.restart", "must be less than or equal to 1"),
    "changes=5": ("changes", "must be an array"),
    'changes=[{type="task-begins", round=1, task="mood"}]': ("changes.0.round", "must be greater than or equal to 2"),
    'changes=[{type="task-ends", round=9, task="mood"}]': ("changes.0.round", "is after the last round"),
    'changes=[{type="task-ends", round=2, task="moods"}]': ("changes.0.task", "is no task of this experiment"),
    'changes=[{type="task-stops", round=2, task="mood"}]': ("changes.0.type", "must be one of 'task-begins'"),
    'changes=[{type="client-leaves", round=2, client=9}]': ("changes.0.client", "is no client; they are 0 to 3"),
    'changes=[{type="client-drifts", round=2, task="mood", becomes="mood"}]': ("changes.0.becomes", "name another"),
    'changes=[{type="client-joins", round=2, client=1}, {type="client-joins", round=2, client=1}]': (
        "changes.1.round",
        "comes and goes in turn",
    ),
    "resources.client.num_cpus=0": ("resources.client.num_cpus", "must be greater than 0"),
    "resources.client.num_gpus=1.5": ("resources.client", "must be a whole number"),
    "resources.actors=some": ("resources.actors", "must be"),
    "tasks.mood.source.train=gone.parquet": ("tasks.0.source.train", "no such file; paths are relative to data.root"),
    "tasks.mood.source.train=tiny.toml": ("tasks.0.source.train", "must end in one of .parquet, .csv"),
    'tasks.mood.inputs=["sentence"]': ("tasks.0.inputs", "no such column"),
    'tasks.mood.inputs=["label"]': ("tasks.0.inputs", "must hold text, but holds int64"),
    'tasks.mood.inputs=["a", "b", "c"]': ("tasks.0.inputs", "at most 2"),
    "tasks.mood.inputs=[]": ("tasks.0", "name the columns that go in"),
    "tasks.mood.label=class": ("tasks.0.label", "no such column"),
    "tasks.mood.max_train=0": ("tasks.0.max_train", "must be greater than or equal to 1"),
    "tasks.mood.validation=0.9": ("tasks.0.validation", "must be less than or equal to 0.5"),
    "tasks.mood.name=animal": ("tasks.1.name", "is the name of tasks.0 too; rename one"),
    'tasks.mood.source={type="sample",name="movies"}': (
        "tasks.0.source.name",
        "is no sample; choose one of news-topic",
    ),
    'tasks.mood.source={type="hub",path="no/such"}': ("tasks.0.source.path", "cannot be had from the hub"),
    'model.source={type="hub",path="no/such"}': ("model.source.path", "cannot be had from the hub"),
    'model.source={type="package",package="numpy",path="../torch"}': (
        "model.source.path",
        "must lie inside the package",
    ),
    'model.source={type="package",package="no_such"}': ("model.source.package", "no such package is installed"),
    "data.root=/nowhere": ("data.root", "is no folder"),
    "tasks=[]": ("tasks", "is empty; name one at least"),
}


@pytest.mark.parametrize("override", BAD_VALUES)
def test_a_bad_value_is_one_line_with_key_value_and_remedy(tiny, fltac, override):
    key, what = BAD_VALUES[override]
    code, _, err = fltac("check", tiny, *override.split(" & "))
    assert code == 2
    line = next(line for line in err.splitlines() if line.startswith(f"{tiny}: {key}: "))
    assert what in line
    assert "(got " in line
    assert "Traceback" not in err


BAD_TABLES = {
    "label out of range": (
        {"text": ["a", "b", "c"], "label": [0, 1, -1]},
        "tasks.0.label: label out of range in row 2",
    ),
    "nothing in a label": (
        {"text": ["a", "b"], "label": [0, None]},
        "column 'label' has nothing (null or NaN) in 1 rows",
    ),
    "NaN in a label": ({"text": ["a", "b"], "label": [0.0, float("nan")]}, "has nothing (null or NaN) in 1 rows"),
    "nothing in a text": ({"text": ["a", None], "label": [0, 1]}, "column 'text' has nothing (null or NaN) in 1 rows"),
    "labels of half": ({"text": ["a", "b"], "label": [0.5, 1.0]}, "must hold whole numbers or class names"),
    "labels that number no classes": (
        {"text": ["a", "b"], "label": [20221101, 20221102]},
        "does not number classes: it goes beyond the 4 examples; recode it (got 20221102)",
    ),
    "several labels a row": ({"text": ["a", "b"], "label": [[0], [0, 1]]}, "must hold whole numbers or class names"),
    "one class": ({"text": ["a", "b"], "label": ["x", "x"]}, "has one class only"),
    "no examples": ({"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())}, "no examples in its train"),
}


@pytest.mark.parametrize("table", BAD_TABLES)
def test_bad_data_is_told_with_its_file_and_row(tmp_path, tiny, fltac, table):
    columns, what = BAD_TABLES[table]
    file = tmp_path / "bad.parquet"
    pq.write_table(pa.table(columns), file)
    code, _, err = fltac("check", tiny, f"tasks.mood.source.train={file}", f"tasks.mood.source.test={file}")
    assert (code, what in err, "Traceback" in err) == (2, True, False), err


def test_a_file_that_is_no_parquet_is_told(tmp_path, tiny, fltac):
    file = tmp_path / "bad.parquet"
    file.write_text("no parquet at all")
    code, _, err = fltac("check", tiny, f"tasks.mood.source.test={file}")
    assert code == 2
    assert f"{tiny}: tasks.0.source.test: cannot be read as parquet" in err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("rank = = 1", "is not valid TOML"),
        ('name = "x"', "model: is required; add it"),
        ('name = "x"\n[[tasks]]\nname = "t"', "tasks.0.source: is required; add it"),
        ('name = "x"\n[model]\nsource = "bert"', "model.source: must be"),
        ("tasks = 3", "tasks: must be"),
    ],
)
def test_a_broken_file_is_told(tmp_path, fltac, text, what):
    file = tmp_path / "broken.toml"
    file.write_text(text)
    code, _, err = fltac("check", file)
    assert code == 2
    assert f"{file}: {what}" in err


def test_a_file_that_is_not_there_and_words_that_are_no_override(tmp_path, tiny, fltac):
    assert fltac("check", tmp_path / "no.toml")[::2] == (
        2,
        f"{tmp_path / 'no.toml'}: cannot read the experiment file: No such file or directory\n",
    )
    code, _, err = fltac("check", tiny, "rank")
    assert (code, err) == (2, "command line: rank: an override reads key=value, e.g. adapter.rank=1 (got 'rank')\n")


def test_a_table_partition_is_held_against_tasks_and_clients(tiny, fltac):
    shares = "{ mood = [1, 1], animal = [0, 0, 0, 0], sky = [1, 1, 1, 1] }"
    code, _, err = fltac("check", tiny, f'clients.partition={{ type = "table", shares = {shares} }}')
    assert code == 2
    for key, what in (
        ("", "has no row for task 'weather'; add one"),
        (".mood", "needs one share a client, 4 numbers (got 2)"),
        (".animal", "gives the task to nobody"),
        (".sky", "is no task of this experiment"),
    ):
        assert f"{tiny}: clients.partition.shares{key}: {what}" in err


def test_a_cluster_that_does_not_answer_is_refused_soon(tiny, fltac, tmp_path):
    began = time.monotonic()
    code, _, err = fltac("run", tiny, "--address", "127.0.0.1:1", "--out", tmp_path / "run")
    assert code == 2
    assert "--address: no Ray cluster answers there" in err
    assert time.monotonic() - began < 60
    assert not (tmp_path / "run").exists()


def test_a_sweep_is_checked_in_all_its_points(tiny, fltac):
    code, out, _ = fltac("check", tiny, "sweep.space.seed.grid=[1,2]", "sweep.space.adapter.rank.grid=[1,2,3]")
    assert code == 0
    assert "sweep: 6 points over seed, adapter.rank" in out
    no_data = "tasks.mood.source.train=no.csv"  # read only when all points are experiments: that takes torch
    code, _, err = fltac("check", tiny, "sweep.space.seed.grid=[1,-2,-3]", no_data)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.strip().endswith("seed: must be greater than or equal to 0; at seed=-2 and 1 other point (got [-2, -3])")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["sweep.space.adapter.rnk.grid=[1]"], "adapter.rnk: unknown key; did you mean 'rank'?; at adapter.rnk=1 ("),
        (["sweep.space.adapter.grid=[1]"], "adapter: must be a table of keys; at adapter=1 (got 1)"),
        (
            ["sweep.space.adapter.rank.grid=[1,0]", "sweep.space.seed.grid=[0,1]"],
            "adapter.rank: must be greater than or equal to 1; at adapter.rank=0, seed=0 and 1 other point (got 0)",
        ),
        (["sweep.space.seed.grid=[]"], "sweep.space.seed.grid: is empty; name one at least"),
        (["sweep.space={}"], "sweep.space: is empty; name one at least"),
        (["sweep.space=3"], "sweep.space: must be a table of keys (got 3)"),
        (["sweep.space.seed.grid=[1,1]"], "a grid names a value twice"),
        (["sweep.space.seed={grid=[1], ints=[1,2]}"], "name the values in one way: grid, choice, uniform"),
        (["sweep.space.training.learning_rate.loguniform=[0, 1]"], "both bounds of loguniform must be above zero"),
        (["sweep.space.seed.ints=[4, 2]"], "the first bound must be below the second"),
        (["sweep.stop.metric=f1"], "'ari', 'train_loss', 'bytes_round' or 'bytes_total' (got 'f1')"),
        (["sweep.search={type='optuna'}"], "sweep.search.maximise: needs validation data; set validation of mood, "),
        (["sweep.samples=3"], "sweep.samples: grids alone have nothing to draw"),
        (["sweep.space.tasks.mood={max_train=5}"], 'a table of its values: "tasks.mood.max_train" = { grid'),
        (["sweep.space.adapter={rank={grid=[1]}}"], 'with a table of its values: "adapter.rank" = { grid = [..] } ('),
        (["sweep.space.adapter.rank=[1,2]"], 'sweep.space.adapter.rank: what is swept is a dotted key in quotes'),
        (["sweep.space.adapter.rank.grids=[1]"], "unknown key; did you mean 'grid'?"),
        (["sweep.space.tasks.mood.grid=[1]"], "tasks.mood: names a whole task; name one of its keys, such as tasks.m"),
        (["sweep.space.sweep.seed.grid=[1]"], "sweep.space.sweep.seed: is no part of what a point may change"),
    ],
)  # fmt: skip
def test_bad_spaces_are_refused_in_a_second(tiny, fltac, tmp_path, overrides, told):
    began = time.monotonic()
    code, _, err = fltac("sweep", tiny, *overrides, "--out", tmp_path / "out")
    assert time.monotonic() - began < 2  # on a busy machine
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_is_told_at_once(tiny, fltac):
    assert len(fltac("check", tiny, "adapter.rank=0", "seed=x", "wire.down=int2")[2].splitlines()) == 3
    code, _, err = fltac(
        "check", tiny, "tasks.mood.source.train=no.csv", 'tasks.animal.inputs=["x"]', "model.source.path=/nowhere"
    )
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "tasks.0.source.train",
        "tasks.1.inputs",
        "model.source.path",
    ]


def test_more_gpus_than_there_are_is_refused_before_ray_starts(tiny, fltac, tmp_path):
    code, _, err = fltac("run", tiny, "resources.client.num_gpus=64", "--out", tmp_path / "run")
    assert code == 2
    assert f"{tiny}: resources.client.num_gpus: needs 1 client actors of 1 CPUs and 64 GPUs each" in err
    assert not (tmp_path / "run").exists()


def test_check_prints_the_resolved_experiment_and_estimates_and_starts_nothing(tiny, fltac):
    code, out, err = fltac("check", tiny, "adapter.rank=1", "clustering.type=kmeans")
    assert (code, err) == (0, "")
    experiment = json.JSONDecoder().raw_decode(out)[0]
    assert experiment["adapter"] == {"rank": 1, "scale": None, "alpha": None, "targets": None, "dropout": 0.0} | {
        "init": "shared",
        "gauge": "kept",
    }
    assert experiment["clustering"] == {"type": "kmeans", "k": "tasks", "restarts": 10}
    words = [line.split() for line in out.splitlines()]
    assert ["clustering", "kmeans", "command", "line"] in words
    assert ["similarity", "blend", "preset", "fltac", "(default)"] in words
    assert "adapter: 256 numbers on 4 layers" in out
    assert ["one", "of", "all", "3", "tasks", "3", "768", "231", "999"] in words
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def test_check_foretells_the_bytes_that_a_run_measures(tiny, fltac, tmp_path):
    from fltac.estimate import estimate
    from fltac.layers import load
    from fltac.planning import plan

    for overrides in (["rounds=1"], ["rounds=1", "method=fedit", "wire.up=float16"]):
        out = tmp_path / str(len(overrides))
        code, _, err = fltac("run", tiny, *overrides, "--runtime", "local", "--out", out)
        assert code == 0, err
        summary = json.loads((out / "summary.json").read_text())
        guess = estimate(plan(load(tiny, overrides)))
        assert (guess.bytes_up, guess.bytes_down) == (summary["bytes_up"], summary["bytes_down"])


def test_a_run_prints_a_line_a_round_and_the_table_of_its_summary(tiny, fltac, tmp_path):
    code, out, err = fltac("run", tiny, "--runtime", "local", "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "round 1/2  loss " in out
    assert "round 2/2  loss " in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    for task, value in summary["accuracy"].items():
        assert rows[task] == [f"{bar:.3f}" for bar in (summary["majority"][task], summary["untuned"][task], value)]
    code, out, _ = fltac("resume", tmp_path / "run")
    assert code == 0
    assert "is finished" in out
    assert fltac("run", tiny, "--runtime", "local", "--out", tmp_path / "run")[0] == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file just opened, not yet held
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_after_its_last_round_and_says_how_to_go_on(tiny, fltac, tmp_path, number):
    out = tmp_path / "run"

    def end():
        for _ in range(6000):
            if (out / "rounds.jsonl").is_file():
                break
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    def own(*_):  # under nohup the one is ignored, and by default either would end the tests if the run were over
        pass

    before = signal.signal(number, own)
    ending = threading.Thread(target=end)
    ending.start()
    code, said, err = fltac("run", tiny, "--runtime", "local", "--out", out, "rounds=12", "training.steps=1")
    ending.join()
    assert (code, err) == (128 + number, f"stopped: what is finished is kept; fltac resume {out} goes on\n")
    assert "round 12/12" not in said
    assert signal.signal(number, before) == own
    code, said, _ = fltac("resume", out)
    assert (code, "round 12/12" in said) == (0, True)


def test_a_terminal_that_is_closed_ends_a_run_with_its_code(tiny, tmp_path):
    out, (terminal, side) = tmp_path / "run", os.openpty()

    def own():
        os.setsid()
        fcntl.ioctl(side, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored

    command = [sys.executable, "-m", "fltac", "run", tiny, "rounds=500", "--runtime", "local", "--out", out]
    run = subprocess.Popen([str(one) for one in command], stdin=side, stdout=side, stderr=side, preexec_fn=own)
    os.close(side)
    while not (out / "rounds.jsonl").is_file():
        assert run.poll() is None
        time.sleep(0.05)
    os.close(terminal)
    assert run.wait(timeout=60) == 129


@pytest.mark.parametrize(("first", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_does_not_tear_the_cleaning_up(tmp_path, first, code):
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # in what a shell runs beside itself
    before, cleaned = signal.getsignal(signal.SIGINT), []

    def work():
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(SystemExit) as ended, Stoppable(tmp_path):
        work()
    assert (ended.value.code, cleaned) == (code, [True])
    assert signal.getsignal(signal.SIGINT) == before
    signal.signal(signal.SIGINT, ignored)


def test_a_signal_that_python_passed_over_does_not_silence_those_to_come(tmp_path, monkeypatch):
    monkeypatch.setattr(ending, "ENDING_SECONDS", 0.1)

    def work():
        with suppress(SystemExit):  # as finalisers do
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # too soon
        time.sleep(0.2)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended, Stoppable(tmp_path):
        work()
    assert ended.value.code == 143


def test_whatever_is_made_of_the_exception_a_signal_keeps_its_code(tmp_path):
    def work():
        with suppress(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        sys.exit(1)  # as Ray does where the handler raised inside ray.wait

    with pytest.raises(SystemExit) as ended, Stoppable(tmp_path):
        work()
    assert ended.value.code == 143


def test_where_nothing_is_kept_to_go_on_from_no_resume_is_promised(tiny, tmp_path, capsys):
    library.run(library.load(tiny, ["checkpoint.keep=0", "rounds=1"]), out=tmp_path / "run", runtime="local")
    with pytest.raises(SystemExit), Stoppable(tmp_path / "run"):
        signal.raise_signal(signal.SIGTERM)
    said = "stopped: finished rounds are kept; checkpoint.keep = 0 leaves nothing to go on from\n"
    assert capsys.readouterr().err == said


def test_who_stops_following_a_job_is_told_that_it_goes_on(capsys):
    with pytest.raises(SystemExit) as ended, Stoppable(None):
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert "stopped: a job that was submitted goes on without this terminal" in capsys.readouterr().err


def test_what_is_refused_tells_of_no_results(tiny, fltac, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # no token there: nobody is called
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for command in ("run", "sweep"):
        code, said, err = fltac(command, tiny, "--address", "10.1.2.3:6379", "--out", tmp_path / "out")
        assert (code, said) == (2, "")
        assert "--address: is not on this machine and there is no token for it" in err
        assert not (tmp_path / "out").exists()


def test_only_what_is_sent_can_be_submitted(tiny, fltac, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = fltac("submit", tiny, "--address", "http://127.0.0.1:1")
    assert (code, f"FILE: lies outside {tmp_path}" in err) == (2, True)
    code, _, err = fltac("submit", tiny, "adapter.rank=0")
    assert (code, err.startswith(f"{tiny}: adapter.rank: ")) == (2, True)
    monkeypatch.chdir(tiny.parent)
    code, _, err = fltac("submit", tiny, "--address", "http://127.0.0.1:1")
    assert (code, "--address: no job server answers there" in err) == (2, True)


def test_help_keeps_its_brackets(fltac):
    from typer.main import get_command

    from fltac.cli import app

    told = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        texts = [command.help, *(getattr(one, "help", None) or "" for one in command.params)]
        told[name] = re.findall(r"\w*\[[\w.]+\]", " ".join(texts))
    assert told["sweep"] == ["[sweep.space]"]
    assert told["report"] == ["fltac[umap]", "[network]"]
    for name, brackets in told.items():
        shown = fltac(name, "--help")[1]
        assert [one for one in brackets if one not in shown] == []
    assert "[sweep.space]" in fltac("--help")[1]


def test_report_and_export_refuse_what_is_no_run(fltac, tmp_path):
    for command in (
        ["report", tmp_path],
        ["export", tmp_path, "--cluster", "0", "--to", tmp_path / "x"],
        ["resume", tmp_path],
    ):
        code, _, err = fltac(*command)
        assert code == 2
        assert str(tmp_path) in err
        assert "is no run directory" in err


def test_a_cost_is_a_row_a_run_however_many_and_wide(tiny, fltac, tmp_path):
    fltac("run", tiny, "--runtime", "local", "--out", tmp_path / "a-run-with-a-long-name", "rounds=1")
    for copy in range(8):
        shutil.copytree(tmp_path / "a-run-with-a-long-name", tmp_path / f"a-run-with-a-long-name-{copy}")
    code, out, err = fltac("cost", *sorted(tmp_path.iterdir()), "-n", "usd_per_gb=1")
    assert (code, err) == (0, "")
    rows = [line for line in out.splitlines() if line.strip().startswith("a-run-with-a-long-name")]
    assert len(rows) == 9 * 3  # all rounds, to the same accuracy, by tier
    assert len({len(row) for row in rows[:9]}) == 1
    assert "assumed: $ 1 a GB of traffic" in out
    code, _, err = fltac("cost", tmp_path / "a-run-with-a-long-name", "-n", "usd=1")
    assert code == 2
    assert "network.usd: unknown key" in err


@pytest.mark.skipif(find_spec("umap") is not None, reason="umap-learn is installed")
def test_an_embedding_that_is_not_installed_is_refused(fltac, tmp_path):
    code, _, err = fltac("report", tmp_path, "--embedding", "umap")
    assert code == 2
    assert "pip install 'fltac[umap]'" in err
    assert fltac("report", tmp_path, "--embedding", "tsne")[0] == 2


def test_a_clients_exception_is_told_with_its_place_and_traceback(tiny, fltac, tmp_path):
    code, _, err = fltac("run", tiny, "training.learning_rate=1e30", "--runtime", "local", "--out", tmp_path / "run")
    assert code == 1
    assert "Traceback" in err
    last = err.splitlines()[-1]
    assert last.startswith("fltac failed: DivergedError: the training loss is nan; lower training.learning_rate")
    assert last.endswith("in client 0, slot 0, round 1")


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray_too_and_nothing_is_left_running(tiny, tmp_path):
    command = [
        sys.executable,
        "-m",
        "fltac",
        "run",
        str(tiny),
        "training.learning_rate=1e30",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=marked(tmp_path), timeout=180, check=False)
    assert done.returncode == 1, done.stderr
    assert "in client " in done.stderr.splitlines()[-1]
    assert "DivergedError" in done.stderr

    assert left(tmp_path) == []


def test_version(fltac):
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "fltac.__version__"
    code, out, _ = fltac("--version")
    assert (code, out.split()[0]) == (0, "fltac")


def test_a_full_disk_is_told_in_one_line(fltac, tiny, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))  # the experiment fits, a round does not
    try:
        code, _, err = fltac("run", tiny, "rounds=1", "--out", tmp_path / "run", "--runtime", "local")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert err.startswith(f"fltac stopped: {tmp_path / 'run'}")
    what = "make room, then fltac resume (finished rounds are whole), or fltac run where it had not begun"
    assert err.endswith(f"cannot be written: File too large; {what}\n")
    assert err.count("\n") == 1


def test_a_run_that_another_process_writes_is_refused_in_one_line(fltac, tiny, tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create(load(tiny).dump(), {"runtime": "local"})
    code, _, err = fltac("resume", run.path)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"{run.path}: is being written by process {os.getpid()} on ")
