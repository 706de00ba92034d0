"""Costs as colors, beside their scale."""

import math

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import SMALLEST, text_size, write

_BAR, _GAP = 12, 6  # pixels: width of the scale, and white around it
_UNKNOWN = (128, 128, 128)


def cost_colors(cost: np.ndarray, max_cost: float) -> np.ndarray:
    """Color costs from black (0) over violet, red and orange to pale yellow (``max_cost``).

    Args:
        cost: (H, W); more than ``max_cost`` is drawn as that, what is not finite becomes gray.
        max_cost: What is drawn as the lightest color.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If the cost has another shape, or ``max_cost`` is not positive.
    """
    if cost.ndim != 2:
        raise ValueError(f"cost must be (H, W), got {cost.shape}")
    if not (max_cost > 0 and math.isfinite(max_cost)):
        raise ValueError(f"max_cost must be a positive number, got {max_cost}")
    known = np.isfinite(cost)
    level = np.where(known, cost, 0) / max_cost
    level = np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    colors[~known] = _UNKNOWN
    return colors


def robust_max_cost(cost: np.ndarray) -> float:
    """Return the cost that 99 of 100 finite ones do not exceed; 1 where none is above 0."""
    known = cost[np.isfinite(cost)]
    highest = float(np.percentile(known, 99)) if known.size else 0.0
    if highest <= 0 and known.size:
        highest = float(known.max())
    return highest if highest > 0 else 1.0


def draw_cost(cost: np.ndarray, max_cost: float | None = None) -> np.ndarray:
    """Draw costs, with their scale in a white strip on the right.

    Args:
        cost: (H, W), lower is better; what is not finite was not sought.
        max_cost: What is drawn as the lightest color; None takes ``robust_max_cost``.

    Returns:
        ``(H, W + strip, 3)`` uint8; the pixels of the costs are where they were.
    """
    full = robust_max_cost(cost) if max_cost is None else max_cost
    colors = cost_colors(cost, full)
    height = len(colors)
    texts = (f"{full:.3g}", "0")
    sizes = [text_size(text, SMALLEST) for text in texts]
    strip = np.full((height, 2 * _GAP + _BAR + max(size[0] for size in sizes), 3), 255, np.uint8)
    ramp = np.linspace(full, 0, height)[:, None].repeat(_BAR, axis=1)
    strip[:, _GAP : _GAP + _BAR] = cost_colors(ramp, full)
    left = _GAP + _BAR + 2
    write(strip, left, 1, texts[0], COLORS["black"])
    if height > 3 * sizes[0][1]:
        write(strip, left, height - sizes[1][1] - 1, texts[1], COLORS["black"])
    return np.concatenate([colors, strip], axis=1)
