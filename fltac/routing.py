"""Which cluster suits somebody who has a few examples and no task's name. Nothing but what the run left is looked at.

The server has no data, so examples are never compared with anybody's. They are tried: on each cluster's adapter and
head, or by training a newcomer's adapter and placing it among those that the server last had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fltac.answering import Trained
from fltac.config import FilesTask, Task
from fltac.data.batching import training_batches
from fltac.data.columns import Rows, Split, labels, texts
from fltac.errors import InputError, Problem
from fltac.given import Given
from fltac.model.adapters import start_head
from fltac.model.kinds import Examples
from fltac.model.training import Work, evaluate, probabilities, train
from fltac.seeds import generator
from fltac.server.similarity import SIMILARITIES, unit
from fltac.server.state import Cluster
from fltac.world import agreed_start


class Route(NamedTuple):
    """A cluster, one of its heads (empty where none is trained or asked), the tasks that its members hold."""

    cluster: int
    head: str
    tasks: Mapping[str, int]  # training examples
    score: float


class Routing(NamedTuple):
    rule: str  # what the score is
    routes: list[Route]  # the best first


class Newcomer(NamedTuple):
    """Somebody's examples as numbers."""

    examples: Examples
    classes: int  # at least so many; none where answers are texts
    exact: bool  # and not more


def route(
    folder: str | Path,
    given: Given,
    columns: Sequence[str] = (),
    label: str | None = None,
    classes: Sequence[str] = (),
    join: bool = False,
) -> Routing:
    """Clusters by how they suit the examples given, the best first.

    With answers (the column `label`): by the mean loss -log p(answer | example) of each cluster's heads that have at
    least so many classes, exactly so many where `classes` names them. Classes must be numbered as the cluster's are.
    Without: by the information I = H(mean_i p_i) - mean_i H(p_i) in the answers p_i, nats: a head says different
    things of examples that it knows, and of others it says, however surely, the same (Bridle, Heading and MacKay 1991,
    Unsupervised classifiers, mutual information and phantom targets). Of a language model: the loss of the prompts.
    With `join`: as a client in its first round would, train v0 with a new head; by the mean cosine, in the run's own
    similarity, of that adapter and the members' last ones. It needs answers, but no cluster's head.
    Raises InputError for what is no run, no examples, or where there is nothing to choose from.
    """
    trained = Trained(folder)
    if join and (trained.shared or label is None):
        what = "needs a column of answers; name it with --label" if label is None else "needs adapters by task"
        raise InputError(Problem("--join", what, trained.experiment.method), "command line")
    try:
        newcomer = _newcomer(trained, given, columns, label, classes)
    except InputError as error:
        error.file = error.file or "command line"
        error.problems = [replace(one, key=one.key.partition(".")[0]) for one in error.problems]  # --input.inputs
        raise
    if join:
        rule, sign, found = "cosine of a newcomer's adapter", -1, _joined(trained, newcomer)
    elif label is not None or trained.kind.writes:
        rule = "loss of the answers" if label is not None else "loss of the prompts"
        sign, found = 1, _tried(trained, newcomer, _loss)
    else:
        rule, sign, found = "information in the answers", -1, _tried(trained, newcomer, _information)
    holders, routes = trained.holders(), []
    for cluster, head, score in found:
        tasks = {task: held[cluster] for task, held in holders.items() if cluster in held}
        routes.append(Route(cluster, head, {head: 0} if trained.shared and head else tasks, score))
    if not routes:
        least = "" if newcomer.exact else " or more"
        what = f"no cluster has a head of {newcomer.classes} classes{least}; where heads are local, --join asks none"
        raise InputError(Problem("--classes", what, newcomer.classes), str(folder))
    return Routing(rule, sorted(routes, key=lambda one: sign * one.score))


