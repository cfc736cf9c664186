"""The page as a browser shows it: two real runs, opened in a headless Chromium."""

from collections import Counter
from threading import Thread

import pytest

import fltac
from fltac.records.store import RunDirectory
from fltac.report.page import write_report
from fltac.report.serve import Page, Server
from tests.browser import PATIENCE, browser, chromium
from tests.report.test_report import TASKS, Kind, record, update, write_run
from tests.runtime.test_changes import DRIFT
from tests.runtime.test_identity import SHARES

pytest.importorskip("playwright", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium is found")

BEGINS = '{type="task-begins", round=3, task="weather"}'
KINDS = {
    "quick": ["rounds=3"],
    # who is where is then known beforehand; the page is the same for every method
    "drift": ["rounds=4", "method=oracle", f"changes=[{BEGINS}, {DRIFT}]"],
}
of_the_drift = pytest.mark.parametrize("shown", ["drift"], indirect=True, scope="module")
FIGURES = [
    "accuracy",
    "lineage",
    "map",
    "sight",
    "confusion",
    "scores",
    "distances",
    "layers",
    "bytes",
    "ledger",
    "time",
]


@pytest.fixture(scope="module")
def opened():
    with browser() as started:
        yield started


@pytest.fixture(scope="module", params=KINDS)
def shown(request, opened, tiny_file, tmp_path_factory):
    """A run, its page in a browser, and what the browser said and asked for meanwhile."""
    run = RunDirectory(tmp_path_factory.mktemp("browser") / request.param)
    fltac.run(fltac.load(tiny_file, [SHARES, *KINDS[request.param]]), out=run.path, runtime="local")
    file = write_report([run.path])
    page, heard = opened.new_page(viewport={"width": 1200, "height": 900}), []
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda asked: heard.append(asked.url))
    page.goto(file.as_uri())
    assert heard == [file.as_uri()]
    yield run, page
    assert heard == [file.as_uri()]  # nor while the tests clicked
    page.close()


def marks(page, name, what):
    return page.locator(f"#figure-{name} {what}").count()


def drawn(page, name, trace):
    """What plotly holds of one trace: it may draw the same marks anew."""
    return page.evaluate(f"JSON.parse(JSON.stringify(document.querySelector('#figure-{name} .plot').data[{trace}]))")


def test_every_figure_has_its_marks(shown):
    run, page = shown
    updates, rounds = run.table("updates").to_pylist(), len(run.lines())
    last = [row for row in updates if row["round"] == rounds]
    assert page.eval_on_selector_all("figure", "each => each.map((one) => one.id)") == [
        f"figure-{one}" for one in FIGURES
    ]
    places = {(row["round"], row["cluster"]) for row in updates}  # everyone sends in every round
    assert marks(page, "lineage", ".barlayer .point") == len(places)
    assert marks(page, "sight", ".points path") == len(last)
    assert marks(page, "map", ".points path") == len(updates) + 1  # and v0
    cells = Counter((row["task"], row["cluster"]) for row in last)
    assert marks(page, "confusion", ".heatmap-label") == len(cells)
    assert sorted(page.locator("#figure-confusion .heatmap-label").all_text_contents()) == sorted(
        map(str, cells.values())
    )
    assert marks(page, "accuracy", ".scatterlayer .trace") == 3
    clients = {row["client"] for row in updates}
    assert marks(page, "ledger", ".barlayer .point") == len(clients) * 2 * 3  # up and down; adapter, heads, headers
    assert marks(page, "time", ".barlayer .point") == rounds * 5
    assert marks(page, "scores", ".cartesianlayer .subplot") == 6
    layers = {row["layer"] for row in run.table("layers").to_pylist()}
    assert marks(page, "layers", ".heatmap-label") == len(layers) * rounds


def test_rounds_can_be_scrubbed_and_played(shown):
    run, page = shown
    updates, rounds = run.table("updates").to_pylist(), len(run.lines())
    slider, said = page.locator("#map input[type=range]"), page.locator("#map output")
    slider.press("Home")
    for round in range(1, rounds + 1):
        assert said.inner_text() == str(round)
        now = [[row["round"], row["client"], row["slot"], row["cluster"]] for row in updates if row["round"] == round]
        for name in ("map", "sight"):
            assert sorted(one[:4] for one in drawn(page, name, 1)["customdata"]) == now
        assert marks(page, "sight", ".points path") == len(now)
        slider.press("ArrowRight")
    assert not page.locator("#map input[type=checkbox]").is_checked()
    page.locator("#map button").click()
    assert page.locator("#map button").inner_text() == "Pause"
    page.wait_for_function("document.querySelector('#map button').textContent === 'Play'")
    assert said.inner_text() == str(rounds)
    page.get_by_role("checkbox", name="all rounds").check()
    assert (said.inner_text(), len(drawn(page, "map", 1)["x"])) == ("all", len(updates))
    page.locator("#confusion input[type=range]").press("Home")
    first = Counter(row["task"] for row in updates if row["round"] == 1)
    assert sum(map(int, page.locator("#figure-confusion .heatmap-label").all_text_contents())) == first.total()


def test_points_are_coloured_by_cluster_or_by_task(opened, tmp_path):
    """Client 1's news lie in the cluster of tweets: their colour alone is another one."""
    folder = write_run(tmp_path / "run", Kind(rounds=1, planned=1))
    rows = [update(1, client, slot, TASKS[slot]) for client in (0, 1) for slot in (0, 1)]
    wrong = [row | {"cluster": 1} if (row["client"], row["slot"]) == (1, 0) else row for row in rows]
    RunDirectory(folder)._write_table("updates", 1, wrong)
    page = opened.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(write_report([folder]).as_uri())
    colours = {}
    for name in ("true task", "found cluster"):
        page.get_by_role("radio", name=name).check()
        points = drawn(page, "sight", 1)
        colours[name] = {
            tuple(one[1:3]): each for one, each in zip(points["customdata"], points["marker"]["color"], strict=True)
        }
    news, tweets = (colours["true task"][0, slot] for slot in (0, 1))
    assert news != tweets
    assert colours["true task"] == {(client, slot): (news, tweets)[slot] for client in (0, 1) for slot in (0, 1)}
    assert colours["found cluster"] == colours["true task"] | {(1, 0): tweets}
    page.close()


