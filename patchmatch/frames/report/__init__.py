"""Single-file HTML report of a run, readable without a network.

The writer stores a thumbnail of each pair during the run and writes the report at the end:

    files = {"0.jpg": thumbnail(image1)}  # of the later frame, on which the boxes are drawn
    ...
    write_report(folder / "report.html", rows, pairs, thumbnails, summary)

``rows`` and ``pairs`` are the rows of changes.csv and pairs.csv in the order of the run, and may
be generators: about 50 bytes per row are kept in memory. The page has at most 60 MB; the
thumbnails of long runs are downsized for that.
"""
