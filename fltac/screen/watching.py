"""What a person sees of a run that another process writes: its records as they grow."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fltac.records.files import abandoned
from fltac.records.rounds import accuracies
from fltac.records.store import RunDirectory
from fltac.records.summary import summarise
from fltac.screen import console, duration, errors, number, result, round_told, say, size, tell_alerts

EVERY_S = 1.0  # between looks at the files
ROWS = 8  # rounds, and alerts
BARS = "▁▂▃▄▅▆▇█"
# as in the report, as far as terminals have them
COLOURS = ("blue", "red", "green", "magenta", "yellow", "cyan")

Lines = Sequence[Mapping[str, Any]]


class State(NamedTuple):
    """A run as its files tell it."""

    lines: Lines
    ended: str  # why it goes on no more; empty while it does


def watch(run: RunDirectory) -> bool:
    """Shows a run until it ends, and whether it came to its end. A live view in a terminal, plain lines elsewhere."""
    state = (_live if sys.stdout.isatty() else _plain)(run)
    if state.lines and run.summary() is not None:
        result(summarise(run))
        return True
    errors.print(f"{state.ended}; fltac resume {run.path} goes on", markup=False)
    return False


def states(run: RunDirectory) -> Iterator[State]:
    """The run whenever a round was finished, and when it ends."""
    seen = -1
    while True:
        gone = abandoned(run.path)  # first: a run that ends meanwhile has its summary by then
        lines, finished = run.lines(), run.summary() is not None
        stopped = f"stopped after round {len(lines)} of {_planned(run)}: its process is gone"
        ended = "finished" if finished else stopped if gone else ""
        if ended or len(lines) != seen:
            yield State(lines, ended)
        if ended:
            return
        seen = len(lines)
        time.sleep(EVERY_S)


def _plain(run: RunDirectory) -> State:
    """A line a round, those first that are finished."""
    told, sent = 0, 0.0
    say(_title(run))
    for state in states(run):
        for line in state.lines[told:]:
            sent += line["bytes_up"] + line["bytes_down"]
            say(f"round {line['round']}/{_planned(run)}  {round_told(line, sent)}  {duration(line['seconds'])}")
            tell_alerts(line, say)
        told = len(state.lines)
    return state


def _live(run: RunDirectory) -> State:
    with Live(Text(_title(run)), console=console, auto_refresh=False) as live:
        for state in states(run):
            live.update(view(run, state), refresh=True)
    return state


def view(run: RunDirectory, state: State) -> Group:
    """The whole view: how far it is, tasks, clusters, the last rounds and alerts."""
    lines, planned = state.lines, _planned(run)
    left = (planned - len(lines)) * sum(line["seconds"] for line in lines) / max(1, len(lines))
    ending = state.ended or (f"about {duration(left)} left" if lines else "no finished round yet")
    bar = Table.grid(padding=(0, 2))
    bar.add_row(f"round {len(lines)} of {planned}", ProgressBar(planned, len(lines), width=32), ending)
    parts: list[Any] = [Text(_title(run), style="bold"), bar]
    if lines:
        side = Table.grid(padding=(0, 4))
        side.add_row(_tasks(run, lines), _clusters(run, len(lines)))
        parts += [side, _rounds(lines), *_alerts(lines)]
    return Group(*parts)


def _tasks(run: RunDirectory, lines: Lines) -> Table:
    """Accuracy on test over the rounds, 0 to 1, beside the majority class."""
    table = _table("task", "majority", "over rounds", "accuracy")
    bars = [row for row in run.table("evaluations").to_pylist() if row["round"] == 0]
    majority = accuracies(bars, "test", "majority")
    names = dict.fromkeys(name for line in lines for name in line["accuracy"])
    for name in names:
        values = [line["accuracy"].get(name) for line in lines]
        now = values[-1]
        style = "" if now is None else "green" if now > majority.get(name, 0) else "yellow"
        table.add_row(name, number(majority.get(name)), spark(values[-24:]), Text(number(now), style=style))
    return table


def _clusters(run: RunDirectory, last: int) -> Table:
    table = _table("cluster", "slots", "event", "arrived", "left")
    for row in run.table("clusters").to_pylist():
        if row["round"] == last:
            name = Text(f"● {row['cluster']}", style=COLOURS[row["cluster"] % len(COLOURS)])
            style = "" if row["event"] == "kept" else "bold"
            counts = [str(row["arrived"] or "-"), str(row["left"] or "-")]
            table.add_row(name, str(row["size"]), Text(row["event"], style=style), *counts)
    return table


def _rounds(lines: Lines) -> Table:
    table = _table("round", "loss", "accuracy", "clusters", "noise", "ARI", "sent", "time")
    for line in lines[-ROWS:]:
        judged = [f"{line['train_loss']:.3f}", f"{line['accuracy_mean']:.3f}"]
        found = [str(line["clusters"]), str(line["noise"]), number(line["ari"])]
        sent = size(line["bytes_up"] + line["bytes_down"])
        table.add_row(str(line["round"]), *judged, *found, sent, duration(line["seconds"]))
    return table


def _alerts(lines: Lines) -> list[Text]:
    told = [Text(f"round {alert['round']}  {alert['what']}") for line in lines for alert in line["alerts"]]
    return [Text("alerts", style="bold yellow"), *told[-ROWS:]] if told else [Text("no alerts", style="dim")]


def spark(values: Sequence[float | None]) -> str:
    """Shares of one as bars: `▁▄█`; a gap where there is none."""
    return "".join(" " if value is None else BARS[min(7, int(8 * value))] for value in values)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in ("task", "cluster", "event", "over rounds") else "right")
    return table


def _title(run: RunDirectory) -> str:
    asked = run.experiment()
    return f"{asked['name']}: method {asked['method']}, seed {asked['seed']}, {asked['clients']['count']} clients"


def _planned(run: RunDirectory) -> int:
    return int(run.experiment()["rounds"])
