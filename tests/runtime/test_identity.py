"""Local and Ray runs, on any number of actors, leave the same records, clocks apart."""

import json

import pytest

import fltac
from fltac.federation import federate
from fltac.records.rounds import TABLES
from fltac.records.store import RunDirectory
from fltac.runtime.capacity import Need
from fltac.runtime.launch import conclude, prepare, provenance


def records(folder):
    """All that a run found out, without clocks: lines, tables, adapters byte for byte, summary."""

    def timeless(values):
        return {name: value for name, value in values.items() if not name.startswith(("seconds", "memory"))}

    run = RunDirectory(folder)
    tables = {name: [timeless(row) for row in run.table(name).to_pylist()] for name in TABLES}
    adapters = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.glob("adapters/*/*"))}
    return [timeless(line) for line in run.lines()], tables, adapters, timeless(run.summary()), experiment_of(folder)


def experiment_of(folder):
    experiment = json.loads((folder / "experiment.json").read_text())
    experiment["resources"]["actors"] = None  # what may differ
    return experiment


def run(file, out, *overrides, **where):
    fltac.run(fltac.load(file, overrides), out=out, **where)
    return records(out)


def on(actors, experiment, out):
    """The same on actors that are there."""
    folder = RunDirectory(out)
    folder.create(experiment.dump(), provenance("ray"))
    world, setup = prepare(experiment)
    actors.load(world, setup)
    for _ in federate(world, actors, folder):
        pass
    conclude(folder)
    return records(folder.path)


SHARES = 'clients.partition={type="table", shares={mood=[1,1,1,0], animal=[0,1,1,1], weather=[1,0,1,1]}}'
CHANGES = (
    'changes=[{type="task-begins", round=2, task="weather"}, {type="client-leaves", round=2, client=1},'
    ' {type="client-drifts", round=2, task="mood", becomes="animal", share=0.2}]'
)
ALIKE = 'changes=[{type="client-drifts", round=3, task="mood", becomes="weather", share=0.3}]'  # heads of one shape
METHODS = {
    "one adapter a pass": ["training.pack=1"],
    "five adapters a pass": ["training.pack=5"],
    "two shared adapters a pass": ["method=fedit", "training.pack=2", "clients.fraction=0.5"],
    "fedit": ["method=fedit"],
    "full": ["method=full", "wire.up=int8"],
    "local heads, half the clients": ["exchange.heads=local", "clients.fraction=0.5", "similarity.of=step"],
    "choices, A frozen, half the clients": ["method=ifca", "exchange.factors=b", "clients.fraction=0.5"],
    "clusters that stay, half the clients": ["method=fedlease", "clients.fraction=0.5"],
    "changes as integers, half the clients": [*("wire.up=int4+top0.2+zstd", "wire.down=int8", "clients.fraction=0.5")],
    "a world that changes": [CHANGES, SHARES],
    "a client that starts anew": [ALIKE, SHARES, "rounds=3", "training.steps=60", "similarity.of=step"],
    "a shared adapter in a world that changes": [CHANGES, SHARES, "method=fedit"],
    "starts and gauges of their own": ["adapter.init=per-client", "adapter.gauge=random", "merging.type=product_svd"],
}


@pytest.fixture(scope="module")
def actors(ray_address):
    """Two client actors and an aggregator, for one run after another: to start them takes longer than the runs."""
    from fltac.runtime.cluster import Cluster
    from fltac.runtime.remote import RayRuntime

    with Cluster(lambda nodes: Need(2, 1, 0), ray_address) as cluster, RayRuntime(cluster.need) as runtime:
        yield runtime


@pytest.mark.ray
@pytest.mark.slow
def test_one_two_and_three_actors_do_what_one_process_does(tiny_file, tmp_path, ray_address):
    local = run(tiny_file, tmp_path / "local", runtime="local")
    for actors in (1, 2, 3):
        assert run(tiny_file, tmp_path / f"ray-{actors}", f"resources.actors={actors}", address=ray_address) == local


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("overrides", METHODS.values(), ids=METHODS.keys())
def test_whatever_is_run_actors_do_what_one_process_does(tiny_file, tmp_path, actors, overrides):
    local = run(tiny_file, tmp_path / "local", *overrides, runtime="local")
    lines, tables, adapters, _, _ = local
    assert lines
    assert tables["updates"]
    assert adapters
    if ALIKE in overrides:
        assert any(row["restarted"] for row in tables["updates"])
    assert on(actors, fltac.load(tiny_file, overrides), tmp_path / "ray") == local


@pytest.mark.ray
def test_updates_of_a_call_may_come_as_several_objects(tiny_file, tmp_path, actors, monkeypatch):
    monkeypatch.setattr("fltac.runtime.remote.BUNDLE", 0)  # each client's for themselves
    local = run(tiny_file, tmp_path / "local", "rounds=1", runtime="local")
    assert on(actors, fltac.load(tiny_file, ["rounds=1"]), tmp_path / "ray") == local


def test_the_same_run_twice_is_the_same(tiny_file, tmp_path):
    assert run(tiny_file, tmp_path / "a", runtime="local") == run(tiny_file, tmp_path / "b", runtime="local")


def test_another_seed_is_another_run(tiny_file, tmp_path):
    one = run(tiny_file, tmp_path / "a", "rounds=1", runtime="local")
    assert one != run(tiny_file, tmp_path / "b", "rounds=1", "seed=1", runtime="local")
