"""Defaults, preset, file, command line: what a later layer says, and what it resets."""

import os

import pytest

import fltac
from fltac.config import Flat, Hdbscan, Kmeans, Mean, Oracle, Product, Single
from fltac.config.model import dtype_of
from fltac.errors import InputError
from fltac.layers import AXES, load, merge, methods, read

MINIMAL = """
name = "tiny"
model.source = { type = "hub", path = "some/model" }
[[tasks]]
name = "sst2"
source = { type = "hub", path = "nyu-mll/glue", name = "sst2" }
inputs = ["sentence"]
[[tasks]]
name = "news"
source = { type = "sample", name = "news-topic" }
max_train = 100
"""


@pytest.fixture
def write(tmp_path):
    """Writes an experiment file: the minimal one with top-level lines before it and tables behind it."""

    def write(top: str = "", tables: str = "") -> str:
        file = tmp_path / "experiment.toml"
        file.write_text(f"{top}\n{MINIMAL}\n{tables}", encoding="utf-8")
        return str(file)

    return write


def axes(loaded):
    return {axis: getattr(loaded.experiment, axis) for axis in AXES}


# -- presets and axes --------------------------------------------------------------------------------------


def test_the_default_method_is_fltac(write):
    loaded = read(write()).resolve()
    assert loaded.experiment.method == "fltac"
    assert loaded.experiment.clustering == Hdbscan(type="hdbscan")
    assert loaded.origins == dict.fromkeys(AXES, "preset fltac (default)")


@pytest.mark.parametrize("method", methods())
def test_every_preset_loads_from_each_layer_alike(write, method):
    in_file = read(write(f'method = "{method}"')).resolve()
    on_command_line = read(write(), [f"method={method}"]).resolve()
    assert in_file.experiment == on_command_line.experiment
    assert in_file.origins == dict.fromkeys(AXES, f"preset {method} (file)")
    assert on_command_line.origins == dict.fromkeys(AXES, f"preset {method} (command line)")


def test_the_methods_are_the_published_ones_and_the_bars():
    published = ["fedit", "fedlease", "ffa-lora", "fltac", "fltac-paper", "ifca"]
    assert methods() == sorted([*published, "central", "central-mixed", "full", "local", "oracle"])


def test_a_layers_own_axes_apply_after_its_method(write):
    loaded = read(write('method = "fltac-paper"', '[clustering]\nk = 7\n[merging]\nweights = "examples"')).resolve()
    assert axes(loaded) == {
        "exchange": loaded.experiment.exchange,
        "similarity": Flat(type="flat"),
        "clustering": Kmeans(type="kmeans", k=7),
        "merging": Mean(type="mean", weights="examples"),
    }
    preset = "preset fltac-paper (file)"
    assert loaded.origins == {"exchange": preset, "similarity": preset, "clustering": "file", "merging": "file"}


def test_a_later_method_resets_the_axes_below_it(write):
    file = write('method = "fltac-paper"', '[clustering]\nk = 7\n[similarity]\ntype = "product"')
    loaded = read(file, ["method=fedit", "merging.weights=uniform"]).resolve()
    assert loaded.experiment.clustering == Single(type="single")
    assert loaded.experiment.similarity == Flat(type="flat")
    assert loaded.experiment.merging == Mean(type="mean", weights="uniform")
    assert loaded.experiment.exchange.adapters == "shared"
    assert loaded.origins["merging"] == "command line"
    assert loaded.origins["clustering"] == "preset fedit (command line)"


def test_the_order_of_overrides_says_nothing_about_method_and_axes(write):
    assert load(write(), ["clustering.k=3", "method=fltac-paper"]).clustering == Kmeans(type="kmeans", k=3)


def test_no_method_in_a_layer_resets_nothing(write):
    file = write('method = "oracle"', '[similarity]\ntype = "product"')
    loaded = load(file, ["rounds=2"])
    assert (loaded.clustering, loaded.similarity) == (Oracle(type="oracle"), Product(type="product"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("clustering.min_samples=4", Hdbscan(type="hdbscan", min_cluster_size=3, min_samples=4)),
        ("clustering.type=hdbscan", Hdbscan(type="hdbscan", min_cluster_size=3)),
        ("clustering.type=kmeans", Kmeans(type="kmeans")),
        ('clustering={type = "kmeans", k = 2}', Kmeans(type="kmeans", k=2)),
    ],
)
def test_another_type_replaces_its_table_the_same_type_adds_to_it(write, override, expected):
    file = write("", '[clustering]\ntype = "hdbscan"\nmin_cluster_size = 3')
    assert load(file, [override]).clustering == expected


