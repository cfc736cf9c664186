"""How every holder of a task would fare now, judged once for all who would be sent the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fltac.client import ClientState, Job
from fltac.model.training import Score
from fltac.server.state import Post
from fltac.timeline import holding
from fltac.world import SPLITS, World


class Question(NamedTuple):
    """A job, the cluster it judges, and the training examples of those who hold this adapter and head: its weight."""

    job: Job
    cluster: int
    weight: int


def questions(world: World, round: int, post: Post, states: Mapping[int, ClientState]) -> list[Question]:
    """One question a distinct (adapter, head, task, split); all holders of the round count, drawn or not."""
    asked: dict[tuple[str, str, str], Question] = {}
    for key, shard in holding(world.shards, round).items():
        address, own = post.judged[key], None
        same = address.same
        if address.head < 0:  # the head never left its client
            client, slot = key
            own, same = world.own_head(states.get(client, {}), slot, shard.task), f"{same}/{key}"
        for split in SPLITS:
            if len(world.tasks[shard.task].split(split)) == 0:
                continue
            job = Job(address.payload, address.head, shard.task, split, own)
            question = asked.get((shard.task, split, same), Question(job, address.cluster, 0))
            asked[shard.task, split, same] = question._replace(weight=question.weight + len(shard.indices))
    return list(asked.values())


def answers(asked: Sequence[Question], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Evaluation rows: for each task and split the holders' weighted mean (cluster null), then each cluster's own."""
    groups: dict[tuple[str, str], list[tuple[Question, Score]]] = {}
    for question, score in zip(asked, scores, strict=True):
        groups.setdefault((question.job.task, question.job.split), []).append((question, score))
    rows = []
    for (task, split), members in groups.items():
        for cluster in (None, *sorted({question.cluster for question, _ in members})):
            chosen = [(q.weight, s) for q, s in members if cluster in (None, q.cluster)]
            total = sum(weight for weight, _ in chosen)
            accuracy = sum(w * s.correct / s.num_examples for w, s in chosen) / total
            loss = sum(w * s.loss / s.num_examples for w, s in chosen) / total
            place = {"task": task, "cluster": cluster, "split": split, "num_examples": chosen[0][1].num_examples}
            rows += [{**place, "metric": "accuracy", "value": accuracy}, {**place, "metric": "loss", "value": loss}]
    return rows


def bars(world: World, untuned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a result is to be held against: the untuned model's evaluations, and each task's majority class."""
    majorities = [
        {"task": name, "cluster": None, "split": "test", "metric": "majority", "value": task.majority}
        | {"num_examples": len(task.test)}
        for name, task in world.tasks.items()
    ]
    return untuned + majorities
