"""The rows of tables, those of changes above all; what is not known is None."""

import math
from collections.abc import Mapping

from torch import Tensor

from patchmatch.callbacks.parts import Row
from patchmatch.results import FrameChanges, Kind

CHANGES = (
    *("source", "frame0", "frame1", "x0", "y0", "x1", "y1", "dx", "dy", "kind", "score"),
    *("time0", "time1", "matched", "confidence", "camera_dx", "camera_dy", "area"),
)
PAIRS = (
    *("source", "frame0", "frame1", "time0", "time1", "blocks", "still", "one_pixel", "larger"),
    *("unmatched", "mean_score", "boxes"),
)
CSV_FORMATS = {"score": ".4f", "confidence": ".4f", "mean_score": ".4f"}


def change_rows(changes: FrameChanges, area: Tensor) -> list[Row]:
    """Return a row for each block or region.

    Args:
        changes: The blocks or regions.
        area: Pixels that each covers, (N,) long.
    """
    columns = (changes.boxes, changes.displacement, changes.kind, changes.score, changes.matched)
    cameras = [(math.nan, math.nan)] * len(changes)
    if changes.camera is not None:
        cameras = changes.camera.tolist()
    rows: list[Row] = []
    for box, displacement, kind, score, matched, confidence, camera, pixels in zip(
        *(column.tolist() for column in columns),
        changes.confidence.tolist(),
        cameras,
        area.tolist(),
        strict=True,
    ):
        dx, dy = (number(d) if matched else None for d in displacement)
        rows.append(
            {"source": changes.source, "frame0": changes.frame0, "frame1": changes.frame1}
            | dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            | {"dx": dx, "dy": dy, "kind": Kind(kind).label, "score": number(score)}
            | {"time0": number(changes.time0, 6), "time1": number(changes.time1, 6)}
            | {"matched": matched, "confidence": number(confidence)}
            | {"camera_dx": number(camera[0]), "camera_dy": number(camera[1]), "area": pixels}
        )
    return rows


def pair_row(changes: FrameChanges, boxes: int) -> Row:
    """Return the row of a pair.

    Args:
        changes: All blocks that count.
        boxes: How many boxes were drawn.
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


def as_csv(row: Row, formats: Mapping[str, str]) -> Row:
    """Return a row as a csv file shows it.

    Args:
        row: Values by the name of their column.
        formats: How the numbers of a column are written, ``.4f`` for example.
    """
    return {
        name: str(value).lower()
        if isinstance(value, bool)
        else format(value, formats[name])
        if value is not None and name in formats
        else value
        for name, value in row.items()
    }


def number(value: float | None, decimals: int = 4) -> int | float | None:
    """Drop the decimals of a whole number and all beyond the fourth; None of what is no number."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, decimals)
    return int(rounded) if rounded == int(rounded) else rounded
