import base64
import json
import re
from html.parser import HTMLParser

import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.report.page import write_report
from patchmatch.writing.report.thumbnails import thumbnail

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\udcff"


class Page(HTMLParser):
    """Elements of a page, and the text of each element with an id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id")

    def handle_data(self, data):
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag):
        self._open = None

    @property
    def data(self):
        return json.loads(self.texts["data"])

    @property
    def thumbnails(self):
        chunks = [
            self.texts[name].split("\n") for name in self.texts if name.startswith("thumbnails-")
        ]
        return [base64.b64decode(line) for lines in chunks for line in lines]


def test_page_parses_and_has_no_external_references(tmp_path, run):
    text = run.write(tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"(src|href|url\()\W*(https?:)?//", text)
    assert "http://" not in text
    assert "https://" not in text
    sources = [name for _, attributes in page.elements for name in attributes if name == "src"]
    assert not sources
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 3  # data, script, one element of thumbnails
    assert [len(jpeg) > 100 for jpeg in page.thumbnails] == [True] * 5
    links = {a["href"] for tag, a in page.elements if tag == "a"}
    assert links == {"changes.csv", "pairs.csv", "summary.json"}


def test_content_security_policy_allows_only_this_script(tmp_path, run):
    text = run.write(tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_hostile_names_do_not_end_an_element(tmp_path, run):
    rows = [row | {"source": HOSTILE} for row in run.rows(1)]
    pairs = [row | {"source": HOSTILE, "picture": HOSTILE} for row in run.pairs(1)]
    summary = {"skipped": [HOSTILE], "settings": {HOSTILE: float("nan"), "roi": None}}
    write_report(tmp_path / "r.html", rows, pairs, lambda i: None, summary)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "img" not in [tag for tag, _ in page.elements]
    assert page.data["names"][0] == HOSTILE
    assert page.data["summary"]["settings"] == {HOSTILE: "nan", "roi": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:-1], "must have 3 rows"),
        (lambda rows: rows + rows[-1:], "got more rows"),
        (lambda rows: rows[::-1], "in the order of the pairs"),
    ],
)
def test_rows_of_other_pairs_raise(tmp_path, run, change, reason):
    rows = change(list(run.rows(2)))
    with pytest.raises(ValueError, match=reason):
        write_report(tmp_path / "r.html", rows, run.pairs(2), lambda i: None, {})
    assert not list(tmp_path.iterdir())


def test_pairs_that_share_a_later_frame_share_its_thumbnail(tmp_path, run):
    pairs = [*run.pairs(1), *run.pairs(2)]
    rows = [*run.rows(1), *run.rows(2)]
    jpeg = thumbnail(run.image(0))
    given = [None, jpeg, jpeg]
    write_report(tmp_path / "r.html", rows, pairs, given.__getitem__, {})
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.thumbnails == [jpeg, jpeg]  # f1 of the second pair, f2
    assert base64.b64decode(page.data["pairs"]["thumbnail"][1]) == bytes([0, 0, 1])


def test_page_respects_max_bytes_and_describes_the_reduction(tmp_path, run):
    jpegs = [thumbnail(run.image(seed, 540, 960)) for seed in range(3)]
    path = run.write(
        tmp_path / "r.html",
        300,
        boxes=60,
        thumbnails=lambda i: jpegs[i % 3],
        max_bytes=1_000_000,
    )
    assert 500_000 < path.stat().st_size <= 1_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert 0 < page.data["maxRows"] < 60
    assert "with at most" in page.data["note"]
    with pytest.raises(ValueError, match="at least 1,000,000"):
        run.write(tmp_path / "other.html", max_bytes=1000)


def test_damaged_or_missing_thumbnail_is_empty(tmp_path, run):
    run.write(tmp_path / "r.html", 3, thumbnails=lambda i: [b"", None, thumbnail(run.image(0))][i])
    thumbnails = Page((tmp_path / "r.html").read_text(encoding="utf-8")).thumbnails
    assert [bool(jpeg) for jpeg in thumbnails] == [False, False, True]


def test_failed_write_keeps_the_earlier_report(tmp_path, run):
    path = tmp_path / "report.html"
    path.write_text("earlier")

    def fail(index):
        if index == 4:
            raise KeyboardInterrupt
        return thumbnail(run.image(index))

    with pytest.raises(KeyboardInterrupt):
        run.write(path, 5, thumbnails=fail)
    assert path.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match="a file where a folder is needed"):
        run.write(path / "below" / "report.html")
