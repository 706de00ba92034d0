"""What changed from frame to frame: boxes on the later frame, and a table of them."""

import re
from pathlib import Path

import numpy as np
from torchvision.ops import nms

from patchmatch.callbacks.base import PredictionWriter, Row
from patchmatch.data.clips import Clip
from patchmatch.draw import Color, difference_picture, draw_boxes, montage, parse_color
from patchmatch.io import write_image
from patchmatch.results import FrameChanges, Kind

_PATCH_SIDE = 96  # pixels to which the patches of a montage are enlarged


class ChangeBoxes(PredictionWriter):
    """Draw the most changed blocks of each frame pair on the later frame, and list them in a table.

    Pictures are topk_diffs/top{top_k}_{later frame}.png in the output folder, in a subfolder for
    each sequence if there are several. The table changes.csv has a row for each box drawn.

    Args:
        output_path: Folder for changes.csv, topk_diffs and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        top_k: Draw at most so many blocks of a pair, the most changed ones.
        min_score: Leave out blocks that changed less, from 0 to 1: 0.5 is one pixel, 1 is more.
        export_box_overlay: Draw boxes on the later frame. False: lay the changed patches out
            instead, each as earlier, later and difference.
        color_one_pixel: Color of blocks that moved by one pixel, a name or "#rrggbb".
        color_larger: Color of blocks that moved farther, a name or "#rrggbb".
        max_overlap: Of blocks that overlap more than this, intersection over union, only the most
            changed one is drawn; 1 draws all.
        line_width: Width of the lines in pixels; null chooses by the size of the frame.
    """

    table = "changes.csv"
    columns = (
        "source", "frame0", "frame1", "x0", "y0", "x1", "y1", "dx", "dy", "kind", "score"
    )  # fmt: skip
    pictures = "topk_diffs"
    picture_name = re.compile(r"top\d+_.+\.png", re.DOTALL)
    things = "boxes"

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        top_k: int = 20,
        min_score: float = 0.25,
        export_box_overlay: bool = True,
        color_one_pixel: str = "green",
        color_larger: str = "red",
        max_overlap: float = 0.1,
        line_width: int | None = None,
    ) -> None:
        super().__init__(output_path, overwrite)
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must lie in [0, 1], got {min_score}")
        if not 0 < max_overlap <= 1:
            raise ValueError(f"max_overlap must lie in (0, 1], got {max_overlap}")
        if line_width is not None and line_width < 1:
            raise ValueError(f"line_width must be at least 1 pixel, got {line_width}")
        self.top_k = top_k
        self.min_score = min_score
        self.export_box_overlay = export_box_overlay
        self.color_one_pixel = color_one_pixel
        self.color_larger = color_larger
        self.max_overlap = max_overlap
        self.line_width = line_width
        self._color_of = {
            Kind.ONE_PIXEL: parse_color(color_one_pixel),
            Kind.LARGER: parse_color(color_larger),
        }

    def write_batch(self, prediction: list[FrameChanges], batch: Clip) -> list[Row]:
        """Write a picture for each pair of a clip, and return a row for each block drawn."""
        rows: list[Row] = []
        for (index0, index1), changes in zip(batch["pairs"], prediction, strict=True):
            drawn = self._select(changes)
            rows += _rows(drawn)
            picture = self._draw(batch["pictures"][index0], batch["pictures"][index1], drawn)
            if picture is not None:
                folder = Path(self.output_path) / self.pictures
                folder = folder / batch["source"] if batch["several"] else folder
                write_image(folder / f"top{self.top_k}_{changes.frame1}.png", picture)
        return rows

    def _select(self, changes: FrameChanges) -> FrameChanges:
        """Return the blocks to draw, the most changed first."""
        changed = changes.top(len(changes), self.min_score)
        kept = nms(changed.boxes.float(), changed.score.float(), self.max_overlap)
        return changed[kept.sort().values[: self.top_k]]

    def _draw(
        self, picture0: np.ndarray, picture1: np.ndarray, drawn: FrameChanges
    ) -> np.ndarray | None:
        """Return the picture of a pair; None where there is nothing to lay out."""
        colors = [self._color_of[Kind(kind)] for kind in drawn.kind.tolist()]
        if self.export_box_overlay:
            return draw_boxes(picture1, drawn.boxes, colors, thickness=self.line_width)
        if not len(drawn):
            return None
        boxes = drawn.boxes.tolist()
        tiles = [
            _before_and_after(picture0[y0:y1, x0:x1], picture1[y0:y1, x0:x1], color)
            for (x0, y0, x1, y1), color in zip(boxes, colors, strict=True)
        ]
        return montage(tiles, gap=8, captions=[_caption(row) for row in _rows(drawn)])


def _rows(changes: FrameChanges) -> list[Row]:
    """Return the rows of the table for some blocks."""
    rows: list[Row] = []
    columns = (changes.boxes, changes.displacement, changes.kind, changes.score, changes.matched)
    for box, displacement, number, score, matched in zip(
        *(c.tolist() for c in columns), strict=True
    ):
        kind = Kind(number)
        dx, dy = map(_plain, displacement) if matched else (None, None)
        rows.append(
            {"source": changes.source, "frame0": changes.frame0, "frame1": changes.frame1}
            | dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            | {"dx": dx, "dy": dy, "kind": kind.label, "score": f"{score:.4f}"}
        )
    return rows


def _plain(number: float) -> int | float:
    """Drop the decimals of a whole number, and what is beyond the fourth."""
    return int(number) if number.is_integer() else round(number, 4)


def _before_and_after(patch0: np.ndarray, patch1: np.ndarray, color: Color) -> np.ndarray:
    """Return the earlier patch, the later one and their difference side by side in a frame."""
    scale = max(1, _PATCH_SIDE // max(patch0.shape[:2]))
    patches = [patch0, patch1, difference_picture(patch0, patch1)]
    strip = montage(patches, columns=3, gap=3, scale=scale)
    height, width = strip.shape[:2]
    return draw_boxes(strip, [(0, 0, width, height)], [color], thickness=3)


def _caption(row: Row) -> str:
    """Return a line such as ``one pixel (1, -1) 0.53`` or ``larger 0.97``."""
    where = "" if row["dx"] is None else f" ({row['dx']}, {row['dy']})"
    return f"{str(row['kind']).replace('_', ' ')}{where} {float(str(row['score'])):.2f}"