@of_the_drift
def test_the_page_tells_when_the_task_appeared_and_who_moved(shown):
    run, page = shown
    (moved,) = [row for row in run.table("updates").to_pylist() if row["moved_from"] is not None]
    (new,) = [row for row in run.table("clusters").to_pylist() if row["round"] > 1 and row["event"] == "born"]
    who = f"client {moved['client']}, slot {moved['slot']}"
    told = page.locator("#lineage section table, #lineage table").first.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[:2] for row in told] == [
        ["3", f"cluster {new['cluster']} is born"],
        ["3", f"from cluster {moved['moved_from']} to cluster {moved['cluster']}"],
    ]
    assert told[1].endswith(who)
    words = page.locator("#figure-lineage .textpoint").all_text_contents()
    assert who in words
    assert f"new, {new['size']} slots" in words
    assert any(
        "task weather begins" in text for text in page.locator("#figure-lineage .annotation").all_text_contents()
    )
    page.locator("#map input[type=range]").fill("3")
    assert any(who in text for text in page.locator("#figure-map .textpoint").all_text_contents())


@of_the_drift
def test_an_alert_leads_to_where_it_is_seen(shown):
    _, page = shown
    links = page.locator("#alerts tr", has_text="went from cluster").locator("a")
    assert links.all_inner_texts() == ["lineage", "map"]
    links.nth(0).click()
    assert page.url.endswith("#lineage-round-3")
    assert page.locator("#lineage-round-3").evaluate("one => one.matches(':target')")
    assert page.locator("#figure-lineage .plot").evaluate("one => one.layout.shapes.at(-1).x0") == pytest.approx(2.7)
    box = page.locator("#lineage-round-3").bounding_box()
    assert 0 < box["y"] < 900
    links.nth(1).click()
    assert page.locator("#map output").inner_text() == "3"
    bar, slider = (page.locator(one).bounding_box() for one in ("nav", "#map input[type=range]"))
    assert slider["y"] > bar["y"] + bar["height"]  # which is over the page
    assert {one[0] for one in drawn(page, "map", 1)["customdata"]} == {3}
    targets = page.eval_on_selector_all("a[href^='#']", "each => each.map((one) => one.getAttribute('href'))")
    assert [one for one in targets if page.locator(one).count() != 1] == []


def test_axe_finds_no_serious_fault(shown):
    """What is inside a plot is one picture, with a name and a table beside it; of dark mode the colours."""
    from axe_playwright_python.sync_playwright import Axe

    run, page = shown
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    scheme, options = {"drift": ("light", {}), "quick": ("dark", {"runOnly": ["color-contrast"]})}[run.path.name]
    page.emulate_media(color_scheme=scheme)
    found = Axe().run(page, context={"exclude": [[".plot svg"]]}, options=options).response
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
    assert "color-contrast" in {one["id"] for one in found["passes"]}


@of_the_drift
def test_a_small_screen_cuts_no_word_off(shown):
    """What has no room scrolls in its own box."""
    _, page = shown
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("document.querySelector('#figure-lineage .main-svg').getBoundingClientRect().width > 600")
    page.wait_for_function("document.querySelector('#figure-lineage .scroll').tabIndex === 0")
    page.wait_for_function("document.documentElement.scrollWidth === 400")  # plots are drawn anew one by one
    wide = page.eval_on_selector_all(
        ".scroll:has(caption)",
        "each => each.filter((one) => one.querySelector('caption').offsetWidth > one.clientWidth && one.clientWidth)",
    )
    assert wide == []
    page.set_viewport_size({"width": 1200, "height": 900})


def test_print_has_no_controls(shown):
    _, page = shown
    page.emulate_media(media="print")
    assert not page.locator(".controls").first.is_visible()
    assert page.locator("#figure-lineage .main-svg").first.is_visible()
    page.emulate_media(media="screen")


def test_a_served_page_reloads_itself_when_a_round_is_finished(opened, tmp_path):
    folder = write_run(tmp_path / "run", Kind(rounds=0, planned=3))
    with Server(Page([folder])) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        page = opened.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(server.address)
        assert page.locator("h1").inner_text() == "No finished round yet"
        RunDirectory(folder).finish_round(record(1, Kind()), {"server.safetensors": b""}, {})
        page.get_by_text("running, 1 of 3 rounds").wait_for()
        RunDirectory(folder).finish_round(record(2, Kind()), {"server.safetensors": b""}, {})
        page.get_by_text("running, 2 of 3 rounds").wait_for()
        page.locator("#confusion input[type=range]").press("Home")
        page.get_by_role("radio", name="true task").check()
        page.locator("#accuracy summary").first.click()
        RunDirectory(folder).finish_round(record(3, Kind()), {"server.safetensors": b""}, {})
        page.get_by_text("running, 3 of 3 rounds").wait_for()  # and what was set is as it was
        page.wait_for_function("document.querySelector('#confusion output').value === '1'")
        assert page.get_by_role("radio", name="true task").is_checked()
        assert page.locator("details[open]").count() == 1
        assert page.locator("#map output").inner_text() == "all"
        page.close()
        server.shutdown()
