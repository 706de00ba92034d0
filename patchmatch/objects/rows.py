"""Rows of objects.csv, tracks.csv and frames.csv, with None for unknown values."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from patchmatch.objects.results import FrameObjects
from patchmatch.writing.chunks import Row
from patchmatch.writing.rows import number

OBJECT_COLUMNS = (
    *("source", "frame", "track", "x0", "y0", "x1", "y1", "dx", "dy", "area", "score", "time"),
)
TRACK_COLUMNS = (
    *("source", "track", "frame0", "frame1", "time0", "time1", "frames", "seconds"),
    *("path_length", "mean_speed"),
)
FRAME_COLUMNS = ("source", "frame", "time", "objects", "moving_pixels", "camera_moves")
CSV_FORMATS = {"score": ".4f", "path_length": ".2f", "mean_speed": ".3f"}

Key = tuple[str, int]  #: source and number of a track


def object_rows(objects: FrameObjects) -> list[Row]:
    """Return a row for each object of a frame, those included that have not moved so far."""
    rows: list[Row] = []
    for track, box, (dx, dy), area, score in zip(
        objects.track.tolist(),
        objects.boxes.tolist(),
        objects.displacement.tolist(),
        objects.area.tolist(),
        objects.score.tolist(),
        strict=True,
    ):
        rows.append(
            {"source": objects.source, "frame": objects.frame, "track": track}
            | {name: number(v, 1) for name, v in zip(("x0", "y0", "x1", "y1"), box, strict=True)}
            | {"dx": number(dx, 2), "dy": number(dy, 2), "area": area, "score": number(score)}
            | {"time": number(objects.time, 6)}
        )
    return rows


def frame_row(objects: FrameObjects) -> Row:
    """Return the row of a frame, without what is known at the end of a run: what has moved."""
    return {
        "source": objects.source,
        "frame": objects.frame,
        "time": number(objects.time, 6),
        "camera_moves": objects.camera is not None,
    }


def pixels_of_tracks(objects: FrameObjects) -> Row:
    """Return, as ``pixels``, number and pixels of each track in the labels of a frame."""
    labels = objects.labels.numpy()
    pixels = np.bincount(labels[labels > 0])  # far faster than unique
    return {"pixels": [[int(track), int(pixels[track])] for track in np.flatnonzero(pixels)]}


def key_of(row: Mapping[str, object]) -> Key:
    """Return the track of a row."""
    return str(row["source"]), int(str(row["track"]))


def track_rows(rows: Iterable[Mapping[str, object]]) -> Iterator[Row]:
    """Yield a row for each track, in the order of their first frames.

    The path length sums the displacements against the scene in pixels. The mean speed is in pixels
    per second, or per frame where times are unknown.

    Args:
        rows: Rows of objects.csv, in the order of the frames.
    """
    first: dict[Key, Mapping[str, object]] = {}
    last: dict[Key, Mapping[str, object]] = {}
    count: dict[Key, int] = {}
    length: dict[Key, float] = {}
    for row in rows:
        key = key_of(row)
        first.setdefault(key, row)
        last[key] = row
        step = math.hypot(_value(row["dx"]), _value(row["dy"])) if key in count else 0.0
        count[key], length[key] = count.get(key, 0) + 1, length.get(key, 0.0) + step
    for key, row in first.items():
        time0, time1 = row["time"], last[key]["time"]
        seconds = None if time0 is None or time1 is None else _value(time1) - _value(time0)
        duration = seconds or (count[key] - 1)
        yield {
            "source": key[0],
            "track": key[1],
            "frame0": row["frame"],
            "frame1": last[key]["frame"],
            "time0": time0,
            "time1": time1,
            "frames": count[key],
            "seconds": number(seconds, 6),
            "path_length": number(length[key], 2),
            "mean_speed": number(length[key] / duration, 3) if duration > 0 else 0,
        }


def moved_tracks(objects: Sequence[FrameObjects]) -> list[Row]:
    """Return a row with source and number of each track that has moved."""
    keys = {(o.source, track) for o in objects for track in o.track[o.moved].tolist()}
    return [{"source": source, "track": track} for source, track in sorted(keys)]


def _value(value: object) -> float:
    return 0.0 if value is None else float(str(value))
