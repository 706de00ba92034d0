"""Heat maps over an image."""

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import MIN_FONT_SCALE, draw_text, text_size
from patchmatch.io import to_rgb_uint8

_BAR, _GAP = 14, 6  # pixels: width of the color bar and of the margin around it
_REFERENCE_HEIGHT = 700  # pixels; on taller images the color bar is scaled up


def draw_heat(image: np.ndarray, heat: np.ndarray, max_heat: float | None = None) -> np.ndarray:
    """Overlay a heat map on the gray image, with a color bar on the right.

    Args:
        image: An image as from ``read_image``.
        heat: (H, W), at least 0, of the size of the image.
        max_heat: Value of the last color; None uses the maximum of ``heat``.

    Returns:
        ``(H, W + bar, 3)`` uint8.
    """
    drawn = to_rgb_uint8(image)
    height = drawn.shape[0]
    limit = max(float(heat.max()) if max_heat is None else max_heat, 1e-6)
    gray = cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)
    blended = 0.4 * gray[..., None] + 0.6 * _turbo(np.clip(heat / limit, 0, 1))
    factor = max(1.0, height / _REFERENCE_HEIGHT)
    size, bar, gap = MIN_FONT_SCALE * factor, round(_BAR * factor), round(_GAP * factor)
    ticks = [(level, f"{level * limit:.2f}") for level in (1.0, 0.5, 0.0)]
    text_width, text_height = (
        max(sides) for sides in zip(*(text_size(text, size) for _, text in ticks), strict=True)
    )
    panel = np.full((height, bar + 3 * gap + text_width, 3), 255, np.uint8)
    panel[:, gap : gap + bar] = _turbo(np.linspace(1, 0, height))[:, None]
    fitting = height // (text_height + 2)  # number of texts that do not overlap
    for level, text in ticks if fitting >= 3 else ticks[::2] if fitting == 2 else ticks[:1]:
        row = round((1 - level) * (height - 1) - text_height / 2)
        row = min(max(row, 1), height - text_height - 1)
        draw_text(panel, bar + 2 * gap, row, text, COLORS["black"], size)
    return np.concatenate([np.rint(blended).astype(np.uint8), panel], axis=1)


def _turbo(values: np.ndarray) -> np.ndarray:
    """Map values in [0, 1] to RGB: dark blue, green, dark red."""
    index = np.rint(255 * values).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_TURBO)
    return table.reshape(256, 3)[index][..., ::-1]
