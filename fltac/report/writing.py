"""Numbers as people read them, on the page."""

from __future__ import annotations

import pandas as pd

from fltac.report.cost import dollars

NOTHING = "—"
MINUS = "\N{MINUS SIGN}"


def fixed(value: float | None) -> str:
    """Three decimals."""
    return NOTHING if pd.isna(value) else f"{value:.3f}"


def whole(value: float | None) -> str:
    """A whole number, which pandas keeps as a float where some are missing."""
    return NOTHING if pd.isna(value) else f"{value:.0f}"


def signed(value: float | None) -> str:
    """Three decimals with a sign, a true minus."""
    return NOTHING if pd.isna(value) else f"{value:+.3f}".replace("-", MINUS)


def human_bytes(count: float) -> str:
    """Bytes in powers of 1000, at three or more digits: `2.59 MB`."""
    if pd.isna(count):
        return NOTHING
    if count < 0:
        return MINUS + human_bytes(-count)
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            digits = 2 if count < 10 * size else 1 if count < 100 * size else 0
            return f"{count / size:.{digits}f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """`57 s`, `2 min 05 s` or `3 h 07 min`."""
    if pd.isna(seconds):
        return NOTHING
    if seconds < 0:
        return MINUS + duration(-seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def times(value: float) -> str:
    """How many times as much, at three digits: `12.5`, `1,250`."""
    if pd.isna(value):
        return NOTHING
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", MINUS)


def money(amount: float) -> str:
    """`$ 0.42`."""
    return NOTHING if pd.isna(amount) else dollars(amount).replace("-$", f"{MINUS}$")


def share(part: float, whole: float) -> str:
    """`part` as percent of `whole`."""
    return NOTHING if not whole else f"{100 * part / whole:.1f} %"
