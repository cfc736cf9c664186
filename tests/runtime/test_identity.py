"""Local and Ray runs, on any number of actors, leave the same records, clocks apart."""

import json

import pytest

import fltac
from fltac.records.rounds import TABLES
from fltac.records.store import RunDirectory


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


SHARES = 'clients.partition={type="table", shares={mood=[1,1,1,0], animal=[0,1,1,1], weather=[1,0,1,1]}}'
CHANGES = (
    'changes=[{type="task-begins", round=2, task="weather"}, {type="client-leaves", round=2, client=1},'
    ' {type="client-drifts", round=2, task="mood", becomes="animal", share=0.2}]'
)
ALIKE = 'changes=[{type="client-drifts", round=3, task="mood", becomes="weather", share=0.3}]'  # heads of one shape
METHODS = {
    "fltac": [],
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


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_actors_do_what_one_process_does(tiny_file, tmp_path, ray_address, name):
    """One, two and three of them; where only the method is another, two."""
    overrides = METHODS[name]
    local = run(tiny_file, tmp_path / "local", *overrides, runtime="local")
    lines, tables, adapters, _, _ = local
    assert lines
    if ALIKE in overrides:
        assert any(row["restarted"] for row in tables["updates"])
    assert tables["updates"]
    assert adapters
    for actors in (1, 2, 3) if name == "fltac" else (2,):
        out = tmp_path / f"ray-{actors}"
        assert run(tiny_file, out, *overrides, f"resources.actors={actors}", address=ray_address) == local


def test_the_same_run_twice_is_the_same(tiny_file, tmp_path):
    assert run(tiny_file, tmp_path / "a", runtime="local") == run(tiny_file, tmp_path / "b", runtime="local")


def test_another_seed_is_another_run(tiny_file, tmp_path):
    one = run(tiny_file, tmp_path / "a", "rounds=1", runtime="local")
    assert one != run(tiny_file, tmp_path / "b", "rounds=1", "seed=1", runtime="local")
