"""Scenarios side by side: the same seeds for all arms, paired differences, bars."""

import sys

import pytest

from experiments import scenarios
from fltac.records.store import RunDirectory
from tests.tiny import write_tiny


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    file = write_tiny(tmp_path)
    monkeypatch.setitem(scenarios.SCENARIOS, "text", scenarios.Scenario(str(file), 8))
    asked = ["scenarios", "text", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1"]

    def call(*options):
        monkeypatch.setattr(sys, "argv", [*asked, *options])
        scenarios.main()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in (one.split("|") for one in lines)}

    return call


def test_arms_are_told_beside_their_bars_and_paired_with_fltac(command, tmp_path):
    rows = command("--seeds", "1", "--arms", "fedit, equal bytes", "local")
    assert list(rows) == [
        "", "---", "majority class", "untuned", "fltac", "fedit, equal bytes", "local", "fltac less",
    ]  # fmt: skip
    folders = {"fltac": "fltac", "fedit": "fedit-equalbytes", "local": "local"}
    own = {name: RunDirectory(tmp_path / "out" / slug / "seed-0").summary() for name, slug in folders.items()}
    tasks, each = rows[""][1:4], [own["fltac"]["accuracy"][task] for task in rows[""][1:4]]
    assert rows["majority class"][1:4] == [f"{own['fltac']['majority'][task]:.3f}" for task in tasks]
    assert rows["fltac"] == [
        f"{sum(each) / 3:.3f}",
        *(f"{one:.3f}" for one in each),
        f"{(own['fltac']['bytes_up'] + own['fltac']['bytes_down']) / 1e6:.1f}",
        f"{own['fltac']['ari']:.2f}",
    ]
    ranks = {
        name: RunDirectory(tmp_path / "out" / slug / "seed-0").experiment()["adapter"]["rank"]
        for name, slug in folders.items()
    }
    assert ranks == {"fltac": 2, "fedit": 8, "local": 2}


def test_an_unknown_arm_is_refused(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command("--arms", "fedavg")
    assert ended.value.code == 2
    assert "--arms: fedavg; choose among fltac, fedit, equal steps" in capsys.readouterr().err


def test_differences_by_hand(finished_summaries):
    rows = scenarios.paired(finished_summaries, "accuracy")
    assert rows[2] == "| local | 0.150 (-1.756, 2.056) | 0.200 (0.200, 0.200) | 0.100 (-3.712, 3.912) |"


@pytest.fixture
def finished_summaries():
    from fltac.records.summary import Summary

    def summary(a, b):
        blank = dict.fromkeys(Summary.__dataclass_fields__)
        return Summary(**{**blank, "accuracy": {"a": a, "b": b}})

    return {"fltac": [summary(0.5, 0.9), summary(0.6, 0.5)], "local": [summary(0.3, 0.5), summary(0.4, 0.7)]}
