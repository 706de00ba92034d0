"""Changes for other programs: dense flow, arrays, and a video of the pictures."""

import io
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.frames.results import FrameChanges
from patchmatch.io import (
    read_image,
    to_rgb_uint8,
    write_bytes_atomic,
    write_text_atomic,
    write_video,
)
from patchmatch.writing.chunks import Row

USUAL_FPS, SLOWEST, FASTEST = 25.0, 1.0, 120.0  # frames a second that players cope with


def block_flow(changes: FrameChanges, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Give every pixel the displacement of its block.

    Where blocks overlap, the one whose centre is nearest counts, the first of equally near ones.

    Args:
        changes: All blocks of a pair.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.

    Returns:
        The flow (H, W, 2) float32, dx and dy in pixels, 0 where it is not known; and (H, W) bool,
        where it is: in a block, and that block is matched.
    """
    nearest = np.full((height, width), np.inf, np.float32)
    owner = np.full((height, width), -1, np.int64)
    for index, (x0, y0, x1, y1) in enumerate(changes.boxes.tolist()):
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        x = np.arange(x0, x1, dtype=np.float32) - (x0 + x1 - 1) / 2
        y = np.arange(y0, y1, dtype=np.float32) - (y0 + y1 - 1) / 2
        distance = y[:, None] ** 2 + x**2
        nearer = distance < nearest[y0:y1, x0:x1]
        nearest[y0:y1, x0:x1][nearer] = distance[nearer]
        owner[y0:y1, x0:x1][nearer] = index
    # The last row stands for pixels of no block.
    displacement = np.concatenate(
        [changes.displacement.numpy(), np.full((1, 2), np.nan)], dtype=np.float32
    )
    displacement[:-1][~changes.matched.numpy()] = np.nan
    flow = displacement[owner]  # (H, W, 2)
    valid = np.isfinite(np.abs(flow).max(axis=2))
    return np.where(valid[..., None], flow, np.float32(0)), valid


def write_field(path: Path, changes: FrameChanges) -> None:
    """Write all blocks of a pair as arrays of an .npz; an unknown ``camera`` is NaN."""
    camera = changes.camera
    content = io.BytesIO()
    np.savez_compressed(
        content,
        boxes=changes.boxes.numpy(),
        displacement=changes.displacement.numpy(),
        kind=changes.kind.numpy(),
        score=changes.score.numpy(),
        matched=changes.matched.numpy(),
        confidence=changes.confidence.numpy(),
        camera=np.full((len(changes), 2), np.nan, np.float32) if camera is None else camera.numpy(),
    )
    write_bytes_atomic(path, content.getvalue())


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as lines of JSON: numbers are numbers, what is not known is null."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_text_atomic(path, "".join(lines))


def frame_rate(times: Sequence[float | None]) -> float:
    """Return the frames a second of some times in seconds; 25 where they do not tell."""
    known = [time for time in times if time is not None]
    steps = [later - time for time, later in itertools.pairwise(known) if later > time]
    if not steps:
        return USUAL_FPS
    return min(max(round(1 / statistics.median(steps), 3), SLOWEST), FASTEST)


def make_video(path: Path, pictures: Iterable[Path], fps: float) -> str | None:
    """Make a video of the pictures that are as large as the first one.

    Args:
        path: The .mp4 to write; nothing is written where there is no picture.
        pictures: The pictures, in order.
        fps: Frames a second.

    Returns:
        What was left out and why, for the user to read; None if nothing was.
    """
    reasons: list[str] = []
    frames = _of_one_size(pictures, reasons)
    first = next(frames, None)
    if first is not None:
        write_video(path, itertools.chain([first], frames), fps)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"left out of {path.name}: {reasons[0]}{more}" if reasons else None


def _of_one_size(paths: Iterable[Path], reasons: list[str]) -> Iterator[np.ndarray]:
    """Yield the pictures of the size of the first one, and note why others are left out."""
    size = None
    for path in paths:
        try:
            picture = to_rgb_uint8(read_image(path))
        except InputError as error:
            reasons.append(str(error))
            continue
        size = size or picture.shape
        if picture.shape == size:
            yield picture
        else:
            reasons.append(f"{path} is not as large as the first picture")
