"""Outputs of a whole run: the video of each sequence, and the report."""

from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from patchmatch.frames.report.page import write_report
from patchmatch.writing.annotated_video import frame_rate, write_annotated_video
from patchmatch.writing.chunks import RunChunks
from patchmatch.writing.report.thumbnails import read_thumbnail, stored_thumbnails
from patchmatch.writing.summary import summarize

IMAGE_ROWS = "pictures"  # chunk rows for the video and the report: the image of each pair


def write_videos(folder: Path, chunks: RunChunks, warn: Callable[[str], None]) -> Path | None:
    """Write annotated.mp4, or annotated/SEQUENCE.mp4 if there are several sequences.

    Args:
        folder: Folder of the run.
        chunks: Its chunks, with ``IMAGE_ROWS``.
        warn: Called with a line on the images that are skipped in a video.

    Returns:
        The video, or its folder if there are several; None without images.
    """
    found = None
    for source, rows in groupby(chunks.rows(IMAGE_ROWS), key=lambda row: row["source"]):
        found = _write_video(folder, source, list(rows), warn)
    return found


def _write_video(
    folder: Path, source: str, rows: list[dict[str, Any]], warn: Callable[[str], None]
) -> Path:
    frames = [row for row in rows if row["nearest"] and row["picture"]]  # each frame once
    several = rows[0]["several"]
    path = folder / (f"annotated/{source}.mp4" if several else "annotated.mp4")
    images = (folder / row["picture"] for row in frames)
    if note := write_annotated_video(path, images, frame_rate([row["time1"] for row in frames])):
        warn(note)
    return path.parent if several else path


def write_run_report(folder: Path, chunks: RunChunks, settings: Mapping[str, Any]) -> Path:
    """Write report.html and return its path.

    Args:
        folder: Folder of the run.
        chunks: Its chunks, with ``IMAGE_ROWS`` that contain height, width and thumbnail.
        settings: Settings of the run.
    """
    path = folder / "report.html"
    thumbnails = stored_thumbnails(chunks, IMAGE_ROWS)
    pairs = (
        {**pair, **{name: row[name] for name in ("height", "width", "picture")}}
        for _, record in chunks.records()
        for pair, row in zip(record["rows"]["pairs"], record["rows"][IMAGE_ROWS], strict=True)
    )
    write_report(
        path,
        chunks.rows("changes"),
        pairs,
        lambda i: read_thumbnail(thumbnails[i]),
        {**summarize(chunks, "changes"), "settings": settings},
    )
    return path
