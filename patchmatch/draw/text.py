"""Short ASCII texts on pictures."""

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS, Color

SMALLEST = 0.4  # of OpenCV's font; smaller ones cannot be read
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_size(text: str, size: float) -> tuple[int, int]:
    """Return the width and height that a text takes, descenders included."""
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    return (width, height + below) if text else (0, 0)


def write(
    picture: np.ndarray, x: int, y: int, text: str, color: Color, size: float = SMALLEST
) -> None:
    """Write into ``picture``; (x, y) is the top-left corner of the text."""
    if text:
        (_, height), _ = cv2.getTextSize(text, _FONT, size, 1)
        weight = max(1, round(size))
        cv2.putText(picture, text, (x, y + height), _FONT, size, color, weight, cv2.LINE_AA)


def write_label(picture: np.ndarray, x: int, y: int, color: Color, text: str, size: float) -> None:
    """Write on a patch of the box's color, just above row ``y`` if there is room."""
    width, height = text_size(text, size)
    y = y - height - 2 if y >= height + 2 else y
    x = max(0, min(x, picture.shape[1] - width - 4))
    picture[y : y + height + 2, x : x + width + 4] = color
    is_light = 299 * color[0] + 587 * color[1] + 114 * color[2] > 128_000
    write(picture, x + 2, y + 1, text, COLORS["black" if is_light else "white"], size)
