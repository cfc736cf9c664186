"""Each rule fires on its own case and on no other, and on nothing in a round without news."""

import pytest

from fltac.config import Alerts
from fltac.records.alerts import alerts

QUIET = {"round": 4, "noise": 1, "conflicts": 0, "churn": 0.1, "bytes_up": 600, "bytes_down": 400, "left_out": []}
LOST = {"client": 3, "slot": None, "why": "lost", "what": "its actor died"}
KEPT = [{"cluster": c, "event": "kept", "size": 5, "left": 0} for c in (0, 1)]
STAYED = [{"client": 3, "slot": 1, "cluster": 0, "moved_from": None, "restarted": False}]


def told(line=QUIET, clusters=KEPT, updates=STAYED, **rules) -> list[tuple]:
    found = alerts(line, 10, clusters, updates, Alerts(**rules))
    assert all(alert["round"] == line["round"] and alert["what"] and alert["look_at"] for alert in found)
    return [(a["rule"], a["cluster"], a["client"], a["slot"], a["value"], a["bound"]) for a in found]


def event(name, size=3, left=0, cluster=7):
    return [*KEPT, {"cluster": cluster, "event": name, "size": size, "left": left}]


def agreed(*values):
    return [STAYED[0] | {"client": client, "agreement": value} for client, value in enumerate(values)]


CASES = {
    "noise": ({"line": QUIET | {"noise": 4}}, ("noise", None, None, None, 0.4, 0.3)),
    "conflicts": ({"line": QUIET | {"conflicts": 3}}, ("conflicts", None, None, None, 0.3, 0.2)),
    "churn": ({"line": QUIET | {"churn": 0.25}}, ("churn", None, None, None, 0.25, 0.2)),
    "bytes": ({"bytes": 999}, ("bytes", None, None, None, 1000, 999)),
    "born": ({"clusters": event("born")}, ("born", 7, None, None, 3, None)),
    "split": ({"clusters": event("split")}, ("split", 7, None, None, 3, None)),
    "merged": ({"clusters": event("merged", 9)}, ("merged", 7, None, None, 9, None)),
    "lone": ({"clusters": event("kept", 1, 2)}, ("lone", 7, None, None, 1, None)),
    "moved": ({"updates": [STAYED[0] | {"moved_from": 1}]}, ("moved", 0, 3, 1, None, None)),
    "left_out": ({"line": QUIET | {"left_out": [LOST]}}, ("left_out", None, 3, None, None, None)),
    "outvoted": ({"updates": agreed(2.0, -1.6, 1.5)}, ("outvoted", 0, 1, 1, -1.6, -1.5)),
    "restarted": ({"updates": [STAYED[0] | {"restarted": True}]}, ("restarted", 0, 3, 1, None, None)),
}


def test_a_quiet_round_has_none():
    assert told() == []


@pytest.mark.parametrize(("rule", "case"), CASES.items(), ids=CASES)
def test_a_rule_fires_on_its_case_and_not_when_it_is_off(rule, case):
    news, expected = case
    assert told(**news) == [expected]
    assert told(**{**news, rule: False}) == []


def test_at_the_bound_is_quiet():
    assert told(line=QUIET | {"noise": 3, "conflicts": 2, "churn": 0.2}, bytes=1000) == []


def test_bytes_have_no_bound_until_one_is_given():
    assert told(line=QUIET | {"bytes_up": 10**12}) == []


@pytest.mark.parametrize("name", ["born", "split", "moved"])
def test_the_first_round_is_no_news(name):
    news, _ = CASES[name]
    assert told(**{"line": QUIET | {"round": 1}, **news}) == []


def test_a_slot_that_left_a_cluster_that_ended_did_not_move():
    ended = [KEPT[0], {"cluster": 1, "event": "merged away", "size": 0, "left": 5}]
    assert told(clusters=ended, updates=[STAYED[0] | {"moved_from": 1}]) == []


@pytest.mark.parametrize(
    ("values", "told_of"),
    {
        (1.4, 1.4, -2.5): [],  # most do not say clearly where they go
        (2.0, 2.0, -1.4): [],
        (2.0, 2.0, -2.0, -2.0, 2.0): [2, 3],
        (-1.2, -1.1, -1.0): [None],  # nobody is in the majority: of the cluster, not of a client
        (None, None): [],
    }.items(),
)
def test_who_goes_against_its_cluster_is_named_where_that_is_clear(values, told_of):
    assert [alert[2] for alert in told(updates=agreed(*values))] == told_of


def test_a_late_update_is_no_alert():
    assert told(QUIET | {"left_out": [LOST | {"why": "late"}]}) == []


def test_every_rule_has_a_case():
    assert set(CASES) == set(Alerts.model_fields)