def test_types_count_at_any_depth(write):
    file = write("", '[clients]\ncount = 3\npartition = { type = "dirichlet", alpha = 0.1, min_examples = 2 }')
    clients = load(file, ["clients.partition.type=label_dirichlet"]).clients
    assert (clients.count, clients.partition.type) == (3, "label_dirichlet")
    assert (clients.partition.alpha, clients.partition.min_examples) == (0.5, 8)


def test_merge_keeps_what_the_upper_layer_does_not_name_and_changes_neither():
    below = {"a": {"x": 1, "deep": {"p": 1}}, "list": [1, 2], "b": 1}
    above = {"a": {"y": 2, "deep": {"q": 2}}, "list": [3], "c": 3}
    assert merge(below, above) == {
        **{"a": {"x": 1, "y": 2, "deep": {"p": 1, "q": 2}}},
        **{"list": [3], "b": 1, "c": 3},
    }
    assert below == {"a": {"x": 1, "deep": {"p": 1}}, "list": [1, 2], "b": 1}
    assert above == {"a": {"y": 2, "deep": {"q": 2}}, "list": [3], "c": 3}


# -- what does not go together ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["method=ffa-lora", "adapter.init=per-client"], r"adapter.init: .* set \"shared\" \(got 'per-client'\)"),
        (["method=ffa-lora", "adapter.gauge=random"], r"adapter.gauge: .* set \"kept\" \(got 'random'\)"),
        (
            ["exchange.factors=b", "merging.type=product_svd"],
            r"merging.type: .* \"mean\" or .* \(got 'product_svd'\)",
        ),
        (["method=ifca", "adapter.init=per-client"], r"adapter.init: .* set \"shared\" \(got 'per-client'\)"),
        (["wire.up=int8+top0.1", "adapter.gauge=random"], r"wire.up: .* set .* or no \+top \(got 'int8\+top0.1'\)"),
        (["method=ifca", "exchange.adapters=shared"], r"clustering.type: .* \(got 'ifca'\)"),
    ],
)
def test_choices_that_contradict_each_other_are_one_line_with_a_remedy(write, overrides, line):
    with pytest.raises(InputError, match=line):
        load(write(), overrides)


# -- scale and alpha: two names of one number ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "overrides", "scaling"),
    [
        ("", [], 2.0),
        ("scale = 3.0", [], 3.0),
        ("alpha = 16.0", [], 4.0),
        ("alpha = 16.0", ["adapter.rank=8"], 2.0),
        ("scale = 3.0", ["adapter.rank=8"], 3.0),
        ("scale = 3.0", ["adapter.alpha=4"], 1.0),
        ("alpha = 16.0", ["adapter.scale=0.5"], 0.5),
    ],
)
def test_the_later_layer_says_how_the_scale_is_meant(write, table, overrides, scaling):
    assert load(write("", f"[adapter]\nrank = 4\n{table}"), overrides).adapter.scaling == scaling


# -- values and tasks on the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=3", lambda e: e.seed, 3),
        ("training.learning_rate=1e-3", lambda e: e.training.learning_rate, 1e-3),
        ("wire.up=bfloat16", lambda e: e.wire.up, "bfloat16"),
        ('wire.up="bfloat16"', lambda e: e.wire.up, "bfloat16"),
        ("wire.up=int4+top0.05+zstd", lambda e: e.wire.up, "int4+top0.05+zstd"),
        ("wire.down=int8+zstd", lambda e: e.wire.down, "int8+zstd"),
        ("name=a-b", lambda e: e.name, "a-b"),
        ('adapter.targets=["q", "v"]', lambda e: e.adapter.targets, ("q", "v")),
        ("model.source.path=some/other=model", lambda e: e.model.source.path, "some/other=model"),
        ("tasks.news.max_train=9", lambda e: e.tasks[1].max_train, 9),
        ("tasks.1.max_train=9", lambda e: e.tasks[1].max_train, 9),
        ("tasks.sst2.source.name=cola", lambda e: e.tasks[0].source.name, "cola"),
        ("tasks.sst2.truth=sentiment", lambda e: e.truths(), {"sst2": "sentiment", "news": "news"}),
    ],
)
def test_an_override_is_a_toml_value_or_else_a_string(write, override, read, value):
    assert read(load(write(), [override])) == value


