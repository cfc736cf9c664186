"""One finished round as rows: the schemas of the tables and the line of `rounds.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fltac.config import Alerts
from fltac.records.alerts import alerts
from fltac.records.left_out import LeftOut
from fltac.records.scoring import agreement

Key = tuple[int, int]  # (client, slot)
Rows = list[dict[str, Any]]

UPDATES = pa.schema(
    [
        ("round", pa.int32()),
        ("client", pa.int32()),
        ("slot", pa.int32()),
        ("task", pa.string()),  # null where one adapter serves all tasks of the client
        ("cluster", pa.int32()),
        ("moved_from", pa.int32()),  # the slot's cluster before; null where it is the same, or was none
        ("membership", pa.float64()),  # how firmly, 0 to 1; null where the clusterer does not say
        ("is_noise", pa.bool_()),  # as the clusterer says, before it is settled
        ("bytes_up", pa.int64()),
        ("bytes_up_heads", pa.int64()),  # of bytes_up; the rest are the adapter's
        ("bytes_up_header", pa.int64()),
        ("bytes_down", pa.int64()),
        ("bytes_down_heads", pa.int64()),
        ("bytes_down_header", pa.int64()),
        ("num_examples", pa.int64()),
        ("refused", pa.string()),  # why it is not merged: then all that the server found is null; null where it is
        ("outlier", pa.float64()),  # distance from its cluster's median, by the median of these; null where few
        ("agreement", pa.float64()),  # of its step with the others' in its cluster, in standard errors; null: not asked
        ("weight", pa.float64()),  # its share of its cluster, before anything is trimmed or drawn in
        ("tokens", pa.int64()),  # trained on, over all steps
        ("simulated_s", pa.float64()),  # of the client's whole round, by [network]
        ("restarted", pa.bool_()),  # the client started from v0: what it was sent no longer fitted its data
        ("train_loss", pa.float64()),
        ("seconds_train", pa.float64()),
        ("seconds_encode", pa.float64()),  # to bytes and back
        ("norm", pa.float64()),  # Euclidean, of the flat adapter
        ("x", pa.float64()),  # place among the round's adapters: two principal components of the similarity's points
        ("y", pa.float64()),
        ("sketch", pa.list_(pa.float32())),  # of the change from v0, the same projection in every round
    ]
)
EVALUATIONS = pa.schema(
    [
        ("round", pa.int32()),  # 0: untuned
        ("task", pa.string()),
        ("cluster", pa.int32()),  # null: the weighted mean of all holders
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("num_examples", pa.int64()),
    ]
)
CLUSTERS = pa.schema(
    [
        ("round", pa.int32()),
        ("cluster", pa.int32()),
        ("size", pa.int32()),  # slots, those not drawn this round too
        ("persistence", pa.float64()),  # null where the clusterer has none
        ("event", pa.string()),
        ("aggregation_error", pa.float64()),  # ||avg(B)avg(A) - avg(BA)|| / ||avg(BA)||; null: nobody was drawn
        ("spread", pa.float64()),  # mean distance to the centroid
        ("silhouette", pa.float64()),  # mean of the members'; null where there is one cluster alone
        ("rival", pa.int32()),  # the cluster with the nearest centroid
        ("rival_distance", pa.float64()),
        ("arrived", pa.int32()),  # slots that were not in it the round before
        ("left", pa.int32()),  # slots that were and are not
    ]
)
LAYERS = pa.schema(
    [
        ("round", pa.int32()),
        ("layer", pa.string()),
        ("within", pa.float64()),  # mean 1 - cos of the changes from v0 in the layer, pairs of one cluster; or null
        ("between", pa.float64()),  # the same, pairs of two clusters
        ("separation", pa.float64()),  # 1 - within / between; null where either is
    ]
)
GENERATIONS = pa.schema(  # after the last round, where training.generate asks for them
    [
        ("round", pa.int32()),
        ("task", pa.string()),
        ("cluster", pa.int32()),  # whose adapter wrote
        ("example", pa.int64()),  # of the task's test set
        ("prompt", pa.string()),
        ("reference", pa.string()),
        ("answer", pa.string()),
    ]
)
TABLES = {
    "updates": UPDATES,
    "evaluations": EVALUATIONS,
    "clusters": CLUSTERS,
    "layers": LAYERS,
    "generations": GENERATIONS,
}


@dataclass(frozen=True)
class RoundRecord:
    """What a round leaves behind: its line and the rows of the tables."""

    round: int
    line: dict[str, Any]
    tables: Mapping[str, Rows]


def round_record(
    round: int,
    sent: Rows,
    step: Mapping[str, Any],
    judged: Mapping[str, Rows],
    truths: Mapping[Key, str],
    seconds: Mapping[str, float],
    rules: Alerts,
    bytes_base: int = 0,
    lost: Sequence[LeftOut] = (),
) -> RoundRecord:
    """Joins what workers (`sent`), server (`step`) and judges say of a round; `seconds` are its clocks.

    Judges say `evaluations`, and `generations` where there are some.

    `bytes_base` is what its newcomers downloaded once, the frozen base; bytes_down does not count it. Of clients that
    were `lost` nothing came.

    Clustering is scored on every slot the server has heard of, once settled.
    """
    found = {(row["client"], row["slot"]): row for row in step["updates"]}
    left_out = [*lost, *step["refused"]]
    left_out += _missing(sent, {*found, *((one.client, one.slot) for one in left_out)})
    joined = [{"round": round, **row, **_found(found, left_out, row["client"], row["slot"])} for row in sent]
    updates = [{name: row.get(name) for name in UPDATES.names} for row in joined]
    labels = step["labels"]
    keys = [key for key in sorted(labels) if key in truths]
    score = agreement([labels[key] for key in keys], [truths[key] for key in keys])
    evaluations = judged["evaluations"]
    accuracy = accuracies(evaluations, "test")
    line: dict[str, Any] = {
        "round": round,
        "accuracy": accuracy,
        "accuracy_mean": sum(accuracy.values()) / len(accuracy),
        "accuracy_validation": accuracies(evaluations, "validation"),
        "train_loss": sum(row["train_loss"] for row in sent) / len(sent),
        "clients": len({row["client"] for row in sent}),
        "updates": len(sent),
        "refused": sum(row["refused"] is not None for row in updates),
        "left_out": [one._asdict() for one in left_out],
        "late_taken": sorted(found.keys() - {(row["client"], row["slot"]) for row in sent}),
        **{
            name: sum(row[name] for row in sent)
            for name in ("bytes_up", "bytes_up_heads", "bytes_down", "bytes_down_heads")
        },
        "bytes_base": bytes_base,
        "clusters": len(set(labels.values())),
        "noise": step["noise"],
        "conflicts": step["conflicts"],
        "churn": step["churn"],
        **score._asdict(),
        **seconds,
    }
    line["alerts"] = alerts(line, len(labels), step["clusters"], updates, rules)
    told = {"evaluations": evaluations, "clusters": step["clusters"], "layers": step["layers"]}
    if judged.get("generations"):
        told["generations"] = judged["generations"]
    tables = {name: [{"round": round, **row} for row in rows] for name, rows in told.items()}
    return RoundRecord(round, line, {"updates": updates, **tables})


def _missing(sent: Rows, told: Set[tuple[int, int | None]]) -> list[LeftOut]:
    """Updates of which the server says nothing: their client sent none, or sent them as another slot's."""
    slots: list[tuple[int, int]] = [(row["client"], row["slot"]) for row in sent]
    silent = [key for key in slots if key not in told and (key[0], None) not in told]
    return [LeftOut(*key, "missing", "no update came of it") for key in silent]


