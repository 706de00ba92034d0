"""ASCII text on images: the font has no other characters."""

import unicodedata

import cv2
import numpy as np

from patchmatch.draw.colors import COLORS, Color

MIN_FONT_SCALE = 0.4  # of OpenCV; smaller text is not legible
_KEPT_AT_END = 12  # characters: a score and an angle
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_size(text: str, size: float) -> tuple[int, int]:
    """Return width and height of a text in pixels, including descenders."""
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    return (width, height + below) if text else (0, 0)


def draw_text(
    image: np.ndarray, x: int, y: int, text: str, color: Color, size: float = MIN_FONT_SCALE
) -> None:
    """Draw text in place; (x, y) is its top-left corner, ``size`` the font scale of OpenCV."""
    if text:
        (_, height), _ = cv2.getTextSize(text, _FONT, size, 1)
        weight = max(1, round(size))
        cv2.putText(image, text, (x, y + height), _FONT, size, color, weight, cv2.LINE_AA)


def to_ascii(text: str, fallback: str) -> str:
    """Return text without accents, or ``fallback`` if that is not ASCII."""
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain if plain.isascii() and plain.isprintable() else fallback


def draw_label(image: np.ndarray, x: int, y: int, color: Color, text: str, size: float) -> None:
    """Draw text on a filled rectangle, in place; above row ``y`` if there is space, else below.

    Text that is wider than the image is shortened in the middle: a label often ends in a score.
    """
    text = _elide(text, image.shape[1] - 4, size)
    width, height = text_size(text, size)
    y = y - height - 2 if y >= height + 2 else y
    x = max(0, min(x, image.shape[1] - width - 4))
    image[y : y + height + 2, x : x + width + 4] = color
    is_light = 299 * color[0] + 587 * color[1] + 114 * color[2] > 128_000
    draw_text(image, x + 2, y + 1, text, COLORS["black" if is_light else "white"], size)


def _elide(text: str, width: int, size: float) -> str:
    """Return the start and the end of a text that fits into a width in pixels."""
    kept = len(text)
    shown = text
    while kept and text_size(shown, size)[0] > width:
        kept -= 1
        start = max(0, kept - _KEPT_AT_END)
        shown = f"{text[:start]}..{text[len(text) - (kept - start) :]}"
    return shown if kept else ""
