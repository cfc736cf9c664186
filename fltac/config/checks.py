"""What an experiment's fields, each right by itself, contradict in each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from fltac.config.changes import ClientDrifts, ClientJoins, TaskBegins, TaskEnds
from fltac.config.codec import parse_codec
from fltac.config.experiment import Experiment
from fltac.config.sweep import Optuna, Sweep
from fltac.config.tasks import FilesTask, Table

BY_NUMBERS = ("mean", "trimmed_mean", "median", "norm_clip")  # mergers that look at no factor


def cross_checks(experiment: Experiment) -> list[tuple[str, str, object]]:
    """What single fields cannot know: `(key, what is wrong, value)` for each contradiction."""
    wrong: list[tuple[str, str, object]] = []
    names = [task.name for task in experiment.tasks]
    for index, name in enumerate(names):
        if name in names[:index]:
            wrong.append((f"tasks.{index}.name", f"is the name of tasks.{names.index(name)} too; rename one", name))
    partition = experiment.clients.partition
    if isinstance(partition, Table):
        for name in sorted(set(names) - set(partition.shares)):
            wrong.append(
                ("clients.partition.shares", f"has no row for task {name!r}; add one", sorted(partition.shares))
            )
        for name, row in partition.shares.items():
            key = f"clients.partition.shares.{name}"
            if name not in names:
                wrong.append((key, "is no task of this experiment; remove the row or add the task", name))
            elif len(row) != experiment.clients.count:
                wrong.append((key, f"needs one share a client, {experiment.clients.count} numbers", len(row)))
            elif sum(row) == 0:
                wrong.append((key, "gives the task to nobody; make one share positive", list(row)))
    wrong += _changes(experiment, names)
    wrong += _sweep(experiment)
    if experiment.exchange.adapters == "shared":
        if experiment.clustering.type != "single":
            what = 'a shared adapter serves all tasks, so it goes with type = "single" alone'
            wrong.append(("clustering.type", what, experiment.clustering.type))
        if experiment.exchange.heads == "local":
            wrong.append(("exchange.heads", 'a shared adapter goes with heads = "merge" alone', "local"))
    given = experiment.exchange.adapters == "shared" or experiment.clustering.type == "ifca"
    if experiment.exchange.restart is not None and given:
        what = (
            "goes with one adapter a task that the server clusters; set exchange.restart=false (the preset may set it)"
        )
        wrong.append(("exchange.restart", what, experiment.exchange.restart))
    if experiment.clustering.type == "ifca" and experiment.adapter.init == "per-client":
        what = 'clients that choose (clustering.type = "ifca") start from what they are sent; set "shared"'
        wrong.append(("adapter.init", what, "per-client"))
    wrong += _bound(experiment)
    wrong += _faults(experiment)
    if parse_codec(experiment.wire.up).top is not None and experiment.adapter.gauge == "random":
        what = (
            'sends what changed, and a change of turned factors means nothing; set adapter.gauge = "kept", or no +top'
        )
        wrong.append(("wire.up", what, experiment.wire.up))
    if experiment.model.quantise and experiment.resources.client.num_gpus == 0:
        what = "needs a GPU; give each client actor a share in resources.client.num_gpus, or leave it out"
        wrong.append(("model.quantise", what, experiment.model.quantise))
    actors = experiment.resources.actors
    pooled = experiment.exchange.data == "pooled"
    most = experiment.training.batch_size if pooled else experiment.clients.count
    if actors != "auto" and actors > most:
        of = "examples in a batch" if pooled else "clients"
        what = f"is more than there are {of} ({most}), so some would have nothing to do; lower it"
        wrong.append(("resources.actors", what, actors))
    reads_files = any(isinstance(task.source, FilesTask) for task in experiment.tasks)
    if reads_files and not Path(experiment.data.root).is_dir():
        wrong.append(("data.root", "is no folder; name the one that holds the task files", experiment.data.root))
    return wrong


def _bound(experiment: Experiment) -> Iterator[tuple[str, str, object]]:
    """What is trained and sent, and how it is merged, leaves some of the other choices no choice."""
    exchange, adapter, merging = experiment.exchange, experiment.adapter, experiment.merging.type
    rules: dict[str, list[tuple[str, object, tuple[object, ...], str]]] = {}  # what is given: key, value, may be, why
    if exchange.factors == "b":
        rules['exchange.factors = "b", where A stays v0\'s'] = [
            ("adapter.init", adapter.init, ("shared",), "each client's B belongs to an A of its own"),
            ("adapter.gauge", adapter.gauge, ("kept",), "the turned A does not travel with its B"),
            ("merging.type", merging, BY_NUMBERS, "it makes a new A"),
        ]
    if exchange.trains == "model":
        rules['exchange.trains = "model"'] = [
            ("exchange.factors", exchange.factors, ("both",), "there are no factors"),
            ("adapter.gauge", adapter.gauge, ("kept",), "there are no factors to turn"),
            ("adapter.init", adapter.init, ("shared",), "all clients start from the base"),
            ("similarity.type", experiment.similarity.type, ("flat",), "it compares factors"),
            ("clustering.type", experiment.clustering.type, ("single", "each", "oracle"), "it compares factors"),
            ("merging.type", merging, BY_NUMBERS, "it merges factors"),
            ("model.dtype", experiment.model.dtype, ("float32",), "small steps of its weights would be lost"),
            ("model.quantise", experiment.model.quantise, (None,), "integers have no gradient"),
        ]
    if exchange.data == "pooled":
        rules['exchange.data = "pooled"'] = [
            ("clustering.type", experiment.clustering.type, ("each", "single", "oracle"), "there is but one client"),
            ("changes", experiment.changes, ((),), "one client holds all, always"),
            ("clients.select", experiment.clients.select, (1.0,), "there is but one client"),
            ("faults.round_deadline_s", experiment.faults.round_deadline_s, (None,), "there is but one client"),
            ("adversary", experiment.adversary, (None,), "there is but one client"),
        ]
    if experiment.merging.weights == "agreement":
        rules['merging.weights = "agreement"'] = [
            ("adapter.gauge", adapter.gauge, ("kept",), "steps of turned factors cannot be compared"),
            ("adapter.init", adapter.init, ("shared",), "steps of B that belong to different A cannot be compared"),
            ("faults.late_weight", experiment.faults.late_weight, (None,), "what a late one was sent is gone"),
            ("wire.up", parse_codec(experiment.wire.up).top, (None,), "by +top each sends other numbers"),
        ]
    for given, of_it in rules.items():
        for key, value, allowed, why in of_it:
            if value not in allowed:
                what = "leave it out" if allowed == (None,) else f"set {' or '.join(map(json.dumps, allowed))}"
                yield key, f"does not go with {given}: {why}; {what}", value


def _faults(experiment: Experiment) -> Iterator[tuple[str, str, object]]:
    """Whether enough clients can come, late ones can be taken, and anybody is poisoned."""
    faults, clients = experiment.faults, experiment.clients
    if faults.min_clients > clients.count:
        yield "faults.min_clients", f"is more than there are clients ({clients.count}); lower it", faults.min_clients
    elif faults.min_clients > clients.awaited(clients.count):
        what = f"is more than a round waits for ({clients.awaited(clients.count)}); lower it, or raise clients.fraction"
        yield "faults.min_clients", what, faults.min_clients
    if clients.select > 1 and clients.fraction == 1:
        what = "draws more than fraction = 1 does, which is all; lower clients.fraction, or leave it out"
        yield "clients.select", what, clients.select
    if experiment.adversary is not None and round(experiment.adversary.share * clients.count) == 0:
        what = f"of {clients.count} clients is nobody; raise it, or leave adversary out"
        yield "adversary.share", what, experiment.adversary.share
    if faults.late_weight is None:
        return
    key, value = "faults.late_weight", faults.late_weight
    if faults.round_deadline_s is None and clients.select == 1:
        yield key, "waits for nobody: set faults.round_deadline_s or clients.select, or leave it out", value
    if faults.clock == "real":
        yield key, 'goes with clock = "simulated": by real time what is late is not waited for; leave it out', value
    if experiment.similarity.of == "step":
        yield key, 'does not go with similarity.of = "step": what a late one was sent is gone; leave it out', value
    if parse_codec(experiment.wire.up).top is not None:
        yield key, "does not go with +top in wire.up: what a late change is put on is gone; leave it out", value
    if experiment.merging.type == "median":
        yield key, "does not go with merging by the median, which knows no weights; leave it out", value


def _changes(experiment: Experiment, names: list[str]) -> Iterator[tuple[str, str, object]]:
    turns: dict[tuple[str, str | int], list[tuple[int, bool, str]]] = {}  # of a task or client
    for index, change in enumerate(experiment.changes):
        key = f"changes.{index}"
        if change.round > experiment.rounds:
            yield f"{key}.round", f"is after the last round, {experiment.rounds}; more rounds, or earlier", change.round
        for part in ("task", "becomes"):
            name = getattr(change, part, None)
            if name is not None and name not in names:
                yield f"{key}.{part}", f"is no task of this experiment; there are {', '.join(names)}", name
        client = getattr(change, "client", None)
        if client is not None and client >= experiment.clients.count:
            yield f"{key}.client", f"is no client; they are 0 to {experiment.clients.count - 1}", client
        if isinstance(change, ClientDrifts):
            if change.task == change.becomes:
                yield f"{key}.becomes", "is the task that it was; name another", change.becomes
        else:
            what: tuple[str, str | int] = (
                ("task", change.task) if isinstance(change, TaskBegins | TaskEnds) else ("client", change.client)
            )
            begins = isinstance(change, TaskBegins | ClientJoins)
            turns.setdefault(what, []).append((change.round, begins, f"{key}.round"))
    for what, each in turns.items():
        for (before, there, _), (round, then, key) in pairwise(sorted(each)):
            if before == round or there == then:
                yield key, f"{' '.join(map(str, what))} comes and goes in turn, one change a round", round


def _sweep(experiment: Experiment) -> Iterator[tuple[str, str, object]]:
    """Whether what the search goes by will be there, and whether draws would be drawn."""
    if (sweep := experiment.sweep) is None:
        return
    yield from searchable(experiment, sweep)
    if sweep.samples > 1 and not isinstance(sweep.search, Optuna) and all(one.grid for one in sweep.space.values()):
        yield "sweep.samples", "grids alone have nothing to draw; leave it out", sweep.samples
    for key in sweep.space:
        if key.split(".")[0] in ("sweep", "name"):
            yield f"sweep.space.{key}", "is no part of what a point may change; remove it", key
        if inside := [other for other in sweep.space if other.startswith(f"{key}.")]:
            yield f"sweep.space.{key}", f"holds {inside[0]}, which is swept too; sweep one of them", key


def searchable(experiment: Experiment, sweep: Sweep) -> Iterator[tuple[str, str, object]]:
    """Whether a point of the sweep will have what its search goes by."""
    asked: dict[str, str | None] = {}
    if isinstance(sweep.search, Optuna):
        asked = {"sweep.search.maximise": sweep.search.maximise, "sweep.search.minimise": sweep.search.minimise}
    if sweep.stop is not None:
        asked["sweep.stop.metric"] = sweep.stop.metric
    unjudged = [task.name for task in experiment.tasks if task.validation == 0]
    for key, metric in asked.items():
        if metric == "accuracy_validation_mean" and unjudged:
            what = f"needs validation data; set validation of {', '.join(unjudged)}, or go by another metric"
            yield key, what, metric
        if metric == "ari" and experiment.exchange.adapters == "shared":
            yield key, "is not there where one adapter serves all tasks; go by another metric", metric
