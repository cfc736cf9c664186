"""What workers know of a federation: tasks, shards, base model and start, the same for every runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fltac.adversary import MARKED, Upload, poisoned, spoiled, upload
from fltac.config import Backdoor, Experiment, Network, Tier, parse_codec
from fltac.data.shards import Key, Shard, Shards
from fltac.model.adapters import start_adapter, start_head
from fltac.model.backbone import Base, locate
from fltac.model.kinds import Examples
from fltac.model.kinds.tokens import tokenizer
from fltac.seeds import generator
from fltac.timeline import during, holding
from fltac.wire.codecs import rounded
from fltac.wire.lines import lines
from fltac.wire.messages import AdapterSpec


@dataclass(frozen=True)
class EncodedTask:
    """A task as numbers: what workers need of it."""

    names: Sequence[str]  # of its classes
    classes: int  # of its head: none where no head is trained
    choices: int  # among which an answer is one
    majority: float  # accuracy on test of always giving the most frequent answer of train
    train: Examples
    validation: Examples
    test: Examples
    asked: Asked
    marked: Examples | None = None  # where there is a backdoor: all of test with its mark and of its class

    def split(self, name: str) -> Examples:
        return {"validation": self.validation, "test": self.test, MARKED: self.marked or self.test}[name]


@dataclass(frozen=True)
class Asked:
    """The test examples of a task that are answered in the model's own words after the last round, as texts too."""

    rows: np.ndarray  # (k,) int64, in order
    prompts: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True)
class World:
    """The plan with weights and tokens. The workers share one, read-only; the server never sees it."""

    experiment: Experiment
    base: Base
    tasks: Mapping[str, EncodedTask]
    shards: Shards
    spec: AdapterSpec

    def described(self) -> dict[str, Any]:
        """Task -> what whoever uses its model must know of it."""
        return {name: {"classes": list(task.names)} for name, task in self.tasks.items()}

    def held(self, round: int) -> dict[int, dict[int, Shard]]:
        """Client -> slot -> what it holds in a round (0: what it will hold first), in order."""
        if round not in self._held:
            clients: dict[int, dict[int, Shard]] = {}
            for (client, slot), shard in holding(self.shards, round).items():
                clients.setdefault(client, {})[slot] = shard
            self._held.clear()
            self._held[round] = clients
        return self._held[round]

    @cached_property
    def _held(self) -> dict[int, dict[int, dict[int, Shard]]]:
        """The round that was asked for last: all of a round ask for it, and of many clients it takes a while."""
        return {}

    @property
    def splits(self) -> Sequence[str]:
        """What is judged of each task."""
        return ("validation", "test", *([MARKED] if isinstance(self.experiment.adversary, Backdoor) else []))

    @cached_property
    def poisoned(self) -> frozenset[int]:
        """The clients that are not what they say."""
        return poisoned(self.experiment)

    def training_examples(self, client: int, name: str) -> Examples:
        """A task's training examples as the client has them: what it makes of them where it is poisoned."""
        task = self.tasks[name]
        if client not in self.poisoned:
            return task.train
        draw = generator(self.experiment.seed, "adversary", client, name)
        examples: Examples = spoiled(self.experiment.adversary, task.train, task.classes, draw)
        return examples

    def upload(self, client: int, sent: Upload, trained: Upload) -> Upload:
        """The adapter and heads that a client sends."""
        return upload(self.experiment.adversary if client in self.poisoned else None, self.spec, sent, trained)

    @property
    def shared(self) -> bool:
        """One adapter a client serves all its tasks: it sends one update, as slot 0."""
        return self.experiment.exchange.adapters == "shared"

    @property
    def sends(self) -> bool:
        """Whether anything goes over a wire: not where all data are in one place."""
        return self.experiment.exchange.data == "own"

    @property
    def chooses(self) -> bool:
        """Each client picks the cluster of each of its slots itself, among all that it is sent."""
        return self.experiment.clustering.type == "ifca"

    def draw_clients(self, round: int) -> list[int]:
        """The clients of a round, sorted: a seeded `fraction` of those that hold data, `select` times as many."""
        holders = sorted(self.held(round))
        count = math.ceil(self.experiment.clients.select * self.awaited(round) - 1e-9)
        drawn = generator(self.experiment.seed, "draw", round).permutation(holders)[:count]
        return sorted(map(int, drawn))

    def awaited(self, round: int) -> int:
        """How many clients a round waits for: the first of those that are drawn."""
        return self.experiment.clients.awaited(len(self.held(round)))

    @cached_property
    def lines(self) -> Sequence[Network | Tier]:
        """Each client's line and machine."""
        return lines(self.experiment.clients.count, self.experiment.seed, self.experiment.network)

    def truths(self, heard: Mapping[Key, int]) -> dict[Key, str]:
        """Slot -> the true task it held when it last sent, for scoring alone: of clients that are not poisoned, and of
        nobody where adapters are shared."""
        truths, keys = self.experiment.truths(), [] if self.shared else heard.keys()
        shards = {key: during(self.shards[key], heard[key]) for key in keys if key[0] not in self.poisoned}
        return {key: truths[shard.task] for key, shard in shards.items() if shard is not None}

    @cached_property
    def start(self) -> np.ndarray:
        """v0 (p,) as a client got it with its first download; drawn again here instead of being kept by each."""
        return agreed_start(self.experiment, self.spec)

    def start_of(self, client: int) -> np.ndarray:
        """v0 (p,) as the client got it, its own where starts are not shared."""
        if self.experiment.adapter.init == "per-client":
            return agreed_start(self.experiment, self.spec, client)
        return self.start

    def whole(self, sent: np.ndarray) -> np.ndarray:
        """What travelled as an adapter (p,)."""
        return self.spec.whole(self.start, sent)

    def start_head(self, task: str) -> np.ndarray:
        """v0's head for a task: equal for tasks of equal classes, and for all clients."""
        return start_head(self.tasks[task].classes, self.base.width, self.experiment.seed)

    def texts(self, written: Sequence[Sequence[int]]) -> list[str]:
        """What a model wrote, as text."""
        coder = tokenizer(*locate(self.experiment.model)) if written else None
        return [] if coder is None else [text.strip() for text in coder.batch_decode(written, skip_special_tokens=True)]

    def own_head(self, state: Mapping[str, np.ndarray], slot: int, task: str) -> np.ndarray:
        """The head that a client keeps to itself: v0's, until it trained one of the task's classes."""
        start = self.start_head(task)
        kept = state.get(f"head-{slot}", start)
        return kept if kept.shape == start.shape else start


def agreed_start(experiment: Experiment, spec: AdapterSpec, *who: int) -> np.ndarray:
    """v0 (p,) as the wire rounds it, the same numbers on both of its sides; `who` names a start of one client's own."""
    draw = generator(experiment.seed, "wire", "v0", *who)
    return rounded(start_adapter(spec, experiment.seed, *who), parse_codec(experiment.wire.down), spec, draw)
