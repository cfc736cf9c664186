"""The paper's three scenarios small, each with its bars: the tables of the lab report, in resumable commands.

    python -m experiments.scenarios text --data FOLDER --out FOLDER [--seeds 3] [--workers 2] [--arms fltac oracle ..]
    python -m experiments.scenarios vision --data FOLDER --out FOLDER --seeds 2 --model VIT
    python -m experiments.scenarios generation --data FOLDER --out FOLDER --seeds 1 --model LM

All arms of a seed have the same data, clients and slots, and as many steps; `fedit, equal bytes` has a rank at which a
client sends about what it sends as fltac. The first table tells what each reached, the second fltac less each, paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.cases import interval, parser, runs, seeds
from fltac.records.summary import Summary, summarise

HERE = Path(__file__).parent


class Scenario(NamedTuple):
    """An experiment file, the rank of `fedit` for about as many bytes, and what is told of each task."""

    file: str
    equal_bytes: int
    measure: str = "accuracy"


SCENARIOS = {
    "text": Scenario("text_small.toml", 16),
    "vision": Scenario("vision_small.toml", 10),
    "generation": Scenario("dolly_small.toml", 9, "loss"),
}
FLTAC = "fltac"


def main() -> None:
    asked = parser(__doc__, 3, 0)
    asked.add_argument("scenario", choices=SCENARIOS)
    asked.add_argument("--model", type=Path, help="folder of the model, where the file names one of a hub")
    asked.add_argument("--arms", nargs="+", help="fltac and these; all where none is named")
    options = asked.parse_args()
    scenario = SCENARIOS[options.scenario]
    cases = arms(scenario)
    if unknown := set(options.arms or ()) - cases.keys():
        asked.error(f"--arms: {', '.join(sorted(unknown))}; choose among {', '.join(cases)}")
    chosen = {name: cases[name] for name in cases if not options.arms or name in (FLTAC, *options.arms)}
    model = ["model.source.type=path", f"model.source.path={options.model.resolve()}"] if options.model else []
    done = runs(HERE / scenario.file, {name: [*asked, *model] for name, asked in chosen.items()}, options)
    found = {name: [summarise(done[name, seed]) for seed in seeds(options)] for name in chosen}
    print("\n".join([*reached(found, scenario.measure), "", *paired(found, scenario.measure)]))


def arms(scenario: Scenario) -> dict[str, list[str]]:
    """Name -> overrides of the scenario's file."""
    return {
        FLTAC: [],
        "fedit, equal steps": ["method=fedit"],
        "fedit, equal bytes": ["method=fedit", f"adapter.rank={scenario.equal_bytes}"],
        **{method: [f"method={method}"] for method in ("oracle", "local", "central", "central-mixed")},
    }


def reached(found: Mapping[str, Sequence[Summary]], measure: str) -> list[str]:
    """A row an arm: mean of all tasks, each task, megabytes both ways, ARI; above them the bars of all arms."""
    mine, tasks, most = found[FLTAC], [*found[FLTAC][0].accuracy], 1 if measure == "accuracy" else np.inf
    bars = {"untuned": [values(one, measure, tuned=False) for one in mine]}
    if measure == "accuracy":
        bars = {"majority class": [one.majority for one in mine], **bars}
    rows = [row("", "mean", *tasks, "MB", "ARI"), "|---" * (len(tasks) + 4) + "|"]
    rows += [row(name, *by_task(each, tasks, most), "", "") for name, each in bars.items()]
    for name, each in found.items():
        size = np.mean([one.bytes_up + one.bytes_down for one in each]) / 1e6
        aris = [one.ari for one in each if one.ari is not None and name == FLTAC]  # the others are told, or have one
        told = by_task([values(one, measure) for one in each], tasks, most)
        rows.append(row(name, *told, f"{size:.1f}", interval(aris, most=1) if aris else ""))
    return rows


def paired(found: Mapping[str, Sequence[Summary]], measure: str) -> list[str]:
    """A row another arm: fltac less it, seed by seed."""
    tasks, mine = [*found[FLTAC][0].accuracy], [values(one, measure) for one in found[FLTAC]]
    rows = [row("fltac less", "mean", *tasks), "|---" * (len(tasks) + 2) + "|"]
    for name, each in found.items():
        if name != FLTAC:
            pairs = zip(mine, [values(one, measure) for one in each], strict=True)
            rows.append(row(name, *by_task([{task: a[task] - b[task] for task in tasks} for a, b in pairs], tasks)))
    return rows


def values(summary: Summary, measure: str, tuned: bool = True) -> dict[str, float]:
    """Task -> what is told of it: accuracy, or another metric, of the last round or of v0."""
    if measure == "accuracy":
        return summary.accuracy if tuned else summary.untuned
    return {task: each[measure] for task, each in (summary.metrics if tuned else summary.metrics_untuned).items()}


def by_task(each: Sequence[Mapping[str, float]], tasks: Sequence[str], most: float = np.inf) -> list[str]:
    """The mean of all tasks and each task, with intervals over seeds."""
    table = np.array([[one[task] for task in tasks] for one in each])  # (seeds, tasks)
    return [interval(column.tolist(), most, places=3) for column in (table.mean(axis=1), *table.T)]


def row(*cells: str) -> str:
    """Of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
