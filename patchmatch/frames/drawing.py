"""The picture of a frame pair, in one of four styles."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from patchmatch.draw import Color, difference_image, draw_arrows, draw_boxes, draw_flow, montage
from patchmatch.frames.exports import block_flow
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.writing.rows import number

STYLES = ("boxes", "arrows", "flow", "patches")
_PATCH_SIDE = 96  # pixels to which the patches of a montage are enlarged


@dataclass(frozen=True)
class Painter:
    """Draws what changed between two frames.

    Attributes:
        style: One of ``STYLES``.
        colors: Color of each kind that is drawn.
        line_width: Width of lines in pixels; None chooses by the size of the frame.
        arrow_scale: Length of an arrow for a displacement of one pixel.
        max_flow: Length in pixels that is a full hue; None chooses for each picture.
    """

    style: str
    colors: Mapping[Kind, Color]
    line_width: int | None = None
    arrow_scale: float = 1.0
    max_flow: float | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, got {self.style!r}")
        if self.line_width is not None and self.line_width < 1:
            raise ValueError(f"line_width must be at least 1 pixel, got {self.line_width}")
        for name, value in (("arrow_scale", self.arrow_scale), ("max_flow", self.max_flow)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {value}")

    def __call__(
        self,
        picture0: np.ndarray,
        picture1: np.ndarray,
        changes: FrameChanges,
        shown: FrameChanges,
    ) -> np.ndarray | None:
        """Return the picture of a pair, (H, W, 3) uint8; None where there is nothing to lay out.

        Args:
            picture0: The earlier frame.
            picture1: The later frame, which is drawn on.
            changes: All blocks.
            shown: Those that were selected, the most changed first.
        """
        if self.style == "flow":
            flow, valid = block_flow(changes, *picture1.shape[:2])
            return draw_flow(picture1, flow, valid, self.max_flow)
        colors = [self.colors[Kind(kind)] for kind in shown.kind.tolist()]
        if self.style == "boxes":
            return draw_boxes(picture1, shown.boxes, colors, thickness=self.line_width)
        if self.style == "arrows":
            centres = (shown.boxes[:, :2] + shown.boxes[:, 2:] - 1) / 2
            ways = shown.displacement.masked_fill(~shown.matched[:, None], torch.nan)
            return draw_arrows(picture1, centres, ways, colors, self.arrow_scale, self.line_width)
        if not len(shown):
            return None
        tiles = [
            _before_and_after(picture0[y0:y1, x0:x1], picture1[y0:y1, x0:x1], color)
            for (x0, y0, x1, y1), color in zip(shown.boxes.tolist(), colors, strict=True)
        ]
        return montage(tiles, gap=8, captions=_captions(shown))


def _before_and_after(patch0: np.ndarray, patch1: np.ndarray, color: Color) -> np.ndarray:
    """Return the earlier patch, the later one and their difference side by side in a frame."""
    scale = max(1, _PATCH_SIDE // max(patch0.shape[:2]))
    patches = [patch0, patch1, difference_image(patch0, patch1)]
    strip = montage(patches, columns=3, gap=3, scale=scale)
    height, width = strip.shape[:2]
    return draw_boxes(strip, [(0, 0, width, height)], [color], thickness=3)


def _captions(shown: FrameChanges) -> list[str]:
    """Return a line such as ``one pixel (1, -1) 0.53`` or ``larger 0.97`` for each."""
    lines = []
    for kind, (dx, dy), matched, score in zip(
        shown.kind.tolist(),
        shown.displacement.tolist(),
        shown.matched.tolist(),
        shown.score.tolist(),
        strict=True,
    ):
        where = f" ({number(dx, 2)}, {number(dy, 2)})" if matched else ""
        lines.append(f"{Kind(kind).label.replace('_', ' ')}{where} {score:.2f}")
    return lines
