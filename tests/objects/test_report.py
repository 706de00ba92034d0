"""The report of moving objects: its data, and the page in a browser."""

import json
import re
from pathlib import Path

from report_browser import wait_until

from patchmatch.objects.report.page import write_report
from patchmatch.objects.run_objects import PICTURES


def tables(frames=8, source="cam"):
    """Two tracks, the second from frame 4 on, and one event."""
    names = [f"f{i}" for i in range(frames)]
    shown = [
        {"source": source, "frame": name, "time": i / 10, "picture": f"pictures/{name}.jpg"}
        | {"height": 60, "width": 90, "thumbnail": f"{i}.jpg"}
        for i, name in enumerate(names)
    ]
    objects, tracks = [], []
    for number, first in ((1, 0), (2, 4)):
        for i in range(first, frames):
            box = {
                "x0": 5.0 + 3 * i,
                "y0": 10.0 * number,
                "x1": 25.5 + 3 * i,
                "y1": 10.0 * number + 20,
            }
            objects.append({"source": source, "frame": names[i], "track": number, **box})
        track = {"source": source, "track": number, "frame0": names[first], "frame1": names[-1]}
        tracks.append({**track, "frames": frames - first, "path_length": 21.0, "mean_speed": None})
    objects.sort(key=lambda row: (row["frame"], row["track"]))
    event = {"source": source, "event": 1, "frame0": names[0], "frame1": names[-1], "tracks": 2}
    return {"frames": shown, "objects": objects, "tracks": tracks, "events": [event]}


class Run:
    """What ``write_report`` reads of a run."""

    def __init__(self, content):
        self.chunks = self
        self._content = content
        self.tracks, self.events = content["tracks"], content["events"]

    def objects(self):
        return iter(self._content["objects"])

    def rows(self, table):
        assert table == PICTURES
        return iter(self._content["frames"])

    def records(self):
        yield 0, {"rows": {PICTURES: self._content["frames"]}}

    def file(self, index, name):
        return Path(f"missing-{index}-{name}")


def write(path, content):
    summary = {"complete": True, "pairs": len(content["frames"]), "rows": len(content["objects"])}
    write_report(path, Run(content), summary)
    return path


def test_the_page_contains_the_tables(tmp_path):
    page = write(tmp_path / "report.html", tables()).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert (data["trackCount"], data["eventCount"]) == (2, 1)
    assert data["frameNames"] == [f"f{i}" for i in range(8)]
    assert data["images"][3] == "pictures/f3.jpg"
    assert data["sources"] == ["cam"]
    assert not re.search(r"""(src|href)=["']?http""", page)


def test_a_name_cannot_end_the_script(tmp_path):
    name = "</script><script>alert(1)</script>"
    page = write(tmp_path / "report.html", tables(source=name)).read_text()
    assert name not in page


def test_tracks_events_and_layers_react(show, tmp_path):
    page = show(write(tmp_path / "report.html", tables()))

    def drawn(canvas="frame"):
        page.wait_for_timeout(60)
        return page.evaluate(f"document.getElementById('{canvas}').toDataURL()")

    assert page.locator("#rows tr").count() == 2
    assert page.locator("#events tr").count() == 1
    page.keyboard.press("End")
    assert page.text_content("#number") == "8 of 8"
    assert "2 objects" in page.text_content("#caption")
    page.locator("#position").fill("5")
    page.evaluate("document.activeElement.blur()")
    seen = {drawn()}
    for key in "bnpw":
        page.keyboard.press(key)
        seen.add(drawn())
    assert len(seen) == 5
    page.click("#rows tr:nth-child(2)")
    assert page.text_content("#number") == "5 of 8"  # its first frame
    assert page.locator("#rows tr.highlighted").count() == 1
    page.click("#rows tr:nth-child(2)")
    assert page.locator("#rows tr.highlighted").count() == 0
    page.click("#events tr")
    assert page.text_content("#number") == "1 of 8"
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] - 32)
    assert "track 2" in page.text_content("#tooltip")


def test_a_run_without_objects_has_a_page(show, tmp_path):
    content = tables() | {"objects": [], "tracks": [], "events": []}
    page = show(write(tmp_path / "report.html", content))
    wait_until(page, "document.querySelector('#number').textContent === '1 of 8'")
    assert page.text_content("#eventCount") == "none"
