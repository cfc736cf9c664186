"""Rounds in TensorBoard, MLflow and Weights & Biases: a function a tracker, all of them over the record's line."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from fltac.config import Experiment, Tracker
from fltac.errors import Problem, reason
from fltac.points import flat
from fltac.records.store import RunDirectory

Values = Mapping[str, float]


@dataclass(frozen=True)
class Subject:
    """The run that a tracker is to show, from the round `first` on."""

    run: RunDirectory
    experiment: Experiment
    first: int
    point: str  # of a sweep: what it changes

    @property
    def name(self) -> str:
        return self.point or self.run.path.resolve().name

    @property
    def id(self) -> str:
        """The same after a resume, another for another run."""
        said = f"{self.run.path.resolve()} {self.run.provenance()['started']}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def settings(self) -> dict[str, Any]:
        """Dotted key -> value of the resolved experiment."""
        return {key: value for key, value in flat(self.experiment.model_dump(mode="json")).items() if value is not None}


class Open(NamedTuple):
    """A tracker at work: `log(round, values)`, `close(failed)` when the run is over, the last round that it has."""

    log: Callable[[int, Values], Any]
    close: Callable[[bool], Any]
    last: int


def tensorboard(asked: Any, subject: Subject) -> Open:
    """Event files in the run directory; of a resumed run the earlier ones are hidden, and their rounds told again."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(subject.run.path / "tensorboard"), purge_step=0)

    def log(round: int, values: Values) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, round)
        writer.flush()

    return Open(log, lambda failed: writer.close(), last=0)


def mlflow(asked: Any, subject: Subject) -> Open:
    """A run of an MLflow experiment, gone on with after a resume."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=asked.uri)
    there = client.get_experiment_by_name(asked.experiment)
    experiment = there.experiment_id if there else client.create_experiment(asked.experiment)
    known = client.search_runs([experiment], f"tags.`fltac.id` = '{subject.id}'", max_results=1)
    run: str = (known or [client.create_run(experiment, run_name=subject.name)])[0].info.run_id
    if known:
        client.update_run(run, status="RUNNING")
    else:
        tags = {"fltac.id": subject.id, "fltac.run": str(subject.run.path.resolve()), "fltac.point": subject.point}
        client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items() if value])
        settings = [Param(key, str(value)) for key, value in subject.settings.items()]
        for start in range(0, len(settings), 100):  # as many as it takes at once
            client.log_batch(run, params=settings[start : start + 100])

    def log(round: int, values: Values) -> None:
        now = int(1000 * time.time())
        client.log_batch(run, metrics=[Metric(name, value, now, round) for name, value in values.items()])

    last = int(known[0].data.metrics.get("round", 0)) if known else 0
    return Open(log, lambda failed: client.set_terminated(run, "FAILED" if failed else "FINISHED"), last)


def wandb(asked: Any, subject: Subject) -> Open:
    """A run of a Weights & Biases project, gone on with after a resume; the points of a sweep are a group."""
    import wandb

    run = wandb.init(
        project=asked.project,
        entity=asked.entity,
        mode=asked.mode,
        id=subject.id,
        resume="allow",
        name=subject.name,
        group=subject.experiment.name if subject.point else None,
        config=subject.settings,
        dir=str(subject.run.path),
        reinit="create_new",  # points run side by side
        settings=wandb.Settings(silent=True, console="off"),
    )
    # the server knows the steps of a run that it goes on with; files for wandb sync know only their own
    last = run.step - 1 if asked.mode == "online" else subject.first - 1
    return Open(lambda round, values: run.log(dict(values), step=round), lambda failed: run.finish(int(failed)), last)


TRACKERS: dict[str, tuple[str, Callable[[Any, Subject], Open]]] = {  # what it imports, and how it is opened
    "tensorboard": ("tensorboardX", tensorboard),
    "mlflow": ("mlflow", mlflow),
    "wandb": ("wandb", wandb),
}


class Tracks:
    """Hands the lines of a run's rounds to the trackers that its experiment names; they are opened with the first.

    Rounds that a tracker was not told of, since the run ended in between, are told to it first. One that fails is told
    of, and left out from then on: no run ends for its sake.
    """

    def __init__(self, run: RunDirectory, experiment: Experiment, say: Callable[[str], None], point: str = "") -> None:
        self.run, self.experiment, self.say, self.point = run, experiment, say, point
        self.open: dict[int, Open | None] = {}  # by number of the tracker; None: it failed

    def __call__(self, line: Mapping[str, Any]) -> None:
        for number, asked in enumerate(self.experiment.trackers):
            with self._left_out_if_it_fails(number):
                if number not in self.open:
                    subject = Subject(self.run, self.experiment, line["round"], self.point)
                    opened = self.open[number] = TRACKERS[asked.type][1](asked, subject)
                    for earlier in self.run.lines():
                        if opened.last < earlier["round"] < line["round"]:
                            opened.log(earlier["round"], scalars(earlier))
                if one := self.open[number]:
                    one.log(line["round"], scalars(line))

    def close(self, failed: bool) -> None:
        for number, one in self.open.items():
            with self._left_out_if_it_fails(number):
                if one:
                    one.close(failed)

    def __enter__(self) -> Tracks:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(failed=kind is not None)

    @contextmanager
    def _left_out_if_it_fails(self, number: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.open[number] = None
            self.say(f"warning: trackers.{number} ({self.experiment.trackers[number].type}): {reason(error)}")


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a round's line, `{"accuracy": {"sst2": 0.8}}` as `{"accuracy/sst2": 0.8}`; of a list how many."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{key}": one for key, one in scalars(value).items()}
        elif isinstance(value, list):
            found[name] = len(value)
        elif isinstance(value, int | float):
            found[name] = value
    return found


def missing(trackers: Sequence[Tracker]) -> list[Problem]:
    """Those whose package is not installed."""
    found = []
    for number, one in enumerate(trackers):
        package, _ = TRACKERS[one.type]
        if importlib.util.find_spec(package) is None:
            what = f"needs the package {package}; install it with: pip install 'fltac[{one.type}]'"
            found.append(Problem(f"trackers.{number}.type", what, one.type))
    return found
