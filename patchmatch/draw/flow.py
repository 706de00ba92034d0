"""Flow as colors: the direction is the hue, the length the saturation."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import SMALLEST, text_size, write
from patchmatch.io import to_gray_float

# Hues from red over yellow, green, cyan, blue and magenta to red, as many steps each as the eye
# tells apart: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.
_STEPS = (15, 6, 4, 11, 13, 6)
_CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0))
_DIMMED = 0.5  # brightness of the picture where no flow is known
_SHARE = 0.75  # of the color, where the picture shows through
_ROWS = 128  # drawn at once: what is computed on the way takes ten times the memory of a picture


def color_wheel() -> NDArray[np.float64]:
    """Return the 55 hues of the wheel, (55, 3) RGB in [0, 1]; the first is red."""
    hues = [
        np.linspace(start, end, steps, endpoint=False)
        for start, end, steps in zip(_CORNERS[:-1], _CORNERS[1:], _STEPS, strict=True)
    ]
    return np.concatenate(hues)


def flow_colors(flow: np.ndarray, max_flow: float) -> np.ndarray:
    """Color a flow: no motion is white, ``max_flow`` is a full hue, more is that hue darkened.

    Right is red, down yellow, left cyan to blue, up violet, as in the figures of the Middlebury
    benchmark.

    Args:
        flow: (H, W, 2), dx and dy in pixels; what is not finite becomes black.
        max_flow: Length in pixels that is drawn as a full hue.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the flow has another shape, or ``max_flow`` is not positive.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow must be (H, W, 2), got {flow.shape}")
    if not (max_flow > 0 and math.isfinite(max_flow)):
        raise ValueError(f"max_flow must be a positive number, got {max_flow}")
    known = np.isfinite(np.abs(flow).max(axis=2))
    scaled = np.where(known[..., None], flow, 0).astype(np.float64) / max_flow
    dx, dy = np.moveaxis(scaled + 0.0, 2, 0)  # + 0.0 turns -0 into 0: its angle is another one
    wheel = color_wheel()
    place = (np.arctan2(-dy, -dx) / np.pi + 1) / 2 * (len(wheel) - 1)
    low = np.floor(place).astype(int)
    part = (place - low)[..., None]
    hue = (1 - part) * wheel[low] + part * wheel[(low + 1) % len(wheel)]
    length = np.hypot(dx, dy)[..., None]
    color = np.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue)
    return np.floor(255 * np.where(known[..., None], color, 0)).astype(np.uint8)


def robust_max_flow(flow: np.ndarray, valid: np.ndarray) -> float:
    """Return the length that 99 of 100 moving pixels do not exceed, and at least one pixel.

    Moving is more than half a pixel: most of a picture may stand still.

    Args:
        flow: (H, W, 2), dx and dy in pixels.
        valid: (H, W) bool, which of them are known.
    """
    length = np.hypot(*flow[valid].T)
    moving = length[length > 0.5]
    return max(1.0, float(np.percentile(moving, 99))) if moving.size else 1.0


def draw_flow(
    picture: np.ndarray, flow: np.ndarray, valid: np.ndarray, max_flow: float | None = None
) -> np.ndarray:
    """Lay the colors of a flow over a picture, with their wheel in the bottom right corner.

    The picture shines through; where no flow is known it is dimmed and gray. The number beside
    the wheel is the length in pixels of its rim.

    Args:
        picture: As ``read_image`` returns it; it stays as it is.
        flow: (H, W, 2), dx and dy in pixels, as large as the picture.
        valid: (H, W) bool, where the flow is known.
        max_flow: Length in pixels that is drawn as a full hue; None takes ``robust_max_flow``.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the sizes differ, or ``max_flow`` is not positive.
    """
    gray = to_gray_float(picture)
    if flow.shape[:2] != gray.shape or valid.shape != gray.shape:
        raise ValueError(
            "flow and valid must be as large as the picture, got "
            f"{flow.shape[:2]} and {valid.shape} for {gray.shape}"
        )
    valid = valid & np.isfinite(np.abs(flow).max(axis=2))
    full = robust_max_flow(flow, valid) if max_flow is None else max_flow
    drawn = np.empty((*gray.shape, 3), np.uint8)
    for top in range(0, len(gray), _ROWS):
        rows = slice(top, top + _ROWS)
        known, light = valid[rows, :, None], gray[rows, :, None] * 255
        colors = flow_colors(np.where(known, flow[rows], 0), full)
        mixed = np.where(known, _SHARE * colors + (1 - _SHARE) * light, _DIMMED * light)
        drawn[rows] = np.rint(mixed)
    _draw_legend(drawn, full)
    return drawn


def _draw_legend(picture: np.ndarray, max_flow: float) -> None:
    """Draw the wheel and the length of its rim into the corner, where they fit."""
    height, width = picture.shape[:2]
    radius = max(16, min(height, width) // 14)
    text = f"{max_flow:.3g} px"
    size = max(SMALLEST, radius / 80)
    text_width, text_height = text_size(text, size)
    panel_width, panel_height = max(2 * radius, text_width) + 8, 2 * radius + text_height + 12
    if panel_width > width // 2 or panel_height > height // 2:
        return
    top, left = height - panel_height, width - panel_width
    picture[top:, left:] = COLORS["white"]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1] / radius
    wheel = flow_colors(np.stack([x, y], axis=2) * 0.999, 1.0)
    disc = np.hypot(x, y) <= 1
    middle = left + panel_width // 2
    corner = picture[top + 4 : top + 5 + 2 * radius, middle - radius : middle + radius + 1]
    corner[disc] = wheel[disc]
    cv2.circle(picture, (middle, top + 4 + radius), radius, COLORS["black"], 1, cv2.LINE_AA)
    write(picture, middle - text_width // 2, height - text_height - 3, text, COLORS["black"], size)
