"""Color maps of costs."""

import math

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import MIN_FONT_SCALE, draw_text, text_size

_BAR, _GAP = 12, 6  # pixels: width of the color bar, and white margin around it
_UNKNOWN_COLOR = (128, 128, 128)


def cost_colors(cost: np.ndarray, max_cost: float) -> np.ndarray:
    """Map costs to colors: black for 0, then violet, red, orange, and pale yellow for ``max_cost``.

    Args:
        cost: (H, W), clipped to ``max_cost``; values that are not finite become gray.
        max_cost: Cost of the lightest color.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If ``cost`` is not (H, W), or ``max_cost`` is not positive.
    """
    if cost.ndim != 2:
        raise ValueError(f"cost must be (H, W), got {cost.shape}")
    if not (max_cost > 0 and math.isfinite(max_cost)):
        raise ValueError(f"max_cost must be a positive number, got {max_cost}")
    known = np.isfinite(cost)
    level = np.where(known, cost, 0) / max_cost
    level = np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    colors[~known] = _UNKNOWN_COLOR
    return colors


def robust_max_cost(cost: np.ndarray) -> float:
    """Return the 99th percentile of the finite costs; 1 if no cost is above 0."""
    known = cost[np.isfinite(cost)]
    highest = float(np.percentile(known, 99)) if known.size else 0.0
    if highest <= 0 and known.size:
        highest = float(known.max())
    return highest if highest > 0 else 1.0


def draw_cost(cost: np.ndarray, max_cost: float | None = None) -> np.ndarray:
    """Draw a cost map with a color bar on its right.

    Args:
        cost: (H, W), lower is better; not finite where no match was searched.
        max_cost: Cost of the lightest color; None uses ``robust_max_cost``.

    Returns:
        ``(H, W + bar, 3)`` uint8; pixel (x, y) shows ``cost[y, x]``.
    """
    limit = robust_max_cost(cost) if max_cost is None else max_cost
    colors = cost_colors(cost, limit)
    height = len(colors)
    texts = (f"{limit:.3g}", "0")
    sizes = [text_size(text, MIN_FONT_SCALE) for text in texts]
    strip = np.full((height, 2 * _GAP + _BAR + max(size[0] for size in sizes), 3), 255, np.uint8)
    ramp = np.linspace(limit, 0, height)[:, None].repeat(_BAR, axis=1)
    strip[:, _GAP : _GAP + _BAR] = cost_colors(ramp, limit)
    left = _GAP + _BAR + 2
    draw_text(strip, left, 1, texts[0], COLORS["black"])
    if height > 3 * sizes[0][1]:
        draw_text(strip, left, height - sizes[1][1] - 1, texts[1], COLORS["black"])
    return np.concatenate([colors, strip], axis=1)
