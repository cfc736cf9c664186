"""What runs cost on the wire, by hand."""

import pytest

import fltac
from fltac.config import Network, Tier
from fltac.report.cost import at_equal_accuracy, by_tier, cost, costs, tiers, wire_seconds
from fltac.report.reading import read_runs
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
    found = cost(run, LINES, folders[0])
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
    assert cost(whole, LINES, folders[0]).bytes_full == 2 * 2 * 4 * base  # two rounds of four clients, both ways


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


def test_runs_are_compared_at_an_accuracy_that_all_reached(folders):
    runs = read_runs(folders)
    table = at_equal_accuracy(runs, LINES)
    assert table["target"].nunique() == 1
    for row, run in zip(table.to_dict("records"), runs, strict=True):
        lines = run.rounds[run.rounds["round"] <= row["round"]]
        assert row["bytes"] == lines["bytes_up"].sum() + lines["bytes_down"].sum()


def test_the_network_is_the_experiments_with_what_is_asked_on_top(folders):
    slow, _, _ = costs(folders[:1], ["up_mbps=0.001", "latency_ms=0"])
    fast, _, equal = costs(folders[:1], [])
    assert slow[0].seconds_wire > 10 * fast[0].seconds_wire
    assert equal is None
