"""Who is late is the same wherever a run takes place, is said, and counts in the next round or not at all."""

import pytest

import fltac
from fltac.records.store import RunDirectory
from fltac.wire.lines import lines, seconds

TIERS = 'network.tiers=[{name="slow", share=0.25, up_mbps=1, down_mbps=1, tokens_per_s=100}]'


def run(tiny_file, out, *overrides):
    experiment = fltac.load(tiny_file, ["rounds=2", "training.steps=1", TIERS, *overrides])
    fltac.run(experiment, out=out, runtime="local")
    directory = RunDirectory(out)
    return experiment, directory.lines(), directory.table("updates").to_pylist()


def clients(rows, round, *refused):
    return sorted({row["client"] for row in rows if row["round"] == round and row["refused"] in refused})


@pytest.fixture(scope="module")
def waited_for(tiny_file, tmp_path_factory):
    """All four clients take part, and nobody is late."""
    return run(tiny_file, tmp_path_factory.mktemp("all") / "run")


def test_simulated_seconds_are_those_of_the_clients_line_and_machine(waited_for):
    experiment, told, rows = waited_for
    each = lines(4, experiment.seed, experiment.network)
    for client in range(4):
        mine = [row for row in rows if (row["round"], row["client"]) == (1, client)]
        total = {name: sum(row[name] for row in mine) for name in ("tokens", "bytes_up", "bytes_down")}
        assert {row["simulated_s"] for row in mine} == {seconds(each[client], **total)}
        assert all(row["tokens"] >= 8 * 3 for row in mine)  # a batch of eight: first, word, last token at the least
    assert [line["left_out"] for line in told] == [[], []]


def test_after_the_deadline_a_round_goes_on_and_says_without_whom(tiny_file, tmp_path, waited_for):
    took = {row["client"]: row["simulated_s"] for row in waited_for[2] if row["round"] == 1}
    slowest, limit = max(took, key=took.get), sorted(took.values())[-2] * 1.01
    _, told, rows = run(tiny_file, tmp_path / "run", f"faults.round_deadline_s={limit}")
    for round in (1, 2):
        assert clients(rows, round, "late") == [slowest]
        assert clients(rows, round, None) == [client for client in range(4) if client != slowest]
        (one,) = told[round - 1]["left_out"]
        assert (one["client"], one["why"]) == (slowest, "late")
        assert one["what"].endswith(f"s, the deadline is {limit:g}")
        assert told[round - 1]["late_taken"] == []
        assert told[round - 1]["bytes_up"] == waited_for[1][round - 1]["bytes_up"]  # it sent all the same
    assert told[0]["alerts"] == waited_for[1][0]["alerts"]


def test_of_more_than_are_awaited_the_first_count_and_the_late_may_count_in_the_next_round(tiny_file, tmp_path):
    asked = ["clients.fraction=0.5", "clients.select=1.5", "faults.late_weight=0.5"]  # three are drawn for two
    _, told, rows = run(tiny_file, tmp_path / "run", *asked)
    late = {}
    for round in (1, 2):
        took = {row["client"]: row["simulated_s"] for row in rows if row["round"] == round}
        assert len(took) == 3
        late[round] = max(took, key=took.get)
        assert clients(rows, round, "late") == [late[round]]
    merged = clients(rows, 2, None)
    came_late = [[row["client"], row["slot"]] for row in rows if (row["round"], row["client"]) == (1, late[1])]
    assert told[1]["late_taken"] == ([] if late[1] in merged else sorted(came_late))


def test_by_real_time_nobody_waits_for_the_late(tiny_file, tmp_path):
    asked = ["clients.fraction=0.5", "clients.select=2.0", "faults.clock=real", "training.pack=1"]
    _, told, rows = run(tiny_file, tmp_path / "run", *asked)
    for line in told:
        assert [one["why"] for one in line["left_out"]] == ["late", "late"]
        assert line["clients"] == 2
    assert {row["refused"] for row in rows} == {None}