def test_overrides_of_tasks_leave_the_rest_of_them(write):
    plain = load(write())
    changed = load(write(), ["tasks.sst2.max_train=5", "tasks.1.max_test=6", "tasks.sst2.max_test=7"])
    assert changed.tasks[0] == plain.tasks[0].model_copy(update={"max_train": 5, "max_test": 7})
    assert changed.tasks[1] == plain.tasks[1].model_copy(update={"max_test": 6})


def test_another_source_type_replaces_a_tasks_source(write):
    changed = load(write(), ["tasks.sst2.source.type=sample", "tasks.sst2.source.name=news-topic"])
    assert changed.tasks[0].source == changed.tasks[1].source


# -- paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "under"), [("", "."), ('data.root = "texts"', "texts"), ('data.root = ".."', "..")])
def test_a_files_paths_are_relative_to_its_folder(write, tmp_path, monkeypatch, line, under):
    (tmp_path / "texts").mkdir()
    file = write(line)
    assert load(file).data.root == str((tmp_path / under).resolve())
    monkeypatch.chdir(tmp_path.parent)
    relative = os.path.relpath(file)
    assert load(relative) == load(file)


def test_a_command_lines_paths_are_relative_to_the_present_folder(write, tmp_path, monkeypatch):
    (tmp_path / "here" / "texts").mkdir(parents=True)
    file = write('data.root = "."')
    monkeypatch.chdir(tmp_path / "here")
    assert load(file, ["data.root=texts"]).data.root == str(tmp_path / "here" / "texts")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.source.type=path", "model.source.path=weights"],
        ['model.source={type = "path", path = "weights"}'],
        ["model.source.path=weights"],
    ],
    ids=["type and path", "table", "path alone"],
)
def test_a_model_path_on_the_command_line_is_relative_to_the_present_folder(tmp_path, monkeypatch, overrides):
    (tmp_path / "here").mkdir()
    file = tmp_path / "experiment.toml"
    file.write_text(MINIMAL.replace('type = "hub", path = "some/model"', 'type = "path", path = "weights"'))
    monkeypatch.chdir(tmp_path / "here")
    assert load(file).model.source.path == str(tmp_path / "weights")
    assert load(file, overrides).model.source.path == str(tmp_path / "here" / "weights")


# -- the resolved experiment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", methods())
def test_experiment_json_reloads_as_the_same_experiment_anywhere(write, tmp_path, method):
    overrides = [f"method={method}", "seed=5", "adapter.alpha=3", "tasks.sst2.validation=0.1"]
    experiment = load(write("", '[sweep.space]\n"adapter.rank" = { grid = [1, 2] }'), overrides)
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "experiment.json"
    file.write_text(experiment.dump())
    assert load(file) == experiment
    assert load(file).dump() == experiment.dump()
    assert '"targets": null' in experiment.dump()


def test_experiment_json_takes_overrides(write, tmp_path):
    file = tmp_path / "experiment.json"
    file.write_text(load(write(), ["adapter.scale=2.0", "clustering.min_samples=3"]).dump())
    assert load(file, ["adapter.alpha=8"]).adapter.scaling == 2.0
    assert load(file, ["clustering.type=single"]).clustering == Single(type="single")


def test_the_package_loads_experiments_as_the_module_does(write):
    assert fltac.load(write(), ["seed=4"]) == load(write(), ["seed=4"])


def test_the_dtype_goes_by_the_processors_flags_and_is_written_down(write, tmp_path):
    old, newer, new = tmp_path / "old", tmp_path / "newer", tmp_path / "new"
    old.write_text("flags\t: avx2 avx512f\n")
    newer.write_text("flags\t: avx512f avx512_bf16\n")
    new.write_text("flags\t: avx512f amx_bf16 amx_tile\n")
    found = [dtype_of("auto", 0, str(cpuinfo)) for cpuinfo in (old, newer, new, tmp_path / "missing")]
    assert found == ["float32", "bfloat16", "bfloat16", "float32"]
    assert dtype_of("auto", 0.5, str(old)) == "bfloat16"
    assert dtype_of("float32", 0.5, str(new)) == "float32"
    assert load(write(), ["model.dtype=auto"]).model.dtype == dtype_of("auto", 0)
