"""The pictures of the README, of a run and of a map: `docs.screenshots RUN [SWEEP | RUN ..]`. Needs chromium."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.terminal_theme import MONOKAI

from fltac.records.store import RunDirectory
from fltac.report.page import write_report
from fltac.screen.watching import State, view
from fltac.see import report
from tests.browser import PATIENCE, browser

HERE = Path(__file__).parent
COLOURS = 128  # of a picture: the pages have few, and the files stay small


def pictures(folder: Path) -> None:
    """The head of the report, lineage and map in the round of the last alert (else the last), and the terminal then."""
    run = RunDirectory(folder)
    lines = run.lines()
    round = max((line["round"] for line in lines if line["alerts"]), default=len(lines))
    with tempfile.TemporaryDirectory() as scratch, browser() as started:
        page = opened(started, write_report([folder], Path(scratch) / "page.html"))
        page.add_style_tag(content="nav { position: static !important }")
        between(page, "header", "#alerts", HERE / "report.png")
        between(page, "#figure-lineage", "#figure-lineage", HERE / "lineage.png")
        page.locator("#map input[type=range]").fill(str(round))
        page.evaluate("document.activeElement.blur()")
        between(page, "#map .controls", "#figure-map", HERE / "map.png")
        console = Console(record=True, width=108, file=io.StringIO())
        console.print(view(run, State(lines[:round], "finished" if round == len(lines) else "")))
        page.set_content(console.export_html(theme=MONOKAI, inline_styles=True))
        page.add_style_tag(content="pre { display: inline-block; margin: 0; padding: 14px 20px; font-size: 15px }")
        page.add_style_tag(content="body { margin: 0; background: #0c0c0c }")
        between(page, "pre", "pre", HERE / "watch.png")


def map_of(folders: Sequence[Path]) -> None:
    """Accuracy against bytes of sweeps, each configuration at its best rate, with runs among the folders as bars."""
    with tempfile.TemporaryDirectory() as scratch, browser() as started:
        file = Path(scratch) / "page.html"
        report(list(folders), file, choose=["training.learning_rate"])
        between(opened(started, file), "#figure-map", "#figure-map", HERE / "bytes.png")


def opened(started: Browser, file: Path) -> Page:
    """A page as wide as the pictures are."""
    page = started.new_page(viewport={"width": 1180, "height": 800}, device_scale_factor=1.25)
    page.set_default_timeout(PATIENCE)
    page.goto(file.resolve().as_uri())
    return page


def between(page: Page, first: str, last: str, file: Path) -> None:
    """Writes a picture from the top of one element to the end of another."""
    page.evaluate("scrollTo(0, 0)")
    top, end = (page.locator(one).first.bounding_box() for one in (first, last))
    x, width = max(0, min(top["x"], end["x"]) - 24), max(top["width"], end["width"]) + 48
    clip = {"x": x, "y": max(0, top["y"] - 8), "width": width, "height": end["y"] + end["height"] - top["y"] + 24}
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    run, *mapped = map(Path, sys.argv[1:])
    pictures(run)
    if mapped:
        map_of(mapped)
