"""Synthetic runs and their reports."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from patchmatch.frames.report.page import write_report
from patchmatch.frames.rows import CHANGE_COLUMNS, PAIR_COLUMNS
from patchmatch.writing.report.thumbnails import thumbnail

KINDS = ("one_pixel", "larger", "larger")
HEIGHT, WIDTH = 60, 90


def make_image(seed, height=HEIGHT, width=WIDTH):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return cv2.resize(noise, (width, height))


def make_pairs(count, boxes=3, source="run", times=True):
    for i in range(count):
        values = dict.fromkeys(PAIR_COLUMNS, "0") | {"mean_score": "0.0123", "blocks": "40"}
        values |= {"source": source, "frame0": f"f{i}", "frame1": f"f{i + 1}"}
        values |= {"time0": f"{i / 2}", "time1": f"{(i + 1) / 2}"} if times else {}
        values |= {"one_pixel": str(i % 7), "larger": str(i % 5 + 1), "unmatched": "1"}
        yield values | {"boxes": str(boxes), "height": HEIGHT, "width": WIDTH}


def make_rows(count, boxes=3, source="run"):
    for i in range(count):
        for j in range(boxes):
            values = dict.fromkeys(CHANGE_COLUMNS, "")
            values |= {"source": source, "frame0": f"f{i}", "frame1": f"f{i + 1}"}
            x, y = 4 + 25 * (j % 3), 6 + (i + 11 * (j // 3)) % 30
            values |= dict(zip(("x0", "y0", "x1", "y1"), (x, y, x + 20, y + 18), strict=True))
            matched = j % 3 < 2
            values |= {"dx": "-1", "dy": "0.5"} if matched else {}
            values |= {"kind": KINDS[j % 3], "score": f"{1 - 0.25 * (j % 3):.4f}"}
            yield values | {"matched": str(matched).lower(), "confidence": "0.5000", "area": "360"}


def write(path, count=5, boxes=3, thumbnails=None, summary=None, **options):
    jpegs = [thumbnail(make_image(i)) for i in range(min(count, 6))]
    write_report(
        path,
        make_rows(count, boxes),
        make_pairs(count, boxes),
        thumbnails or (lambda i: jpegs[i % len(jpegs)]),
        summary or {"complete": True, "pairs": count, "rows": count * boxes, "settings": {"a": 1}},
        **options,
    )
    return path


@pytest.fixture
def run():
    return SimpleNamespace(
        height=HEIGHT,
        width=WIDTH,
        image=make_image,
        pairs=make_pairs,
        rows=make_rows,
        write=write,
    )