def _found(found: Mapping[Key, Mapping[str, Any]], left_out: Sequence[LeftOut], client: int, slot: int) -> Any:
    """What the server says of an update: where it is, or why it refused it."""
    if (client, slot) in found:
        return found[client, slot]
    reasons = {(one.client, one.slot): one.why for one in reversed(left_out)}
    return {"refused": reasons.get((client, slot)) or reasons[client, None]}


def accuracies(evaluations: Rows, split: str, metric: str = "accuracy") -> dict[str, float]:
    """Task -> the weighted mean of its holders on a split."""
    return {
        row["task"]: row["value"]
        for row in evaluations
        if row["cluster"] is None and row["split"] == split and row["metric"] == metric
    }


def metrics(evaluations: Rows) -> dict[str, dict[str, float]]:
    """Task -> metric -> the weighted mean of its holders on test, of all metrics but accuracy."""
    found: dict[str, dict[str, float]] = {}
    for row in evaluations:
        if row["cluster"] is None and row["split"] == "test" and row["metric"] not in ("accuracy", "majority"):
            found.setdefault(row["task"], {})[row["metric"]] = row["value"]
    return found


def searched(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What a search may go by after these rounds (`fltac.config.sweep`), as far as it is there."""
    last, validation = lines[-1], lines[-1]["accuracy_validation"]
    whole = validation.keys() == last["accuracy"].keys()  # a mean of some tasks would be another mean
    found = {
        **{name: last[name] for name in ("accuracy_mean", "train_loss", "ari")},
        "accuracy_validation_mean": sum(validation.values()) / len(validation) if whole else None,
        "bytes_round": last["bytes_up"] + last["bytes_down"],
        "bytes_total": sum(line["bytes_up"] + line["bytes_down"] for line in lines),
    }
    return {name: value for name, value in found.items() if value is not None}
