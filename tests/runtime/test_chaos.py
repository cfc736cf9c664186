"""Whoever dies, and whenever: the run ends as the one that nobody disturbed. benchmarks/chaos.py is the long one."""

import itertools
from functools import partial

import pytest
import ray

import fltac
from benchmarks.chaos import CALM, LATE, Chaos, results, run, survived
from fltac.errors import StoppedError
from fltac.records.store import RunDirectory
from fltac.runtime import launch
from fltac.runtime.capacity import needed
from fltac.runtime.cluster import Cluster
from fltac.runtime.remote import RayRuntime

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def calm(tiny_file, tmp_path_factory):
    """Overrides -> what an undisturbed run finds."""
    found = {}

    def results_of(overrides):
        if tuple(overrides) not in found:
            out = tmp_path_factory.mktemp("calm") / "run"
            fltac.run(fltac.load(tiny_file, overrides), out=out, runtime="local")
            found[tuple(overrides)] = results(out)
        return found[tuple(overrides)]

    return results_of


EVERY_STAGE = {
    **{(1, "train"): "client", (1, "upload"): "aggregator", (1, "cluster"): "aggregator"},
    **{(1, "merge"): "aggregator", (1, "record"): "aggregator", (2, "upload"): "client", (2, "record"): "client"},
}


def test_at_every_stage_somebody_dies_and_nothing_changes(tiny_file, tmp_path, ray_address, calm):
    overrides = [*CALM, *LATE]
    run(tmp_path / "run", tiny_file, overrides, EVERY_STAGE, ray_address, after=0.05)
    assert results(tmp_path / "run") == calm(overrides)


def test_a_dead_driver_is_resumed(tiny_file, tmp_path, ray_address, calm):
    overrides = [*CALM, *LATE]  # what came late in round 1 waits in its checkpoint
    assert survived(tmp_path / "run", tiny_file, overrides, {(2, "merge"): "driver"}, ray_address, 0.1) == 2
    assert results(tmp_path / "run") == calm(overrides)


def test_who_dies_too_often_is_left_out_or_the_run_stops(tiny_file, tmp_path, ray_address):
    """Client 2's work kills its actor, again and again; the others' is done by the actors that come after."""
    overrides = ["resources.actors=1", "rounds=1", "faults.max_failures=1", "faults.min_clients=3", "training.pack=1"]
    experiment, said = fltac.load(tiny_file, overrides), []
    with (
        Cluster(partial(needed, experiment), ray_address) as cluster,
        RayRuntime(cluster.need, None, said.append) as remote,
    ):
        world, setup = launch.prepare(experiment)
        directory = RunDirectory(tmp_path / "run")
        directory.create(experiment.dump(), launch.provenance("ray"))
        remote.load(world, setup)
        poison(remote, 2)
        (record,) = launch.rounds(world, remote, directory)
        (gone,) = record.line["left_out"]
        assert (gone["client"], gone["why"]) == (2, "lost")
        assert gone["what"].startswith("training of round 1 was lost 2 times, at last: ActorDiedError")
        assert {row["client"] for row in record.tables["updates"]} == {0, 1, 3}
        assert [line.partition(" (ActorDiedError")[0] for line in said] == 2 * [
            "training of round 1: client actor 0 is replaced, its work done again"
        ]
        poison(remote, 1, 2)
        with pytest.raises(StoppedError, match=r"updates of 2 clients can be merged, and faults\.min_clients"):
            remote.aggregate(*sent(remote, world))
        remote.snapshot(whole=False)  # as with checkpoint.keep = 0
        ray.kill(remote.aggregator)
        with pytest.raises(StoppedError, match=r"with checkpoint\.keep = 0 nobody knows"):
            remote.snapshot(whole=True)


def poison(remote, *clients):
    """An order for one of these clients kills the actor that has it."""
    send = remote.pool.run

    def run(what, pieces, ask, until=None):
        def asked(actor, piece):
            refs = ask(actor, piece)
            if set(piece) & set(clients) and what.startswith("training"):  # client n is order n: all are drawn
                ray.kill(actor)
            return refs

        return send(what, pieces, asked, until)

    remote.pool.run = run


def sent(remote, world):
    from fltac.orders import orders

    post = remote.start({})
    updates, _ = remote.train(1, orders(world, 1, world.draw_clients(1), post, {}), post)
    return updates, {}


def test_a_node_dies_within_a_round(tiny_file, tmp_path, calm):
    """Everything goes through the object store, so that what lay on the dead node is lost and trained again."""
    from ray.cluster_utils import Cluster as Nodes

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    system = {"_system_config": {**quick, "max_direct_call_object_size": 100}}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **system})
    other = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    experiment = fltac.load(tiny_file, CALM)
    try:
        with Cluster(partial(needed, experiment), nodes.address) as cluster, RayRuntime(cluster.need) as remote:
            world, setup = launch.prepare(experiment)
            directory = RunDirectory(tmp_path / "run")
            directory.create(experiment.dump(), launch.provenance("ray"))
            remote.load(world, setup)
            trained, train = [], remote._train
            remote._train = lambda *order: trained.append(order[0]) or train(*order)
            doomed = Doomed(remote, lambda: nodes.remove_node(other))
            for _ in launch.rounds(world, doomed, directory):
                pass
            assert trained == [1, 1, 2]  # what lay on the node was trained again
        launch.conclude(directory)
    finally:
        nodes.shutdown()
    assert results(tmp_path / "run") == calm(CALM)


class Doomed(Chaos):
    """Between upload and merging of the first round, a node goes."""

    def __init__(self, runtime, end):
        super().__init__(runtime, {(1, "upload"): "node"})
        self.end = end

    def _strike(self, stage):
        if self.plan.get((self.round, stage)):
            self.end()


def test_seeded_plans_hold_every_round_stage_and_victim():
    from benchmarks.chaos import STAGES, VICTIMS, plans

    names = [name for name, *_ in plans(2, 3)]
    assert names[:-3] == [f"{v}, {s}, round {r}" for r, s, v in itertools.product((1, 2), STAGES, VICTIMS)]
