"""Color coding of optical flow: direction as hue, length as saturation."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import MIN_FONT_SCALE, draw_text, text_size
from patchmatch.io import to_gray_float

# Number of hues between red, yellow, green, cyan, blue, magenta and red, by perceptual distance:
# Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.
_STEPS = (15, 6, 4, 11, 13, 6)
_CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0))
_INVALID_BRIGHTNESS = 0.5  # of the image where the flow is not valid
_ALPHA = 0.75  # of the flow color over the image
_CHUNK_ROWS = 128  # intermediate arrays take ten times the memory of an image


def color_wheel() -> NDArray[np.float64]:
    """Return the 55 hues of the color wheel, (55, 3) RGB in [0, 1], starting with red."""
    hues = [
        np.linspace(start, end, steps, endpoint=False)
        for start, end, steps in zip(_CORNERS[:-1], _CORNERS[1:], _STEPS, strict=True)
    ]
    return np.concatenate(hues)


def flow_colors(flow: np.ndarray, max_flow: float) -> np.ndarray:
    """Map a flow to colors: white for zero, a full hue for ``max_flow``, darker beyond.

    Right is red, down yellow, left cyan to blue, up violet, as in the Middlebury benchmark.

    Args:
        flow: (H, W, 2), dx and dy in pixels; black where not finite.
        max_flow: Length in pixels of a full hue.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If ``flow`` is not (H, W, 2), or ``max_flow`` is not positive.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow must be (H, W, 2), got {flow.shape}")
    if not (max_flow > 0 and math.isfinite(max_flow)):
        raise ValueError(f"max_flow must be a positive number, got {max_flow}")
    known = np.isfinite(np.abs(flow).max(axis=2))
    scaled = np.where(known[..., None], flow, 0).astype(np.float64) / max_flow
    dx, dy = np.moveaxis(scaled + 0.0, 2, 0)  # + 0.0 turns -0 into 0, which has another angle
    wheel = color_wheel()
    position = (np.arctan2(-dy, -dx) / np.pi + 1) / 2 * (len(wheel) - 1)
    low = np.floor(position).astype(int)
    weight = (position - low)[..., None]
    hue = (1 - weight) * wheel[low] + weight * wheel[(low + 1) % len(wheel)]
    length = np.hypot(dx, dy)[..., None]
    color = np.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue)
    return np.floor(255 * np.where(known[..., None], color, 0)).astype(np.uint8)


def robust_max_flow(flow: np.ndarray, valid: np.ndarray) -> float:
    """Return the 99th percentile of the length of moving pixels, at least 1.

    Pixels that move by at most half a pixel are ignored, because most of an image may be static.

    Args:
        flow: (H, W, 2), dx and dy in pixels.
        valid: (H, W) bool, where the flow is valid.
    """
    length = np.hypot(*flow[valid].T)
    moving = length[length > 0.5]
    return max(1.0, float(np.percentile(moving, 99))) if moving.size else 1.0


def draw_flow(
    image: np.ndarray, flow: np.ndarray, valid: np.ndarray, max_flow: float | None = None
) -> np.ndarray:
    """Overlay the color-coded flow on an image, with the color wheel in the bottom right corner.

    Where the flow is not valid, the image is dark gray. The number below the wheel is the length
    in pixels of the full hues.

    Args:
        image: An image as from ``read_image``; not modified.
        flow: (H, W, 2), dx and dy in pixels, of the size of the image.
        valid: (H, W) bool, where the flow is valid.
        max_flow: Length in pixels of a full hue; None uses ``robust_max_flow``.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the sizes differ, or ``max_flow`` is not positive.
    """
    gray = to_gray_float(image)
    if flow.shape[:2] != gray.shape or valid.shape != gray.shape:
        raise ValueError(
            "flow and valid must have the size of the image, got "
            f"{flow.shape[:2]} and {valid.shape} for {gray.shape}"
        )
    valid = valid & np.isfinite(np.abs(flow).max(axis=2))
    limit = robust_max_flow(flow, valid) if max_flow is None else max_flow
    drawn = np.empty((*gray.shape, 3), np.uint8)
    for top in range(0, len(gray), _CHUNK_ROWS):
        rows = slice(top, top + _CHUNK_ROWS)
        known, background = valid[rows, :, None], gray[rows, :, None] * 255
        colors = flow_colors(np.where(known, flow[rows], 0), limit)
        blended = _ALPHA * colors + (1 - _ALPHA) * background
        drawn[rows] = np.rint(np.where(known, blended, _INVALID_BRIGHTNESS * background))
    _draw_legend(drawn, limit)
    return drawn


def _draw_legend(image: np.ndarray, max_flow: float) -> None:
    """Draw the color wheel and its scale into the corner if they fit, in place."""
    height, width = image.shape[:2]
    radius = max(16, min(height, width) // 14)
    text = f"{max_flow:.3g} px"
    size = max(MIN_FONT_SCALE, radius / 80)
    text_width, text_height = text_size(text, size)
    panel_width, panel_height = max(2 * radius, text_width) + 8, 2 * radius + text_height + 12
    if panel_width > width // 2 or panel_height > height // 2:
        return
    top, left = height - panel_height, width - panel_width
    image[top:, left:] = COLORS["white"]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1] / radius
    wheel = flow_colors(np.stack([x, y], axis=2) * 0.999, 1.0)
    disc = np.hypot(x, y) <= 1
    middle = left + panel_width // 2
    corner = image[top + 4 : top + 5 + 2 * radius, middle - radius : middle + radius + 1]
    corner[disc] = wheel[disc]
    cv2.circle(image, (middle, top + 4 + radius), radius, COLORS["black"], 1, cv2.LINE_AA)
    draw_text(
        image, middle - text_width // 2, height - text_height - 3, text, COLORS["black"], size
    )
