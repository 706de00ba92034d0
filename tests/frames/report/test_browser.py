"""Interaction with the report in headless Chromium."""

import csv
import re
from urllib.parse import quote

import pytest
from report_browser import wait_until

from patchmatch.frames.report.page import write_report
from patchmatch.frames.rows import CHANGE_COLUMNS
from patchmatch.writing.report.thumbnails import thumbnail


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
    page.click("#next")
    page.click("#previous")
    page.click("#previous")
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


def test_playback_advances_and_pauses(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html", 30))
    page.select_option("#speed", "16")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('#position').valueAsNumber > 4")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.click("#play")
    stopped = position(page)
    page.wait_for_timeout(150)
    assert position(page) == stopped


def test_layers_arrows_and_minimum_score_change_the_drawing(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    seen = {pixels(page)}
    charts = {pixels(page, "histogram") + pixels(page, "heat")}
    assert page.locator("#rows tr").count() == 3
    for number, name in enumerate(("layer-one_pixel", "unmatched", "layer-larger")):
        page.uncheck(f"#{name}")
        seen.add(pixels(page))
        charts.add(pixels(page, "histogram") + pixels(page, "heat"))
        assert page.locator("#rows tr").count() == 2 - number
    assert len(seen) == len(charts) == 4
    for key in "123":
        page.keyboard.press(key)
    assert pixels(page) in seen
    page.uncheck("#arrows")
    assert pixels(page) not in seen
    page.locator("#minScore").fill("0.6")
    assert page.text_content("#shown") == "2 of 3"
    assert page.text_content("#minScoreValue") == "0.60"


def test_earlier_frame_is_shown_from_the_previous_pair(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    assert page.is_disabled("#earlier")
    for name in ("one_pixel", "larger"):
        page.uncheck(f"#layer-{name}")
    first = pixels(page)
    page.keyboard.press("ArrowRight")
    later = pixels(page)
    page.keyboard.press("e")
    assert pixels(page) == first
    assert page.text_content("#caption b") == "f1"
    page.keyboard.press("e")
    assert pixels(page) == later


def test_click_on_the_timeline_selects_a_pair(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html", 40))
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert "f21, 10.50 s" in page.text_content("#tooltip")
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert position(page) == 20


def test_box_shows_a_tooltip_and_its_row_highlights_the_box(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    page.keyboard.press("ArrowRight")
    plain = pixels(page)
    box = page.locator("#frame").bounding_box()
    scale = box["width"] / run.width
    page.mouse.move(box["x"] + 35 * scale, box["y"] + 15 * scale)
    tip = page.text_content("#tooltip")
    assert tip.startswith("larger, score 0.7500\ndisplacement (\u22121.00, 0.50) px")
    assert tip.endswith("row 6 of changes.csv")
    assert page.get_attribute("#rows tr.highlighted a", "href") == "changes.csv#row=6"
    page.mouse.move(2, 2)
    assert pixels(page) == plain
    page.focus("#rows tr:nth-child(3) a")
    assert pixels(page) != plain


def test_moved_box_is_where_its_content_is_in_the_displayed_frame(show, tmp_path, run):
    """Its displacement of 20 pixels and the camera motion of 10 add up in the later frame."""
    rows = [
        row | {"dx": "20", "dy": "0", "camera_dx": "0", "camera_dy": "10", "kind": "larger"}
        for row in run.rows(2, boxes=1)
    ]
    jpeg = thumbnail(run.image(0))
    write_report(tmp_path / "r.html", rows, run.pairs(2, boxes=1), lambda i: jpeg, {})
    page = show(tmp_path / "r.html")
    page.keyboard.press("ArrowRight")
    box = page.locator("#frame").bounding_box()
    scale = box["width"] / run.width

    def is_over(x, y):
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
        return page.is_visible("#tooltip")

    assert is_over(34, 30)
    assert not is_over(10, 10)
    page.keyboard.press("e")
    assert is_over(10, 10)
    assert not is_over(34, 30)


def test_row_numbers_equal_those_of_the_csv_file(show, tmp_path, run):
    with (tmp_path / "changes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, CHANGE_COLUMNS)
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


def test_sequence_can_be_selected(show, tmp_path, run):
    rows, pairs = list(run.rows(3)), list(run.pairs(3))
    rows += list(run.rows(2, source="other"))
    pairs += list(run.pairs(2, source="other"))
    jpeg = thumbnail(run.image(0))
    write_report(tmp_path / "r.html", rows, pairs, lambda i: jpeg, {"pairs": 5})
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
def test_narrow_screen_needs_no_horizontal_scrolling(show, tmp_path, scheme, run):
    size = {"width": 360, "height": 740}
    page = show(run.write(tmp_path / "r.html"), viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) > 128) == (scheme == "light")


def test_every_control_has_a_name(show, tmp_path, run):
    page = show(run.write(tmp_path / "r.html"))
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, select, canvas")].filter((control) =>
        !control.ariaLabel && !(control.labels && control.labels.length)).map((c) => c.id)"""
    )
    assert unnamed == []


def test_unknown_times_are_not_shown(show, tmp_path, run):
    pairs = run.pairs(3, times=False)
    jpeg = thumbnail(run.image(0))
    write_report(tmp_path / "r.html", run.rows(3), pairs, lambda i: jpeg, {})
    page = show(tmp_path / "r.html")
    assert page.text_content("#caption").startswith("f0 to f1")


@pytest.mark.slow
def test_ten_thousand_frames_open_and_jump(show, tmp_path, run):
    jpegs = [thumbnail(run.image(seed, 540, 960)) for seed in range(6)]
    path = run.write(tmp_path / "r.html", 10_000, 20, thumbnails=lambda i: jpegs[i % 6])
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
