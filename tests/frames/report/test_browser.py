"""What a person does with a report, done in headless Chromium."""

import csv
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from patchmatch.frames.report.page import write_report
from patchmatch.frames.report.thumbnails import thumbnail
from patchmatch.frames.rows import CHANGES


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        place = found or shutil.which("google-chrome") or playwright.chromium.executable_path
        if not Path(place).exists():
            pytest.skip("there is no Chromium: apt-get install chromium, or playwright install")
        opened = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser):
    """Open a report; when the test ends nothing may have been complained of or asked for."""
    contexts, troubles = [], []

    def note(kind):
        return lambda event: troubles.append(f"{kind}: {getattr(event, 'text', event)}")

    def request(event):
        is_page = event.url.startswith("file:") and event.is_navigation_request()
        if not is_page and not event.url.startswith("data:"):
            troubles.append(f"request: {event.url[:200]}")

    def open_page(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note("console"))
        page.on("pageerror", note("error"))
        page.on("dialog", note("dialog"))
        page.on("request", request)
        page.goto(Path(path).resolve().as_uri())
        until(page, "document.querySelector('#frame').ariaLabel !== 'Frame'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def until(page, condition):
    """Wait; ``page.wait_for_function`` evaluates text, which the policy of the page forbids."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {condition}")


def pixels(page, canvas="frame"):
    page.wait_for_timeout(60)
    return page.evaluate(f"document.getElementById('{canvas}').toDataURL()")


def position(page):
    return int(page.input_value("#position"))


def test_slider_buttons_and_keys_move_through_the_pairs(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html", 30))
    before = pixels(page)
    assert page.text_content("#number") == "1 of 30"
    page.locator("#position").fill("12")
    assert page.text_content("#caption").startswith("f12 to f13")
    assert pixels(page) != before
    page.click("#forth")
    page.click("#back")
    page.click("#back")
    assert position(page) == 11
    page.locator("#position").focus()
    for key, expected in [
        ("ArrowRight", 12),
        ("Shift+ArrowRight", 22),
        ("End", 29),
        ("ArrowRight", 29),
        ("Home", 0),
        ("ArrowLeft", 0),
    ]:
        page.keyboard.press(key)
        assert position(page) == expected
    assert page.get_attribute("#position", "aria-valuetext") == "f0 to f1, 1 of 30"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    assert position(page) == 1


def test_playing_goes_on_and_pauses(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html", 30))
    page.select_option("#speed", "16")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    until(page, "document.querySelector('#position').valueAsNumber > 4")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.click("#play")
    stopped = position(page)
    page.wait_for_timeout(150)
    assert position(page) == stopped


def test_layers_arrows_and_score_change_what_is_drawn(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    seen = {pixels(page)}
    charts = {pixels(page, "histogram") + pixels(page, "heat")}
    assert page.locator("#rows tr").count() == 3
    for number, name in enumerate(("one_pixel", "larger", "unmatched")):
        page.uncheck(f"#layer-{name}")
        seen.add(pixels(page))
        charts.add(pixels(page, "histogram") + pixels(page, "heat"))
        assert page.locator("#rows tr").count() == 2 - number
    assert len(seen) == len(charts) == 4
    for key in "123":
        page.keyboard.press(key)
    assert pixels(page) in seen
    page.uncheck("#arrows")
    assert pixels(page) not in seen
    page.locator("#least").fill("0.6")
    assert page.text_content("#shown") == "2 of 3"
    assert page.text_content("#leastShown") == "0.60"


def test_the_earlier_frame_is_borrowed_from_the_pair_before(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    assert page.is_disabled("#earlier")
    for name in ("one_pixel", "larger", "unmatched"):
        page.uncheck(f"#layer-{name}")
    first = pixels(page)
    page.keyboard.press("ArrowRight")
    later = pixels(page)
    page.keyboard.press("e")
    assert pixels(page) == first
    assert page.text_content("#caption b") == "f1"
    page.keyboard.press("e")
    assert pixels(page) == later


def test_a_click_on_the_timeline_jumps_there(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html", 40))
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert "f21, 10.50 s" in page.text_content("#tip")
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert position(page) == 20


def test_a_box_tells_its_row_and_the_row_lights_its_box(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    page.keyboard.press("ArrowRight")
    plain = pixels(page)
    box = page.locator("#frame").bounding_box()
    scale = box["width"] / run.width
    page.mouse.move(box["x"] + 35 * scale, box["y"] + 15 * scale)
    tip = page.text_content("#tip")
    assert tip.startswith("larger, score 0.7500\ndisplacement (\u22121.00, 0.50) px")
    assert tip.endswith("row 6 of changes.csv")
    assert page.get_attribute("#rows tr.lit a", "href") == "changes.csv#row=6"
    page.mouse.move(2, 2)
    assert pixels(page) == plain
    page.focus("#rows tr:nth-child(3) a")
    assert pixels(page) != plain


def test_row_numbers_are_those_of_the_table(show, tmp_path, run):
    with (tmp_path / "changes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, CHANGES)
        writer.writeheader()
        writer.writerows(run.rows(4))
    lines = (tmp_path / "changes.csv").read_text().splitlines()
    page = show(run.write(tmp_path / "r.html", 4))
    page.keyboard.press("End")
    for row in page.locator("#rows tr").all():
        cells = row.locator("td").all_text_contents()
        fields = lines[int(cells[0]) - 1].split(",")
        assert fields[1:3] == ["f3", "f4"]
        assert fields[3:7] == cells[2:6]


def test_sequences_are_chosen(show, tmp_path, run):
    rows, pairs = list(run.rows(3)), list(run.pairs(3))
    rows += list(run.rows(2, source="other"))
    pairs += list(run.pairs(2, source="other"))
    picture = thumbnail(run.picture(0))
    write_report(tmp_path / "r.html", rows, pairs, lambda i: picture, {"pairs": 5})
    page = show(tmp_path / "r.html")
    page.keyboard.press("End")
    page.select_option("#sequence", "other")
    assert page.text_content("#number") == "1 of 2"
    assert page.locator("#rows a").first.text_content() == "11"


def test_hostile_names_are_shown_as_text(show, tmp_path, run):
    name = "</script><img src=x onerror=alert(1)><b>"
    rows = [row | {"source": name, "frame1": name} for row in run.rows(1)]
    pairs = [row | {"source": name, "frame1": name} for row in run.pairs(1)]
    pairs[0]["picture"] = f"topk_diffs/{name}#?.png"
    summary = {"skipped": [name], "settings": {name: {name: name}}, "complete": False}
    write_report(tmp_path / "r.html", rows, pairs, lambda i: None, summary)
    page = show(tmp_path / "r.html")
    assert page.text_content("#name") == name
    assert page.text_content("#caption b") == name
    assert page.text_content("#settings summary") == name
    assert name in page.text_content("#notes")
    assert page.locator("body img, #caption b b").count() == 0
    link = page.get_attribute("#caption a", "href")
    assert link == "./" + quote(pairs[0]["picture"], safe="/()*!'")
    assert page.is_visible("#missing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(show, tmp_path, scheme, run):
    size = {"width": 360, "height": 740}
    page = show(run.write(tmp_path / "r.html"), viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) > 128) == (scheme == "light")


def test_every_control_has_a_name(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, select, canvas")].filter((control) =>
        !control.ariaLabel && !(control.labels && control.labels.length)).map((c) => c.id)"""
    )
    assert nameless == []


def test_times_that_are_not_known_make_no_trouble(show, tmp_path, run):
    pairs = run.pairs(3, times=False)
    for_all = thumbnail(run.picture(0))
    write_report(tmp_path / "r.html", run.rows(3), pairs, lambda i: for_all, {})
    page = show(tmp_path / "r.html")
    assert page.text_content("#caption").startswith("f0 to f1")


@pytest.mark.slow
def test_ten_thousand_frames_open_and_jump(show, tmp_path, run):
    pictures = [thumbnail(run.picture(seed, 540, 960)) for seed in range(6)]
    path = run.write(tmp_path / "r.html", 10_000, 20, thumbnails=lambda i: pictures[i % 6])
    assert path.stat().st_size <= 60_000_000
    page = show(path)
    page.keyboard.press("End")
    assert page.text_content("#number") == "10,000 of 10,000"
    assert page.locator("#rows a").last.text_content() == "200001"
    page.locator("#position").fill("5000")
    assert page.text_content("#caption").startswith("f5000 to f5001")
    last = pixels(page)
    page.keyboard.press("2")
    assert pixels(page) != last
