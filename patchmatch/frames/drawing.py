"""Rendering of the changes of a frame pair in one of four styles."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from patchmatch.draw import Color, difference_image, draw_arrows, draw_boxes, draw_flow, montage
from patchmatch.frames.exports import pixel_flow
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.writing.rows import number

STYLES = ("boxes", "arrows", "flow", "patches")
_PATCH_SIZE = 96  # pixels, the size to which the patches of a montage are enlarged


@dataclass(frozen=True, kw_only=True)
class ChangeRenderer:
    """Renders the changes between two frames.

    Attributes:
        style: One of ``STYLES``.
        colors: Color of each kind that is drawn.
        line_width: Line width in pixels; None chooses it by the frame size.
        arrow_scale: Arrow length per pixel of displacement.
        max_flow: Displacement in pixels with full saturation; None chooses it per image.
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
        image0: np.ndarray,
        image1: np.ndarray,
        changes: FrameChanges,
        selected: FrameChanges,
    ) -> np.ndarray | None:
        """Render a pair, (H, W, 3) uint8; None for a montage without patches.

        Args:
            image0: The earlier frame, (H, W) or (H, W, 3).
            image1: The later frame, the background of the drawing.
            changes: All blocks, for style flow.
            selected: The blocks to draw, highest scores first.
        """
        if self.style == "flow":
            flow, valid = pixel_flow(changes, *image1.shape[:2])
            return draw_flow(image1, flow, valid, self.max_flow)
        colors = [self.colors[Kind(kind)] for kind in selected.kind.tolist()]
        if self.style == "boxes":
            return draw_boxes(image1, selected.boxes1, colors, thickness=self.line_width)
        if self.style == "arrows":
            starts = (selected.boxes[:, :2] + selected.boxes[:, 2:] - 1) / 2
            if selected.camera is not None:  # where the block would be if it had not moved
                starts = starts + selected.camera.nan_to_num()
            return draw_arrows(
                image1, starts, selected.displacement, colors, self.arrow_scale, self.line_width
            )
        if not len(selected):
            return None
        tiles = [
            _patch_strip(image0[y0:y1, x0:x1], image1[y0:y1, x0:x1], color)
            for (x0, y0, x1, y1), color in zip(selected.boxes.tolist(), colors, strict=True)
        ]
        return montage(tiles, gap=8, captions=_captions(selected))


def _patch_strip(patch0: np.ndarray, patch1: np.ndarray, color: Color) -> np.ndarray:
    """Return the earlier patch, the later patch and their difference in a colored border."""
    scale = max(1, _PATCH_SIZE // max(patch0.shape[:2]))
    patches = [patch0, patch1, difference_image(patch0, patch1)]
    strip = montage(patches, columns=3, gap=3, scale=scale)
    height, width = strip.shape[:2]
    return draw_boxes(strip, [(0, 0, width, height)], [color], thickness=3)


def _captions(selected: FrameChanges) -> list[str]:
    """Return a caption per block, such as ``one pixel (1, -1) 0.53`` or ``larger 0.97``."""
    captions = []
    for kind, (dx, dy), matched, score in zip(
        selected.kind.tolist(),
        selected.displacement.tolist(),
        selected.matched.tolist(),
        selected.score.tolist(),
        strict=True,
    ):
        motion = f" ({number(dx, 2)}, {number(dy, 2)})" if matched else ""
        captions.append(f"{Kind(kind).label.replace('_', ' ')}{motion} {score:.2f}")
    return captions
