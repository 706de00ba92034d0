"""What light, camera and things in between do to a picture, by chance."""

import cv2
import numpy as np

GAIN = (0.5, 1.8)  # of the exposure
GAMMA = (0.6, 1.7)
TINT = 0.15  # standard deviation of the logarithm of the gain of a colour
SHADOW = (0.35, 0.8)  # of the light that is left
BLUR = (0.4, 1.8)  # pixels
STREAK = (3, 9)  # pixels that a moving camera draws a point out to
NOISE = (1.0, 12.0)  # grey levels of 255
WEAK_NOISE = 1.5
OCCLUDER = (0.12, 0.35)  # of the side of an image
RIM = 2  # pixels around an occluder that blur and interpolation mix with it


def jitter_photometry(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return an image as some camera might give it in some light.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        share: How likely each is: gain with gamma, tint, shadow, blur, strong noise; there is
            always weak noise.
        rng: Where the chance comes from.
    """
    if rng.random() < share:
        image = _light(image, rng)
    if rng.random() < share:
        image = image * np.exp(rng.normal(0, TINT, 3)).astype(np.float32)
    if rng.random() < share:
        image = image * _shadow(image.shape[:2], rng)[..., None]
    if rng.random() < share:
        image = _blurred(image, rng)
    level = rng.uniform(*NOISE) if rng.random() < share else rng.uniform(0, WEAK_NOISE)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(level / 255)
    return (image + noise).clip(0, 1)


def occlude(
    image: np.ndarray, filling: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lay something over an image.

    Args:
        image: (H, W, 3) float32.
        filling: What the thing looks like, as large as the image.
        rng: Where the chance comes from.

    Returns:
        The image, and (H, W) bool, True where it still shows what it did, a rim left out.
    """
    height, width = image.shape[:2]
    axes = rng.uniform(*OCCLUDER, 2) * min(height, width) / 2
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * axes
    corners += rng.uniform(0, 1, 2) * [width, height]
    covered = np.zeros((height, width), np.uint8)
    cv2.fillPoly(covered, [cv2.convexHull(np.rint(corners).astype(np.int32))], 1)
    rim = cv2.dilate(covered, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))
    return np.where(covered[..., None] > 0, filling, image), rim == 0


def _light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change exposure and curve; what gets too bright is cut off."""
    gain = np.exp(rng.uniform(*np.log(GAIN)))
    gamma = np.exp(rng.uniform(*np.log(GAMMA)))
    return (image * np.float32(gain)).clip(0, 1) ** np.float32(gamma)


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the light (H, W) beside an edge of shadow, sharp or soft."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - rng.uniform(0, size[1])) * np.cos(angle)
    across = across + (y - rng.uniform(0, size[0])) * np.sin(angle)
    soft = rng.uniform(1, 30)
    left = rng.uniform(*SHADOW)
    light = left + (1 - left) * (0.5 + 0.5 * np.tanh(across / soft))
    return light.astype(np.float32)


def _blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put an image out of focus, or move it while it is taken."""
    if rng.random() < 0.7:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR))
    length = int(rng.integers(*STREAK))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    end = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    middle = (length - 1) / 2
    start, stop = (np.rint(middle + sign * end).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
