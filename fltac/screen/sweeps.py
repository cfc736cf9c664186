"""What a person sees in a terminal of sweeps and of costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from fltac.points import label
from fltac.screen import aligned, console, errors, mean, number, say, size

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fltac.config import Network
    from fltac.report.cost import Cost, Ledger
    from fltac.report.recommend import Choice


def points(table: pa.Table) -> None:
    """A row a point of a sweep: what it changes, where it stands, what it gave."""
    rows, columns = table.to_pylist(), table.column_names
    params = columns[1 : columns.index("status")]
    lines = [["point", *params, "status", "accuracy", "validation", "ARI", "bytes"]]
    for row in rows:
        values = (f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in params)
        judged = [row[name] for name in columns if name.startswith("accuracy_validation.") and row[name] is not None]
        found = ["-"] * 4
        if row.get("accuracy_mean") is not None:
            validation = mean(judged) if judged else "-"
            sent = size(row["bytes_up"] + row["bytes_down"])
            found = [f"{row['accuracy_mean']:.3f}", validation, number(row["ari"]), sent]
        lines.append([str(row["point"]), *values, row["status"], *found])
    aligned(lines)
    for row in rows:
        if row["failure"]:
            errors.print(f"point {row['point']} failed: {row['failure']}", markup=False)


def costs(ledger: Ledger, tiers: pd.DataFrame) -> None:
    """What runs cost and saved, a row a run; what each needed to the same accuracy; the lines of each tier. Of sweeps,
    of which no run is whole, the second alone."""
    if ledger.whole:
        _ledger(ledger.whole)
    if len(ledger.equal) > 1 or not ledger.whole:
        who = "" if ledger.whole else ": of each method the configuration of fewest bytes, mean over seeds"
        say(f"\nto accuracy {ledger.target:.3f}, the highest that all reached{who}:\n")
        _ledger(ledger.equal)
    if not tiers.empty:
        _by_tier(tiers)
    _prices(ledger.network)


def _by_tier(tiers: pd.DataFrame) -> None:
    say("\nby tier, a client's round:\n")
    lines = [["run", "tier", "clients", "up", "down", "mean", "longest", "test accuracy"]]
    for row in tiers.to_dict("records"):
        sent = [size(row["bytes_up"]), size(row["bytes_down"]), f"{row['seconds']:.1f} s", f"{row['longest']:.1f} s"]
        lines.append([row["run"], row["tier"], str(row["clients"]), *sent, f"{row['accuracy']:.3f}"])
    aligned(lines)


def _ledger(each: Sequence[Cost]) -> None:
    from fltac.report.cost import dollars  # pandas takes a while

    lines = [["run", "rounds", "accuracy", "up", "down", "base", "full", "wire", "full wire", "server", "keeps"]]
    lines[0] += ["traffic", "saved", "server paid", "return"]
    for one in each:
        sizes = (one.bytes_up, one.bytes_down, one.bytes_base, one.bytes_full)
        seconds = (one.seconds_wire, one.seconds_full, one.seconds_server)
        paid = (one.usd_traffic, one.usd_saved, one.usd_server + one.usd_storage)
        lines.append(
            [one.run, str(one.rounds), f"{one.accuracy:.3f}"]
            + [size(count) if count == count else "-" for count in sizes]  # nan: not told
            + [f"{value:.1f} s" if value == value else "-" for value in seconds]
            + [size(one.bytes_kept), *map(dollars, paid), f"{one.returns:,.1f}" if one.returns == one.returns else "-"]
        )
    aligned(lines)


def _prices(network: Network) -> None:
    say("\nfull: fine-tuning of the whole base, reckoned, in as many rounds (to an accuracy: as the quickest took)")
    say("saved, return: of dollars for traffic")
    say(
        f"assumed: $ {network.usd_per_gb:g} a GB of traffic, $ {network.usd_per_server_hour:g} an hour of the server,"
        f" $ {network.usd_per_gb_month:g} a GB and month of what it keeps, one month ([network], or -n usd_per_gb=..)"
    )


def recommended(choice: Choice, tolerance: float) -> None:
    """What was chosen, what it is held against, and what it gives on test data, by task."""
    chosen, best = choice.chosen, choice.best
    most = "" if choice.most != choice.most else f" (at most {choice.most:.2f} with 95 % confidence)"  # nan
    say(f"recommended: {label({key: chosen[key] for key in choice.params})}")
    seeds = f"{chosen['seeds']} seed" + ("s" if chosen["seeds"] > 1 else "")
    if chosen is best:
        say("best:        the same")
        say(f"validation: {100 * best['validation']:.2f}; {seeds}")
        say(f"bytes: {size(best['bytes'])}")
    else:
        say(f"best:        {label({key: best[key] for key in choice.params})}")
        say(
            f"validation: {100 * chosen['validation']:.2f} against {100 * best['validation']:.2f} of the best,"
            f" {choice.loss:.2f} points less{most}, tolerance {tolerance:g}; {seeds}"
        )
        part = chosen["bytes"] / best["bytes"]
        say(f"bytes: {size(chosen['bytes'])} against {size(best['bytes'])}, {100 * part:.0f} % of them")
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("test accuracy", "recommended", "95 % interval", "best"):
        shown.add_column(name, justify="left" if name == "test accuracy" else "right")
    for key in choice.judged:
        low, high = chosen[f"{key}.low"], chosen[f"{key}.high"]
        between = "-" if low != low else f"{low:.3f} to {high:.3f}"
        shown.add_row(key.removeprefix("accuracy."), f"{chosen[key]:.3f}", between, f"{best[key]:.3f}")
    console.print(shown)
    for warning in choice.warnings:
        errors.print(f"warning: {warning}", markup=False)


def tiers(rows: Sequence[Mapping[Any, Any]]) -> None:
    """What was chosen, and the best, for each tier of clients."""
    if not rows:
        return
    lines = [["tier", "", "clients", "up", "down", "a round", "test accuracy"]]
    for row in sorted(rows, key=lambda one: [each["tier"] for each in rows].index(one["tier"])):
        sent = [size(row["bytes_up"]), size(row["bytes_down"]), f"{row['seconds']:.2f} s"]
        lines.append([row["tier"], row["which"], f"{row['clients']:g}", *sent, f"{row['accuracy']:.3f}"])
    aligned(lines)
