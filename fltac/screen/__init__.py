"""What a person sees in a terminal: the check, the rounds as they end, the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fltac.records.rounds import RoundRecord
from fltac.records.summary import Summary

if TYPE_CHECKING:
    from fltac.estimate import Estimate
    from fltac.planning import Plan

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One plain line."""
    console.print(text, markup=False)


def aligned(lines: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they are: a terminal's width would cut what is told."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def size(count: float) -> str:
    """Bytes as people read them, powers of 1000: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """`57 s`, `2 min 05 s` or `3 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@contextmanager
def rounds_shown(total: int) -> Iterator[Any]:
    """Yields what to call with each finished round: a progress bar in a terminal, plain lines elsewhere."""
    began, sent, working, done = time.monotonic(), 0, 0.0, 0

    def told(record: RoundRecord) -> str:
        nonlocal sent
        sent += record.line["bytes_up"] + record.line["bytes_down"]
        return round_told(record.line, sent)

    if not sys.stdout.isatty():

        def plain(record: RoundRecord) -> None:
            nonlocal working, done
            text = told(record)
            passed = time.monotonic() - began
            working += record.line["seconds"]  # without the start, which is not to come again
            done += 1  # by this process: a run that goes on has earlier ones
            left = working / done * (total - record.round)
            say(f"round {record.round}/{total}  {text}  {passed:.0f} s, about {left:.0f} s left")
            tell_alerts(record.line, say)

        yield plain
        return
    columns = (TextColumn("round"), MofNCompleteColumn(), BarColumn(24), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("starting", total=total)

        def moving(record: RoundRecord) -> None:
            progress.update(bar, completed=record.round, description=told(record))
            tell_alerts(record.line, lambda text: progress.console.print(text, markup=False, highlight=False))

        yield moving


def round_told(line: Mapping[str, Any], sent: float) -> str:
    """A finished round in one line; `sent` bytes since the start."""
    return (
        f"loss {line['train_loss']:.3f}  accuracy {line['accuracy_mean']:.3f}  clusters {line['clusters']}"
        f"  noise {line['noise']}  ARI {number(line['ari'])}  {size(sent)}"
    )


def tell_alerts(line: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """A line an alert of the round."""
    for alert in line["alerts"]:
        tell(f"  alert {alert['rule']}: {alert['what']}; look at {alert['look_at']}")


def result(summary: Summary) -> None:
    """The final table, a row a task with its bars, then clustering, bytes and time."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "majority", "untuned", "accuracy"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for task in sorted(summary.accuracy):
        bars = (summary.majority[task], summary.untuned[task], summary.accuracy[task])
        table.add_row(task, *(f"{value:.3f}" for value in bars))
    table.add_section()
    means = [mean([bar[task] for task in summary.accuracy]) for bar in (summary.majority, summary.untuned)]
    table.add_row("mean", *means, f"{summary.accuracy_mean:.3f}")  # of the tasks that are still there
    console.print(table)
    for metric in dict.fromkeys(name for found in summary.metrics.values() for name in found):
        say(f"{metric}: {', '.join(_change(summary, task, metric) for task in sorted(summary.metrics))}")
    say(
        f"clusters {summary.clusters} (noise {summary.noise}, conflicts {summary.conflicts})"
        f"  ARI {number(summary.ari)}  NMI {number(summary.nmi)}  matched accuracy {number(summary.matched_accuracy)}"
    )
    say(
        f"bytes up {size(summary.bytes_up)} (heads {size(summary.bytes_up_heads)}), down {size(summary.bytes_down)}"
        f" (heads {size(summary.bytes_down_heads)}), {summary.rounds} rounds"
    )
    say(
        f"{summary.seconds:.0f} s of rounds: training {summary.seconds_training:.0f},"
        f" server {summary.seconds_server:.1f}, evaluation {summary.seconds_evaluation:.0f}"
    )


def _change(summary: Summary, task: str, metric: str) -> str:
    """`sst2 0.693 to 0.412`, from the untuned model; without it where that was not measured."""
    first, last = (found.get(task, {}).get(metric) for found in (summary.metrics_untuned, summary.metrics))
    known = [f"{value:.3f}" for value in (first, last) if value is not None]
    return f"{task} {' to '.join(known) or '-'}"


def mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}"


def checked(plan: Plan, origins: Mapping[str, str], guess: Estimate) -> None:
    """The resolved experiment, the layer of each axis, tasks with their holders, and what it will take."""
    experiment = plan.experiment
    say(experiment.dump().rstrip())
    axes = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("axis", "choice", "set by"):
        axes.add_column(name)
    for axis, origin in origins.items():
        choice = getattr(experiment, axis)
        exchanged = "adapters {adapters}, factors {factors}, heads {heads}"
        axes.add_row(axis, getattr(choice, "type", None) or exchanged.format(**dict(choice)), origin)
    console.print(axes)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "classes", "train", "validation", "test", "majority", "clients"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for task in plan.tasks:
        holders = len({key for key, each in plan.shards.items() for one in each if one.task == task.name})
        counts = (len(task.classes) or "-", len(task.train), len(task.validation), len(task.test))
        majority = "-" if task.majority is None else f"{task.majority:.3f}"
        table.add_row(task.name, *map(str, counts), majority, str(holders))
    console.print(table)
    for (client, slot), held in plan.shards.items():
        if len(held) > 1:
            turns = ", ".join(f"{shard.task} from round {shard.spans[0][0]}" for shard in held)
            say(f"client {client}, slot {slot} drifts: {turns}")
    one, rounds = experiment.resources.client, experiment.rounds
    where = f"on {len(plan.spec.layers)} layers" if plan.spec.layers else "the model's own, all of them"
    say(f"adapter: {plan.spec.size:,} numbers {where}; base: {plan.base_size:,} parameters")
    _trained(plan, guess)
    first = f", {size(guess.bytes_first)} once" if guess.bytes_first else ""
    most = "; at most, before zstd" if "zstd" in experiment.wire.up + experiment.wire.down else ""
    total = rounds * (guess.bytes_up + guess.bytes_down) + guess.bytes_first
    say(
        f"bytes a round (estimate{most}): up {size(guess.bytes_up)}, down {size(guess.bytes_down)}{first}"
        f" for {guess.slots} adapters; in {rounds} rounds {size(total)}"
    )
    say(f"memory (estimate): base {size(guess.base_mb * 1e6)} a node, {size(guess.actor_mb * 1e6)} a client actor")
    say(
        f"Ray resources: client actors ({experiment.resources.actors}) of {one.num_cpus:g} CPUs"
        f" and {one.num_gpus:g} GPUs, one aggregator of 0 CPUs"
    )


def _trained(plan: Plan, guess: Estimate) -> None:
    """Parameters, adapters and heads apart: of the client with fewest, of the one with most, of one of all tasks."""
    by_size = sorted(guess.clients, key=lambda client: guess.clients[client].all)
    rows = {f"client {client}": guess.clients[client] for client in (by_size[0], by_size[-1])}
    rows[f"one of all {len(plan.tasks)} tasks"] = guess.one_of_all
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("parameters trained by", "adapters", "in adapters", "in heads", "in all"):
        table.add_column(name, justify="left" if name.startswith("parameters") else "right")
    for who, one in rows.items():
        table.add_row(who, *(f"{count:,}" for count in (one.adapters, one.adapter, one.heads, one.all)))
    console.print(table)
