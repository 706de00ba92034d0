"""Heat maps over a picture, with their colour scale."""

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS
from patchmatch.draw.text import text_size, write
from patchmatch.io import to_rgb_uint8

_BAR = 14  # pixels: width of the scale
_GAP = 6


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
    texts = [(place, f"{place * top:.2f}") for place in (1.0, 0.5, 0.0)]
    wide = max(text_size(text, 0.4)[0] for _, text in texts)
    scale = np.full((height, _BAR + 3 * _GAP + wide, 3), 255, np.uint8)
    scale[:, _GAP : _GAP + _BAR] = _colors(np.linspace(1, 0, height))[:, None]
    for place, text in texts:
        high = text_size(text, 0.4)[1]
        row = round((1 - place) * (height - 1) - high / 2)
        write(scale, _BAR + 2 * _GAP, min(max(row, 1), height - high - 1), text, COLORS["black"])
    return np.concatenate([np.rint(mixed).astype(np.uint8), scale], axis=1)


def _colors(share: np.ndarray) -> np.ndarray:
    """Return RGB colors of values in [0, 1], from dark blue through green to dark red."""
    index = np.rint(255 * share).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_TURBO)
    return table.reshape(256, 3)[index][..., ::-1]
