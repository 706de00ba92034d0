"""Dead-leaves images of digits, the source of patches and textures.

A single digit, centred on black as in MNIST, reveals its shift in one frame: a network would learn
where digits are, not how frames match. A dead-leaves image is composed of overlapping digits of
random size, position, rotation, brightness and opacity. Occluding shapes whose sizes follow a power
law have the statistics of natural images (Lee, Mumford and Huang, "Occlusion models for natural
images", IJCV 2001).
"""

import cv2
import numpy as np

SIDE = 128  # of an image in pixels
DIGIT_SIZE = 20  # pixels: extent of the strokes of a digit in its 28x28 image
MAX_SIZE = 120  # pixels: extent of the strokes of the largest digit


def dead_leaves_images(digits: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Return images composed of digits, (SIDE, SIDE) float32, nominally in [0, 1].

    Every fifth image is a grid of digits of the size and polarity of MNIST. The others are
    dead-leaves images, most of them with an overlaid fine texture of tiny digits, which may exceed
    the range.

    Args:
        digits: (N, H, W) uint8, white on black.
        count: Number of images.
        seed: Random seed.
    """
    rng = np.random.default_rng((seed, 1))
    return [
        _digit_grid(digits, rng) if i % 5 == 0 else _dead_leaves(digits, rng) for i in range(count)
    ]


def _digit_grid(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((SIDE, SIDE), np.float32)
    step = int(rng.integers(22, 40))
    for y in range(step // 2, SIDE, step):
        for x in range(step // 2, SIDE, step):
            digit, size = _sample_digit(digits, rng), DIGIT_SIZE * rng.uniform(0.8, 1.2)
            _paint(image, digit, (x, y), size, 0.0, 1.0, 1.0)
    return image


def _dead_leaves(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.full((SIDE, SIDE), rng.uniform(), np.float32)
    smallest = rng.choice([5, 8, 12, 16])
    count = int(np.exp(rng.uniform(np.log(30), np.log(200))))
    sizes = _power_law(rng, count, smallest)
    if rng.random() < 0.5:
        sizes = np.sort(sizes)[::-1]  # small digits on top, so that they stay visible
    for size in sizes:
        centre, angle = rng.uniform(-8, SIDE + 8, 2), rng.uniform(0, 2 * np.pi)
        digit = _sample_digit(digits, rng)
        _paint(image, digit, centre, size, angle, rng.uniform(), rng.uniform(0.3, 1))
    if rng.random() < 0.6:
        image += rng.uniform(0.05, 0.5) * _texture(digits, rng)
    return image


def _texture(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a fine texture of mean 0: tiny digits, black and white, on gray."""
    tile = np.full((SIDE // 2, SIDE // 2), 0.5, np.float32)
    size = rng.uniform(2, 8)
    for centre in rng.uniform(0, len(tile), (int(0.6 * (len(tile) / size) ** 2), 2)):
        brightness = float(rng.random() < 0.5)
        digit = _sample_digit(digits, rng)
        _paint(tile, digit, centre, size, rng.uniform(0, 2 * np.pi), brightness, 1.0)
    row = np.hstack([tile, tile[:, ::-1]])
    return np.vstack([row, row[::-1]]) - 0.5


def _power_law(rng: np.random.Generator, count: int, smallest: float) -> np.ndarray:
    """Sample sizes with density proportional to size**-3, the exponent of natural scenes."""
    low, high = float(smallest) ** -2, float(MAX_SIZE) ** -2
    return (low + rng.random(count) * (high - low)) ** -0.5


def _sample_digit(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return digits[rng.integers(len(digits))]


def _paint(
    image: np.ndarray,
    digit: np.ndarray,
    centre: tuple[float, float] | np.ndarray,
    size: float,
    angle: float,
    brightness: float,
    opacity: float,
) -> None:
    """Paint a digit onto an image, in place; ``size`` is the extent of its strokes in pixels."""
    x, y = centre
    radius = int(np.ceil(size * 28 / DIGIT_SIZE * 0.75)) + 1  # half the diagonal of the digit
    left, top = int(x) - radius, int(y) - radius
    x0, y0 = max(0, left), max(0, top)
    x1 = min(image.shape[1], left + 2 * radius + 1)
    y1 = min(image.shape[0], top + 2 * radius + 1)
    if x0 >= x1 or y0 >= y1:
        return
    scale = size / DIGIT_SIZE
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (digit.shape[1] - 1) / 2
    shift_x = x - x0 - (cos - sin) * middle
    shift_y = y - y0 - (sin + cos) * middle
    if scale < 0.5:  # bilinear sampling would skip strokes
        digit = cv2.GaussianBlur(digit, (0, 0), 0.35 / scale)
    mask = cv2.warpAffine(
        digit, np.array([[cos, -sin, shift_x], [sin, cos, shift_y]]), (x1 - x0, y1 - y0)
    )
    region = image[y0:y1, x0:x1]
    region += (brightness - region) * (mask.astype(np.float32) * (opacity / 255))
