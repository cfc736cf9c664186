"""What an operator should look at: rules over one round's record, none of which needs a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median_low
from typing import Any

from fltac.config import Alerts

Rows = Sequence[Mapping[str, Any]]
CLEAR = 1.5  # standard errors: see `fltac.server.agreeing`; two attackers of ten lie at -2.5, one of five at -1.6


def alerts(line: Mapping[str, Any], known: int, clusters: Rows, updates: Rows, rules: Alerts) -> list[dict[str, Any]]:
    """One entry an alert: round, rule, where, value, bound, what happened, what to look at.

    `known` slots are clustered in this round, drawn or not. In the first round everything is new, which is no news.
    """
    found = [*_levels(line, known, rules), *_left_out(line, rules), *_outvoted(updates, rules)]
    if line["round"] > 1:
        found += [*_events(clusters, rules), *_moves(clusters, updates, rules)]
    return [{"round": line["round"], **alert} for alert in found]


def _levels(line: Mapping[str, Any], known: int, rules: Alerts) -> Iterator[dict[str, Any]]:
    sent = line["bytes_up"] + line["bytes_down"]
    levels = {
        "noise": (line["noise"] / known, "of the adapters were left out by the clusterer", "is_noise in updates"),
        "conflicts": (
            line["conflicts"] / known,
            "pairs of one client's slots an adapter were put together by the clusterer",
            "the map of adapters; another similarity, or more steps a round",
        ),
        "churn": (line["churn"], "of the slots changed their cluster", "moved_from in updates"),
        "bytes": (sent, "bytes were sent, both ways", "bytes in updates; wire.up, wire.down, adapter.rank"),
    }
    for rule, (value, what, look_at) in levels.items():
        bound = getattr(rules, rule)
        if bound is not None and value > bound:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
            yield _alert(rule, f"{shown} {what}", look_at, value=value, bound=bound)


def _left_out(line: Mapping[str, Any], rules: Alerts) -> Iterator[dict[str, Any]]:
    for one in line["left_out"]:
        if rules.left_out and one["why"] != "late":  # over-selection means some to be late
            text = f"nothing is merged of client {one['client']}: {one['why']}, {one['what']}"
            yield _alert("left_out", text, "left_out in rounds.jsonl", client=one["client"], slot=one["slot"])


def _outvoted(updates: Rows, rules: Alerts) -> Iterator[dict[str, Any]]:
    clusters: dict[int, list[Mapping[str, Any]]] = {}
    for row in updates:
        if rules.outvoted and row.get("agreement") is not None:
            clusters.setdefault(row["cluster"], []).append(row)
    look_at = "what they send, round for round: agreement, weight and outlier in updates"
    for cluster, rows in sorted(clusters.items()):
        usual = median_low(row["agreement"] for row in rows)
        if usual <= -1:
            text = f"cluster {cluster}: its members go several ways and none is a majority's, so that all count alike"
            yield _alert("outvoted", text, look_at, cluster=cluster, value=usual, bound=-1.0)
        for row in rows:
            if usual >= CLEAR and row["agreement"] <= -CLEAR:  # by chance one or the other may be, hardly both
                text = f"client {row['client']}, slot {row['slot']} goes against its cluster and counts for nothing"
                place = {"cluster": cluster, "client": row["client"], "slot": row["slot"]}
                yield _alert("outvoted", text, look_at, **place, value=row["agreement"], bound=-CLEAR)


def _events(clusters: Rows, rules: Alerts) -> Iterator[dict[str, Any]]:
    told = {
        "born": (rules.born, "is new", "who is in it: a new task, or one that was torn apart"),
        "split": (rules.split, "came out of another", "its silhouette and rival: two tasks, or one torn apart"),
        "merged": (rules.merged, "took in another", "aggregation_error and accuracy by cluster: were they one task"),
    }
    for row in clusters:
        wanted, what, look_at = told.get(row["event"], (False, "", ""))
        if wanted:
            text = f"cluster {row['cluster']} {what} and has {row['size']} slots"
            yield _alert(row["event"], text, look_at, cluster=row["cluster"], value=row["size"])
        if rules.lone and row["size"] == 1 and row["left"]:
            text = f"cluster {row['cluster']} shrank to one slot"
            yield _alert("lone", text, "where the others went: moved_from in updates", cluster=row["cluster"], value=1)


def _moves(clusters: Rows, updates: Rows, rules: Alerts) -> Iterator[dict[str, Any]]:
    for row in updates:
        if rules.restarted and row.get("restarted"):
            text = f"client {row['client']}, slot {row['slot']} lost what it had learned and started from v0"
            look_at = "what the client holds now; where it goes: moved_from in updates"
            yield _alert("restarted", text, look_at, cluster=row["cluster"], client=row["client"], slot=row["slot"])
    kept = {row["cluster"] for row in clusters if row["event"] in ("kept", "merged") and row["size"]}
    for row in updates:
        if rules.moved and row.get("moved_from") in kept and row["cluster"] in kept:
            text = (
                f"client {row['client']}, slot {row['slot']} went from cluster {row['moved_from']} to {row['cluster']}"
            )
            look_at = "what the client holds now; its train_loss before and after"
            yield _alert("moved", text, look_at, cluster=row["cluster"], client=row["client"], slot=row["slot"])


def _alert(
    rule: str,
    what: str,
    look_at: str,
    cluster: int | None = None,
    client: int | None = None,
    slot: int | None = None,
    value: float | None = None,
    bound: float | None = None,
) -> dict[str, Any]:
    place = {"cluster": cluster, "client": client, "slot": slot}
    return {"rule": rule, **place, "value": value, "bound": bound, "what": what, "look_at": look_at}
