"""Canvases that pairs are cut from: digits strewn over each other like fallen leaves.

A digit alone, centred on black as MNIST has it, gives its shift away in one frame: the network
learns where digits sit, not how frames match. So digits of many sizes are laid over each other at
any place, angle, brightness and opacity, and pairs are cut out of the heap at a random place.
Occluding leaves whose sizes follow a power law have the statistics of natural images (Lee,
Mumford and Huang, "Occlusion models for natural images", IJCV 2001).
"""

import cv2
import numpy as np

SIDE = 128  # of a canvas in pixels
INK = 20  # pixels that the strokes of a digit span in its 28x28 image
LARGEST = 120  # pixels that the strokes of the largest leaf span


def dead_leaves_images(digits: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Return canvases of digits, (SIDE, SIDE) float32 in [0, 1].

    One in five is plain, some digits of MNIST's own size and polarity that hardly touch; the
    others are heaps, most of them under a fine texture of tiny digits.

    Args:
        digits: (N, H, W) uint8, white on black.
        count: Number of canvases.
        seed: The same seed gives the same canvases.
    """
    rng = np.random.default_rng((seed, 1))
    return [_plain(digits, rng) if i % 5 == 0 else _heap(digits, rng) for i in range(count)]


def _plain(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), np.float32)
    step = int(rng.integers(22, 40))
    for y in range(step // 2, SIDE, step):
        for x in range(step // 2, SIDE, step):
            _lay(canvas, _pick(digits, rng), (x, y), INK * rng.uniform(0.8, 1.2), 0.0, 1.0, 1.0)
    return canvas


def _heap(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    canvas = np.full((SIDE, SIDE), rng.uniform(), np.float32)
    smallest = rng.choice([5, 8, 12, 16])
    count = int(np.exp(rng.uniform(np.log(30), np.log(200))))
    sizes = _power_law(rng, count, smallest)
    if rng.random() < 0.5:
        sizes = np.sort(sizes)[::-1]  # the small ones on top: no leaf buries them
    for size in sizes:
        place, turn = rng.uniform(-8, SIDE + 8, 2), rng.uniform(0, 2 * np.pi)
        _lay(canvas, _pick(digits, rng), place, size, turn, rng.uniform(), rng.uniform(0.3, 1))
    if rng.random() < 0.6:
        canvas += rng.uniform(0.05, 0.5) * _texture(digits, rng)
    return canvas


def _texture(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return tiny digits, black and white, on a ground of 0: grass to the eye of the network."""
    tile = np.full((SIDE // 2, SIDE // 2), 0.5, np.float32)
    size = rng.uniform(2, 8)
    for place in rng.uniform(0, len(tile), (int(0.6 * (len(tile) / size) ** 2), 2)):
        shade = float(rng.random() < 0.5)
        _lay(tile, _pick(digits, rng), place, size, rng.uniform(0, 2 * np.pi), shade, 1.0)
    row = np.hstack([tile, tile[:, ::-1]])
    return np.vstack([row, row[::-1]]) - 0.5


def _power_law(rng: np.random.Generator, count: int, smallest: float) -> np.ndarray:
    """Draw sizes with density proportional to size**-3, the exponent of natural scenes."""
    low, high = float(smallest) ** -2, float(LARGEST) ** -2
    return (low + rng.random(count) * (high - low)) ** -0.5


def _pick(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return digits[rng.integers(len(digits))]


def _lay(
    canvas: np.ndarray,
    digit: np.ndarray,
    place: tuple[float, float] | np.ndarray,
    size: float,
    turn: float,
    shade: float,
    opacity: float,
) -> None:
    """Paint a digit onto the canvas, its ink ``size`` pixels wide and of brightness ``shade``."""
    x, y = place
    reach = int(np.ceil(size * 28 / INK * 0.75)) + 1  # half a diagonal of the turned digit
    left, top = int(x) - reach, int(y) - reach
    x0, y0 = max(0, left), max(0, top)
    x1 = min(canvas.shape[1], left + 2 * reach + 1)
    y1 = min(canvas.shape[0], top + 2 * reach + 1)
    if x0 >= x1 or y0 >= y1:
        return
    scale = size / INK
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    centre = (digit.shape[1] - 1) / 2
    shift_x = x - x0 - (cos - sin) * centre
    shift_y = y - y0 - (sin + cos) * centre
    if scale < 0.5:  # a linear sampler would step over strokes
        digit = cv2.GaussianBlur(digit, (0, 0), 0.35 / scale)
    ink = cv2.warpAffine(
        digit, np.array([[cos, -sin, shift_x], [sin, cos, shift_y]]), (x1 - x0, y1 - y0)
    )
    part = canvas[y0:y1, x0:x1]
    part += (shade - part) * (ink.astype(np.float32) * (opacity / 255))
