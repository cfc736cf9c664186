"""What runs cost on the wire, by hand."""

import math
from dataclasses import replace

import pytest

import fltac
from fltac.config import Network, Tier
from fltac.report.cost import cost, costs, dollars, mean, of_runs
from fltac.report.page import write_report
from fltac.report.reading import read_runs
from fltac.report.tiers import by_tier, received, tiers, wire_seconds
from tests.tiny import write_tiny

LINES = Network(up_mbps=1.0, down_mbps=8.0, latency_ms=100.0, usd_per_gb=1e3)
PHONES = LINES.model_copy(
    update={"tiers": (Tier(name="phone", share=0.5, up_mbps=0.5, down_mbps=8.0, latency_ms=0.0),)}
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    file = write_tiny(folder)
    for name, overrides in {"fltac": [], "half": ["wire.up=float16", "clients.fraction=0.5"]}.items():
        fltac.run(fltac.load(file, overrides), out=folder / name, runtime="local")
    return [folder / "fltac", folder / "half"]


def test_a_round_waits_for_its_slowest_client(folders):
    (run,) = read_runs(folders[:1])
    rows = wire_seconds(run, LINES)
    first = rows.iloc[0]
    assert first["seconds"] == pytest.approx(0.2 + 8e-6 * first["bytes_down"] / 8 + 8e-6 * first["bytes_up"])
    assert rows["bytes_up"].sum() == run.summary.bytes_up
    found = cost(run, LINES)
    assert found.seconds_wire == pytest.approx(
        rows[rows["round"] == 1]["seconds"].max() + rows[rows["round"] == 2]["seconds"].max()
    )
    assert found.usd_traffic == pytest.approx((found.bytes_up + found.bytes_down + found.bytes_base) / 1e6)
    assert found.seconds_server > 0
    assert found.bytes_kept == sum(f.stat().st_size for f in (folders[0] / "checkpoint").rglob("*") if f.is_file())


def test_the_base_is_downloaded_once_a_client(folders):
    whole, half = read_runs(folders)
    one = fltac.load(folders[0] / "experiment.json")
    from fltac.model.backbone import load_base

    base = load_base(one.model, one.seed).bytes
    assert whole.rounds["bytes_base"].tolist() == [4 * base, 0]
    assert half.rounds["bytes_base"].sum() == half.updates["client"].nunique() * base
    assert cost(whole, LINES).bytes_full == 2 * 2 * 4 * base  # two rounds of four clients, both ways


def test_tiers_are_shares_of_the_clients(folders):
    names = tiers(10, 0, PHONES)
    assert names.count("phone") == names.count("others") == 5
    assert names == tiers(10, 0, PHONES)
    assert names != tiers(10, 1, PHONES)
    assert tiers(3, 0, LINES) == ["others"] * 3
    (run,) = read_runs(folders[:1])
    table = by_tier(run, PHONES).set_index("tier")
    assert table["clients"].to_dict() == {"phone": 2, "others": 2}
    phone = table.loc["phone"]
    assert phone["seconds"] == pytest.approx(8e-6 * phone["bytes_down"] / 8 + 8e-6 * phone["bytes_up"] / 0.5)


def test_what_slots_would_be_sent_makes_the_mean_of_their_task(folders):
    """The evaluations' mean of a task weighs its holders by their training examples, and so do its slots."""
    (run,) = read_runs(folders[:1])
    slots = received(run).merge(run.updates[run.updates["round"] == 2][["client", "slot", "task"]])
    assert len(slots) == len(run.updates) / 2
    for task, each in slots.groupby("task"):
        weighted = (each["accuracy"] * each["num_examples"]).sum() / each["num_examples"].sum()
        assert weighted == pytest.approx(run.summary.accuracy[task])
    table = by_tier(run, PHONES).set_index("tier")
    names = tiers(4, 0, PHONES)
    phones = slots[[names[client] == "phone" for client in slots["client"]]]
    expected = (phones["accuracy"] * phones["num_examples"]).sum() / phones["num_examples"].sum()
    assert table.loc["phone", "accuracy"] == pytest.approx(expected)


def test_where_one_adapter_serves_all_tasks_a_tier_gets_their_mean(folders, tmp_path):
    fedit = fltac.load(folders[0] / "experiment.json", ["method=fedit"])
    fltac.run(fedit, out=tmp_path / "fedit", runtime="local")
    (run,) = read_runs([tmp_path / "fedit"])
    assert by_tier(run, PHONES)["accuracy"].tolist() == [pytest.approx(run.summary.accuracy_mean)] * 2


def test_returns_are_traffic_saved_for_the_server_paid(folders):
    (run,) = read_runs(folders[:1])
    found = cost(run, LINES)
    assert found.usd_full == pytest.approx(found.bytes_full / 1e6)
    spent = found.seconds_server / 3600 * 0.2 + found.bytes_kept / 1e9 * 0.02
    assert found.returns == pytest.approx((found.usd_full - found.usd_traffic) / spent)
    assert found.bytes_saved == found.bytes_full - found.bytes_up - found.bytes_down - found.bytes_base
    size = found.bytes_base / 4
    assert found.seconds_full == pytest.approx(2 * (0.2 + 8e-6 * size / 8 + 8e-6 * size / 1))  # two rounds
    first = cost(run, LINES, 1)
    assert (first.rounds, first.bytes_up) == (1, run.rounds["bytes_up"][0])
    assert first.accuracy == run.rounds["accuracy_mean"][0]


def test_without_the_size_of_the_base_nothing_is_said_of_full_fine_tuning(folders):
    (run,) = read_runs(folders[:1])
    older = replace(run, rounds=run.rounds.drop(columns="bytes_base"), summary=replace(run.summary, bytes_base=0))
    found = cost(older, LINES)
    assert math.isnan(found.returns)
    assert math.isnan(found.seconds_full)
    assert found.usd_traffic > 0


def test_a_mean_of_costs(folders):
    runs = read_runs(folders)
    each = [cost(run, LINES) for run in runs]
    both = mean(each, "both")
    assert (both.run, both.rounds) == ("both", 2)
    assert both.bytes_up == (each[0].bytes_up + each[1].bytes_up) / 2


def test_runs_are_compared_at_an_accuracy_that_all_reached(folders):
    runs = read_runs(folders)
    ledger = of_runs(runs, LINES)
    for found, run in zip(ledger.equal, runs, strict=True):
        lines = run.rounds[run.rounds["round"] <= found.rounds]
        assert found.bytes_up + found.bytes_down == lines["bytes_up"].sum() + lines["bytes_down"].sum()
        assert lines["accuracy_mean"].iloc[-1] >= ledger.target > lines["accuracy_mean"].iloc[:-1].max() or (
            found.rounds == 1
        )


def test_full_fine_tuning_takes_the_rounds_of_the_quickest(folders):
    """Else a run that needs twice the rounds to the same accuracy would save twice as much."""
    (run,) = read_runs(folders[:1])
    slow = cost(run, LINES, 2, full_rounds=1)
    assert (slow.bytes_full, slow.seconds_full) == (cost(run, LINES).bytes_full / 2, cost(run, LINES).seconds_full / 2)
    assert slow.bytes_up == cost(run, LINES).bytes_up
    means = run.evaluations["cluster"].isna() & (run.evaluations["round"] == 1)
    later = replace(run, evaluations=run.evaluations.assign(value=run.evaluations["value"].mask(means, 0.0)))
    sooner = replace(run, evaluations=run.evaluations.assign(value=run.evaluations["value"].mask(means, 1.0)))
    found = of_runs([later, sooner], LINES).equal
    assert [one.rounds for one in found] == [2, 1]
    assert found[0].bytes_full == found[1].bytes_full == slow.bytes_full


def test_the_network_is_the_experiments_with_what_is_asked_on_top(folders):
    slow, _ = costs(folders[:1], ["up_mbps=0.001", "latency_ms=0"])
    fast, _ = costs(folders[:1], [])
    assert slow.whole[0].seconds_wire > 10 * fast.whole[0].seconds_wire


def test_the_page_tells_what_the_terminal_does(folders, tmp_path):
    overrides = ["usd_per_gb=1000", "tiers=[{name='phone', share=0.5, up_mbps=5, down_mbps=20}]"]
    text = write_report(folders, tmp_path / "page.html", overrides=overrides).read_text()
    ledger, _ = costs(folders, overrides)
    assert text.count("<caption>What all rounds cost and saved.") == 1
    assert "$ 1000 a GB of traffic" in text
    assert "50 % of the clients (phone) 5 up, 20 down and 50 ms" in text
    for one in (*ledger.whole, *ledger.equal):
        assert f"<td>{dollars(one.usd_traffic)}</td><td>" in text


def test_dollars_keep_two_digits():
    assert [dollars(one) for one in (12.3, 0, 0.0042, -0.5, 6.7e-7)] == [
        "$ 12.30",
        "$ 0.00",
        "$ 0.0042",
        "-$ 0.50",
        "$ 6.7e-07",
    ]
