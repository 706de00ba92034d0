"""Masks of what moves, kept as labels until the end of a run, when it is known what has moved."""

from collections.abc import Iterator, Set
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import read_bytes, write_image
from patchmatch.objects.results import FrameObjects
from patchmatch.objects.rows import Key
from patchmatch.writing.chunks import RunChunks

FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def encode_labels(objects: FrameObjects) -> tuple[bytes, list[int]]:
    """Return a PNG with the index from 1 of the track at each pixel, and the tracks."""
    tracks = objects.track.tolist()
    labels = objects.labels.numpy()
    index = np.zeros(max([int(labels.max(initial=0)), *tracks]) + 1, np.uint16)
    index[tracks] = np.arange(1, len(tracks) + 1)
    return cv2.imencode(".png", index[labels], FAST)[1].tobytes(), tracks


def write_masks(folder: Path, chunks: RunChunks, table: str, moved: Set[Key]) -> None:
    """Write the masks of a run.

    Args:
        folder: Folder of the run.
        chunks: Its chunks, whose rows have the labels of ``encode_labels`` and the path of a mask.
        table: Name of these rows.
        moved: Source and number of the tracks that have moved.
    """
    for path, labels, source, tracks in _labels(chunks, table):
        chosen = [i for i, track in enumerate(tracks, start=1) if (source, track) in moved]
        write_image(folder / path, np.isin(labels, chosen).astype(np.uint8) * 255)


def _labels(chunks: RunChunks, table: str) -> Iterator[tuple[str, np.ndarray, str, list[int]]]:
    for index, record in chunks.records():
        for row in record["rows"].get(table, ()):
            path = chunks.file(index, row["labels"])
            labels = cv2.imdecode(np.frombuffer(read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
            if labels is None:
                raise InputError(f"{path}: is damaged; give --writer.resume true to predict again")
            yield row["mask"], labels, row["source"], row["tracks"]
