"""Rows of changes.csv and pairs.csv, with None for unknown values."""

import math

from torch import Tensor

from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.writing.chunks import Row
from patchmatch.writing.rows import number

CHANGE_COLUMNS = (
    *("source", "frame0", "frame1", "x0", "y0", "x1", "y1", "dx", "dy", "kind", "score"),
    *("time0", "time1", "matched", "confidence", "camera_dx", "camera_dy", "area"),
    *("dx_total", "dy_total"),
)
PAIR_COLUMNS = (
    *("source", "frame0", "frame1", "time0", "time1", "blocks", "still", "one_pixel", "larger"),
    *("unmatched", "mean_score", "boxes"),
)
CSV_FORMATS = {"score": ".4f", "confidence": ".4f", "mean_score": ".4f"}


def change_rows(changes: FrameChanges, area: Tensor) -> list[Row]:
    """Return one row per block.

    Args:
        changes: The blocks.
        area: Number of pixels that each covers, (N,) long.
    """
    columns = (changes.boxes, changes.displacement, changes.kind, changes.score, changes.matched)
    cameras = [(math.nan, math.nan)] * len(changes)
    if changes.camera is not None:
        cameras = changes.camera.tolist()
    rows: list[Row] = []
    for box, displacement, kind, score, matched, total, confidence, camera, pixels in zip(
        *(column.tolist() for column in columns),
        changes.total_displacement.tolist(),
        changes.confidence.tolist(),
        cameras,
        area.tolist(),
        strict=True,
    ):
        dx, dy = (number(d) for d in displacement)
        rows.append(
            {"source": changes.source, "frame0": changes.frame0, "frame1": changes.frame1}
            | dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            | {"dx": dx, "dy": dy, "kind": Kind(kind).label, "score": number(score)}
            | {"time0": number(changes.time0, 6), "time1": number(changes.time1, 6)}
            | {"matched": matched, "confidence": number(confidence)}
            | {"camera_dx": number(camera[0]), "camera_dy": number(camera[1]), "area": pixels}
            | {"dx_total": number(total[0]), "dy_total": number(total[1])}
        )
    return rows


def pair_row(changes: FrameChanges, boxes: int) -> Row:
    """Return the row of a pair.

    Args:
        changes: All blocks inside the masks.
        boxes: Number of drawn boxes.
    """
    finite = changes.score[changes.score.isfinite()]
    return {
        "source": changes.source,
        "frame0": changes.frame0,
        "frame1": changes.frame1,
        "time0": number(changes.time0, 6),
        "time1": number(changes.time1, 6),
        "blocks": len(changes),
        **{kind.label: int((changes.kind == kind).sum()) for kind in Kind},
        "unmatched": int((~changes.matched).sum()),
        "mean_score": number(finite.double().mean().item()) if len(finite) else None,
        "boxes": boxes,
    }
