"""Heat maps over a picture, with their colour scale."""

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import SMALLEST, text_size, write
from patchmatch.io import to_rgb_uint8

_BAR, _GAP = 14, 6  # pixels: width of the scale and of the space around it
_USUAL = 700  # pixels: in higher pictures the scale is as much larger


def draw_heat(picture: np.ndarray, heat: np.ndarray, highest: float | None = None) -> np.ndarray:
    """Draw a map of values over a gray picture, with its colour scale on the right.

    Args:
        picture: As ``read_image`` returns it.
        heat: (H, W) float of the same size, at least 0.
        highest: Value of the last color; None takes the highest of the map.

    Returns:
        (H, W and the scale, 3) uint8 RGB.
    """
    drawn = to_rgb_uint8(picture)
    height = drawn.shape[0]
    top = max(float(heat.max()) if highest is None else highest, 1e-6)
    gray = cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)
    share = np.clip(heat / top, 0, 1)
    mixed = 0.4 * gray[..., None] + 0.6 * _colors(share)
    larger = max(1.0, height / _USUAL)
    size, bar, gap = SMALLEST * larger, round(_BAR * larger), round(_GAP * larger)
    texts = [(place, f"{place * top:.2f}") for place in (1.0, 0.5, 0.0)]
    wide, high = (max(sides) for sides in zip(*(text_size(t, size) for _, t in texts), strict=True))
    scale = np.full((height, bar + 3 * gap + wide, 3), 255, np.uint8)
    scale[:, gap : gap + bar] = _colors(np.linspace(1, 0, height))[:, None]
    room = height // (high + 2)  # texts that do not touch each other
    for place, text in texts if room >= 3 else texts[::2] if room == 2 else texts[:1]:
        row = round((1 - place) * (height - 1) - high / 2)
        row = min(max(row, 1), height - high - 1)
        write(scale, bar + 2 * gap, row, text, COLORS["black"], size)
    return np.concatenate([np.rint(mixed).astype(np.uint8), scale], axis=1)


def _colors(share: np.ndarray) -> np.ndarray:
    """Return RGB colors of values in [0, 1], from dark blue through green to dark red."""
    index = np.rint(255 * share).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_TURBO)
    return table.reshape(256, 3)[index][..., ::-1]
