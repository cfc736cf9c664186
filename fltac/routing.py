"""Which cluster suits somebody who has a few examples and no task's name. Nothing but what the run left is looked at.

The server has no data, so examples are never compared with anybody's. They are tried: on each cluster's adapter and
head, or by training a newcomer's adapter and placing it among those that the server last had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from fltac.model.training import Learner, Work, evaluate, probabilities, train
from fltac.seeds import generator
from fltac.server.comparing import compared
from fltac.server.similarity import unit
from fltac.world import agreed_start

LEAST = float(np.finfo(np.float32).tiny)  # a probability of less is rounding


class Route(NamedTuple):
    """A cluster, one of its heads (empty where none is asked), the tasks that its members hold, most examples first."""

    cluster: int
    head: str
    tasks: tuple[str, ...]
    score: float


class Routing(NamedTuple):
    rule: str  # what the score is; more is better
    routes: list[Route]  # the best first


class Newcomer(NamedTuple):
    """Somebody's examples as numbers."""

    examples: Examples
    classes: int  # at least so many; none where answers are texts
    exact: bool  # and not more


class Said(NamedTuple):
    """What a cluster's head says of each example."""

    cluster: int
    head: str
    probabilities: np.ndarray  # (n, classes)


def route(
    folder: str | Path,
    given: Given,
    columns: Sequence[str] = (),
    label: str | None = None,
    classes: Sequence[str] = (),
    join: bool = False,
) -> Routing:
    """Clusters by how they suit the examples given, the best first.

    With answers (the column `label`): by `likelihood` under each cluster's heads that have at least so many classes,
    exactly so many where `classes` names them. Classes must be numbered as the cluster's are. Without: by the
    `information` in what the heads say. Of a language model: by the likelihood of the answers, or else of the prompts.
    With `join`: by `joined`, which needs answers, but no cluster's head and no common numbers of classes.
    Raises InputError for what is no run, no examples, or where there is nothing to choose from.
    """
    trained = Trained(folder)
    if join and (trained.shared or label is None):
        what = "needs a column of answers; name it with --label" if label is None else "needs adapters by task"
        raise InputError(Problem("--join", what, trained.experiment.method), "command line")
    try:
        newcomer = _newcomer(trained, given, columns, label, classes)
    except InputError as error:
        problems = [replace(one, key=one.key.partition(".")[0]) for one in error.problems]  # --input.inputs
        raise InputError(problems, error.file or "command line") from None
    found: Iterable[tuple[int, str, float]]
    if join:
        rule, found = "cosine of a newcomer's adapter", joined(trained, newcomer)
    elif trained.kind.writes:
        rule = f"log-likelihood of the {'prompts' if label is None else 'answers'}"
        found = _read(trained, newcomer)
    elif label is None:
        rule = "information in the answers"
        found = ((one.cluster, one.head, information(one.probabilities)) for one in tried(trained, newcomer))
    else:
        rule, numbers = "log-likelihood of the answers", newcomer.examples.answers
        found = ((one.cluster, one.head, likelihood(one.probabilities, numbers)) for one in tried(trained, newcomer))
    holders, routes = trained.holders(), []
    for cluster, head, score in found:
        held = {task: each[cluster] for task, each in holders.items() if cluster in each}
        tasks = (head,) if trained.shared and head else tuple(sorted(held, key=lambda task: -held[task]))
        routes.append(Route(cluster, head, tasks, score))
    if not routes:
        least = "" if newcomer.exact else " or more"
        what = f"no cluster has a head of {newcomer.classes} classes{least}; where heads are local, --join asks none"
        raise InputError(Problem("--classes", what, newcomer.classes), str(folder))
    return Routing(rule, sorted(routes, key=lambda one: -one.score))


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


def tried(trained: Trained, newcomer: Newcomer) -> Iterator[Said]:
    """What each head that fits says of the newcomer's examples."""
    work = trained.work(newcomer.examples)
    for number in sorted(trained.files):
        cluster = trained.cluster(number)
        for name, head in sorted(cluster.heads.items()):
            if len(head) == newcomer.classes or (len(head) > newcomer.classes and not newcomer.exact):
                yield Said(number, name, probabilities(trained.backbone, cluster.adapter, head, work))


def likelihood(said: np.ndarray, numbers: np.ndarray) -> float:
    """mean_i log p_i(y_i) of the right classes y (n,), nats, where p (n, classes) is said."""
    right = said[np.arange(len(numbers)), numbers]
    return float(np.log(np.maximum(right, LEAST), dtype=np.float64).mean())


def information(said: np.ndarray) -> float:
    """I = H(mean_i p_i) - mean_i H(p_i), nats, where p (n, classes) is said.

    A head says different things of examples that it knows; of others it says, however surely, the same. Source:
    Bridle, Heading and MacKay 1991, Unsupervised classifiers, mutual information and phantom targets.
    """
    said = said.astype(np.float64)
    return float(_entropy(said.mean(axis=0)) - _entropy(said).mean())


def _entropy(p: np.ndarray) -> np.ndarray:
    """-sum p log p along the last axis, nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1))


def joined(trained: Trained, newcomer: Newcomer) -> Iterator[tuple[int, str, float]]:
    """(cluster, no head, mean cosine) in the run's own similarity, of the members' last adapters and the newcomer's.

    That is trained as a client's in its first round: from v0, with a new head.
    """
    experiment, (spec, width) = trained.experiment, trained.shape
    training, examples = experiment.training, newcomer.examples
    start, head = agreed_start(experiment, spec), start_head(newcomer.classes, width, experiment.seed)
    draw = generator(experiment.seed, "batches", "newcomer")
    batches = training_batches(examples.lengths, training.steps, training.batch_size, draw)
    seed = int(generator(experiment.seed, "dropout", "newcomer").integers(2**31))
    learner = Learner(start, [head], [Work(examples, batches)], seed)
    ((own, _, _),) = train(trained.backbone, [learner], training.learning_rate)
    slots, similarity = trained.run.last_slots(), experiment.similarity
    now = [*slots["adapters"], own]
    since = [*slots.get("since", np.broadcast_to(start, slots["adapters"].shape)), start]
    points = unit(compared(now, since, spec, similarity, settled=False).points)
    cosines = points[:-1] @ points[-1]
    for number in sorted(set(slots["labels"].tolist())):
        yield number, "", float(cosines[slots["labels"] == number].mean())


def _read(trained: Trained, newcomer: Newcomer) -> Iterator[tuple[int, str, float]]:
    """(cluster, no head, mean log-likelihood of a token) of texts that a language model is to have written."""
    work = trained.work(newcomer.examples)
    for number in sorted(trained.files):
        cluster = trained.cluster(number)
        head = trained.head(cluster, "", 0)
        yield number, "", -evaluate(trained.backbone, cluster.adapter, head, work).mean_loss
