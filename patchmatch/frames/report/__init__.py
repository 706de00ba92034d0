"""One html file that shows a whole run, from disk and without a network.

A writer keeps a thumbnail of each pair while it runs, and writes the report at the end:

    files = {"0.jpg": thumbnail(picture1)}  # of the later frame, which the boxes are drawn on
    ...
    write_report(folder / "report.html", rows, pairs, thumbnails, summary)

``rows`` are those of changes.csv and ``pairs`` those of pairs.csv, both in the order of the run;
numbers may be numbers or text, what is not known None or "". A pair has two keys more, ``height``
and ``width`` of its frames in pixels, and may have ``picture``, the place of a picture of it as a
path from the report with "/". ``thumbnails(i)`` gives the JPEG of pair ``i`` or None; it may be
called several times and in any order. ``summary`` is what stands in summary.json.

``rows`` and ``pairs`` may be generators: no more of them is kept than some 50 bytes a row. The page
holds 60 MB at most, for which frames are shrunk where there are many.
"""

from patchmatch.frames.report.page import write_report
from patchmatch.frames.report.thumbnails import thumbnail

__all__ = ["thumbnail", "write_report"]