def _newcomer(
    trained: Trained, given: Given, columns: Sequence[str], label: str | None, classes: Sequence[str]
) -> Newcomer:
    writes = trained.kind.writes
    names = tuple(columns) or tuple(name for name in given.columns() if name != label)
    if len(names) > (1 if writes else 2) or not names:
        raise InputError(Problem("--input", "name the columns that go in; the file has", list(names)))
    what = {"prompt": f"{{{names[0]}}}"} if writes else {"inputs": names}
    nowhere = FilesTask(type="files", train="", test="")
    task, rows = given.rows(Task.model_validate({"name": "newcomer", "source": nowhere, **what}), "--input")
    asked, count = trained.kind.ask(task, rows), rows.table.num_rows
    none = np.zeros(count, np.int64)
    if writes:
        pair = ([""] * count, *asked) if label is None else (*asked, texts(rows, label, "--label"))
        return Newcomer(trained.encode(Split(pair, none), rows.where), 0, False)
    numbers = none if label is None else _numbers(rows, label, classes)
    seen = 2 if label is None else max(2, int(numbers.max()) + 1)
    return Newcomer(trained.encode(Split(asked, numbers), rows.where), len(classes) or seen, bool(classes))


def _numbers(rows: Rows, label: str, classes: Sequence[str]) -> np.ndarray:
    """(n,) the number of each row's class. Names say nothing of their order, so they need `classes`."""
    column = rows.column(label, "--label")
    if classes:
        return labels(rows, label, tuple(classes), "--label")
    if not pa.types.is_integer(column.type) or pc.min(column).as_py() < 0:
        what = f"column {label!r} holds {column.type}; number the classes from 0, or name them all, --classes a,b,c"
        raise InputError(Problem("--label", what, column[0].as_py()))
    return np.asarray(column.to_numpy(), np.int64)


Rule = Callable[[Trained, Cluster, np.ndarray, Work], float]


def _tried(trained: Trained, newcomer: Newcomer, rule: Rule) -> Iterator[tuple[int, str, float]]:
    """(cluster, head, score) of each head that fits."""
    work = trained.work(newcomer.examples)
    for number in sorted(trained.files):
        cluster = trained.cluster(number)
        heads = cluster.heads if trained.kind.trains_head else {"": trained.head(cluster, "", 0)}
        for name, head in sorted(heads.items()):
            if len(head) == newcomer.classes or (len(head) > newcomer.classes and not newcomer.exact):
                yield number, name, rule(trained, cluster, head, work)


def _loss(trained: Trained, cluster: Cluster, head: np.ndarray, work: Work) -> float:
    return evaluate(trained.backbone, cluster.adapter, head, work).mean_loss


def _information(trained: Trained, cluster: Cluster, head: np.ndarray, work: Work) -> float:
    said = probabilities(trained.backbone, cluster.adapter, head, work).astype(np.float64)  # (n, classes)
    return float(_entropy(said.mean(axis=0)) - _entropy(said).mean())


def _entropy(p: np.ndarray) -> np.ndarray:
    """In nats, along the last axis."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1))


def _joined(trained: Trained, newcomer: Newcomer) -> Iterator[tuple[int, str, float]]:
    """(cluster, no head, mean cosine to its members) of the adapter of a client's first round."""
    experiment, (spec, width) = trained.experiment, trained.shape
    training, examples = experiment.training, newcomer.examples
    start, head = agreed_start(experiment, spec), start_head(newcomer.classes, width, experiment.seed)
    draw = generator(experiment.seed, "batches", "newcomer")
    batches = training_batches(examples.lengths, training.steps, training.batch_size, draw)
    seed = int(generator(experiment.seed, "dropout", "newcomer").integers(2**31))
    work = Work(examples, batches)
    own = train(trained.backbone, start, [head], [work], training.learning_rate, seed).adapter
    slots, similarity = trained.run.last_slots(), experiment.similarity
    now = np.vstack([slots["adapters"], own])
    since = np.vstack([slots.get("since", np.broadcast_to(start, slots["adapters"].shape)), start])
    points = unit(SIMILARITIES[similarity.type](now, since, spec, similarity))
    cosines = points[:-1] @ points[-1]
    for number in sorted(set(slots["labels"].tolist())):
        yield number, "", float(cosines[slots["labels"] == number].mean())
