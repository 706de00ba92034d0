"""Exports of tracks: MOTChallenge text, COCO json, and video clips of events."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from patchmatch.io import atomic_path, write_text_atomic
from patchmatch.writing.annotated_video import frame_rate, write_annotated_video
from patchmatch.writing.chunks import Row


def frame_numbers(frames: Iterable[Mapping[str, object]]) -> dict[tuple[str, str], int]:
    """Return the number of each frame in its sequence, from 1, by the names of both.

    Args:
        frames: Rows with ``source``, ``frame`` and ``position``, the index in the sequence. Frames
            without a row, as the first or an unreadable one, are counted as well.
    """
    return {
        (str(row["source"]), str(row["frame"])): int(str(row["position"])) + 1 for row in frames
    }


def write_mot(
    path: Path, rows: Iterable[Mapping[str, object]], numbers: Mapping[tuple[str, str], int]
) -> None:
    """Write tracks as MOTChallenge text: frame, id, left, top, width, height, score, -1, -1, -1.

    Frames and pixels are counted from 1, as the evaluation of MOTChallenge expects.

    Args:
        path: The text file.
        rows: Rows of objects.csv of one sequence.
        numbers: See ``frame_numbers``.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            x0, y0, x1, y1 = (float(str(row[name])) for name in ("x0", "y0", "x1", "y1"))
            frame = numbers[str(row["source"]), str(row["frame"])]
            file.write(
                f"{frame},{row['track']},{x0 + 1:g},{y0 + 1:g},{x1 - x0:g},{y1 - y0:g},"
                f"{row['score']},-1,-1,-1\n"
            )


def write_coco(
    path: Path,
    rows: Iterable[Mapping[str, object]],
    frames: Iterable[Mapping[str, object]],
) -> None:
    """Write boxes as COCO json; every annotation has its ``track_id`` and ``score``.

    Args:
        path: The json file.
        rows: Rows of objects.csv.
        frames: Rows with ``source``, ``frame``, ``file``, ``height`` and ``width``.
    """
    images, ids = [], {}
    for number, row in enumerate(frames, start=1):
        source, frame = str(row["source"]), str(row["frame"])
        ids[source, frame] = number
        images.append(
            {"id": number, "file_name": row["file"], "video": source}
            | {"height": row["height"], "width": row["width"]}
        )
    annotations = []
    for number, row in enumerate(rows, start=1):
        x0, y0, x1, y1 = (float(str(row[name])) for name in ("x0", "y0", "x1", "y1"))
        annotations.append(
            {
                "id": number,
                "image_id": ids[str(row["source"]), str(row["frame"])],
                "category_id": 1,
                "bbox": [x0, y0, round(x1 - x0, 1), round(y1 - y0, 1)],
                "area": row["area"],
                "iscrowd": 0,
                "track_id": row["track"],
                "score": row["score"],
            }
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "object"}],
    }
    write_text_atomic(path, json.dumps(content, ensure_ascii=False) + "\n")


def write_clips(
    folder: Path,
    events: Iterable[Row],
    pictures: Mapping[str, list[tuple[str, float | None, Path]]],
    several: bool,
    warn: Callable[[str], None],
) -> None:
    """Write a video of each event from the pictures of its frames.

    Args:
        folder: Folder of the videos, with a subfolder for each sequence if there are several.
        events: Rows of events.csv.
        pictures: Name, time and picture of each frame of a sequence, in order.
        several: Whether the data set has several sequences.
        warn: Called with a line on pictures that are left out.
    """
    for event in events:
        source = str(event["source"])
        shown = pictures.get(source, [])
        names = [name for name, _, _ in shown]
        if event["frame0"] not in names or event["frame1"] not in names:
            continue
        part = shown[names.index(str(event["frame0"])) : names.index(str(event["frame1"])) + 1]
        place = folder / source if several else folder
        path = place / f"event_{int(str(event['event'])):04d}.mp4"
        images = (picture for _, _, picture in part)
        if note := write_annotated_video(path, images, frame_rate([time for _, time, _ in part])):
            warn(note)
