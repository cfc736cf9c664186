"""How every holder of a task would fare now, judged once for all who would be sent the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fltac.model.training import Score
from fltac.orders import ClientState, Job
from fltac.protocol import Runtime
from fltac.records.metrics import CLASS_METRICS, TEXT_METRICS
from fltac.records.store import RunDirectory
from fltac.server.state import Post
from fltac.timeline import holding
from fltac.world import World


class Question(NamedTuple):
    """A job, the cluster it judges, and the training examples of those who hold this adapter and head: its weight."""

    job: Job
    cluster: int
    weight: int = 0
    honest: int = 0  # of the weight, what is held by clients that are not poisoned


def questions(world: World, round: int, post: Post, states: Mapping[int, ClientState]) -> list[Question]:
    """One question a distinct (adapter, head, task, split); all holders of the round count, drawn or not."""
    asked: dict[tuple[str, str, str], Question] = {}
    for key, shard in holding(world.shards, round).items():
        address, own = post.judged[key], None
        same = address.same
        if address.head < 0:  # the head never left its client
            client, slot = key
            own, same = world.own_head(states.get(client, {}), slot, shard.task), f"{same}/{key}"
        for split in world.splits:
            if len(world.tasks[shard.task].split(split)) == 0:
                continue
            writes = split == "test" and round == world.experiment.rounds and world.experiment.training.generate > 0
            job = Job(address.payload, address.head, shard.task, split, own, writes)
            question = asked.get((shard.task, split, same), Question(job, address.cluster))
            held = len(shard.indices)
            honest = 0 if key[0] in world.poisoned else held
            asked[shard.task, split, same] = question._replace(
                weight=question.weight + held, honest=question.honest + honest
            )
    return list(asked.values())


def answers(world: World, asked: Sequence[Question], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Evaluation rows: for each task and split the holders' weighted mean (cluster null), then each cluster's own.

    What poisoned clients would be sent is no one's loss: the holders' mean is of the others, where there are some.
    """
    groups: dict[tuple[str, str], list[tuple[Question, dict[str, float]]]] = {}
    for question, score in zip(asked, scores, strict=True):
        found = question, _measured(world, question.job.task, score)
        groups.setdefault((question.job.task, question.job.split), []).append(found)
    rows = []
    for (task, split), members in groups.items():
        count = len(world.tasks[task].split(split))
        for cluster in (None, *sorted({question.cluster for question, _ in members})):
            some = cluster is None and any(q.honest for q, _ in members)
            chosen = [(q.honest if some else q.weight, found) for q, found in members if cluster in (None, q.cluster)]
            total = sum(weight for weight, _ in chosen)
            place = {"task": task, "cluster": cluster, "split": split, "num_examples": count}
            for metric in members[0][1]:
                value = sum(weight * found[metric] for weight, found in chosen) / total
                rows.append({**place, "metric": metric, "value": value})
    return rows


def written(world: World, asked: Sequence[Question], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """A row an answer in a model's own words: where it comes from, the prompt, the reference and the answer."""
    rows = []
    for question, score in zip(asked, scores, strict=True):
        task, place = world.tasks[question.job.task], {"task": question.job.task, "cluster": question.cluster}
        texts = zip(task.asked.rows.tolist(), task.asked.prompts, task.asked.references, strict=True)
        for (example, prompt, reference), answer in zip(texts, world.texts(score.written), strict=False):
            rows.append({**place, "example": example, "prompt": prompt, "reference": reference, "answer": answer})
    return rows


def _measured(world: World, name: str, score: Score) -> dict[str, float]:
    """Metric -> value of one score: accuracy, loss, what the task asks for, and what written answers are worth."""
    task, config = world.tasks[name], next(task for task in world.experiment.tasks if task.name == name)
    found = {"accuracy": score.accuracy, "loss": score.mean_loss}
    if config.metric in CLASS_METRICS:
        found[config.metric] = CLASS_METRICS[config.metric](score.confusion)
    if score.written:
        texts = world.texts(score.written)
        found |= {metric: measure(texts, task.asked.references) for metric, measure in TEXT_METRICS.items()}
    return found


def judge_v0(world: World, runtime: Runtime, run: RunDirectory, untuned: Post) -> list[Score]:
    """Writes what a result is to be held against, the untuned model's evaluations and each task's majority class, and
    what whoever uses the models must know. The scores that it was made of."""
    asked = questions(world, 0, untuned, {})
    scores = runtime.evaluate([question.job for question in asked], untuned)
    majorities = [
        {"task": name, "cluster": None, "split": "test", "metric": "majority", "value": task.majority}
        | {"num_examples": len(task.test)}
        for name, task in world.tasks.items()
    ]
    run.write_tasks(world.described())
    run.write_bars(answers(world, asked, scores) + majorities)
    return scores
