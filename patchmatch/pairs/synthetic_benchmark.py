"""Synthetic image pairs with a known homography in which one factor changes."""

import math
from collections.abc import Callable

import cv2
import numpy as np

#: What changes from image 0 to image 1, and the amounts; the first one changes nothing.
FACTORS: dict[str, tuple[float, ...]] = {
    "rotation": (0, 15, 30, 45, 90, 180),  # degrees
    "scale": (1, 1.5, 2, 3, 4, 6),  # factor by which image 1 is smaller
    "tilt": (1, 1.41, 2, 2.83, 4, 5.66),  # factor of foreshortening by a tilted camera
    "light": (1, 0.7, 0.5, 0.3, 0.15),  # exposure, with a gamma curve and noise
}
TILT_DIRECTION = 30.0  # degrees from the x axis
BLUR = 0.8  # antialiasing blur as a multiple of sqrt(factor^2 - 1)
NOISE = 2.0  # standard deviation in gray levels, in both images


def warped_pair(
    image: np.ndarray, factor: str, amount: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a synthetic pair and its homography.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        factor: One of ``FACTORS``.
        amount: Amount of change, see ``FACTORS``.
        seed: Seed of the noise, which differs between the images.

    Returns:
        Image 0 and image 1 as uint8, and the homography (3, 3) from image 0 to image 1.

    Raises:
        ValueError: If the factor is unknown.
    """
    warps: dict[str, Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
        "rotation": _rotate,
        "scale": _scale,
        "tilt": _tilt,
        "light": _darken,
    }
    if factor not in warps:
        raise ValueError(f"factor must be one of {', '.join(warps)}, got {factor}")
    clean0 = image.astype(np.float32)
    clean1, homography = warps[factor](clean0, amount)
    rng = np.random.default_rng(seed)
    image0, image1 = (_add_noise(clean, rng) for clean in (clean0, clean1))
    return image0, image1, homography


def _scale(image: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    return _reduce(image, factor, factor)


def _tilt(image: np.ndarray, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    rotated, rotation = _rotate(image, TILT_DIRECTION)
    reduced, scaling = _reduce(rotated, tilt, 1.0)
    return reduced, scaling @ rotation


def _darken(image: np.ndarray, exposure: float) -> tuple[np.ndarray, np.ndarray]:
    curve = (image / 255 * exposure) ** (1 / (1 + 0.5 * (1 - exposure)))
    return 255 * curve, np.eye(3)


def _rotate(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate an image on a canvas that contains all of it."""
    height, width = image.shape[:2]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    corners = np.array([[x, y, 1] for x in (0, width - 1) for y in (0, height - 1)]) @ rotation.T
    low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    rotation[:2, 2] = -low
    size = tuple((np.rint(high - low).astype(int) + 1).tolist())
    return cv2.warpPerspective(image, rotation, size, flags=cv2.INTER_CUBIC), rotation


def _reduce(image: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide width and height by factors, with antialiasing."""
    sigmas = [max(0.01, BLUR * math.sqrt(factor**2 - 1)) for factor in (x, y)]
    blurred = cv2.GaussianBlur(image, (0, 0), sigmaX=sigmas[0], sigmaY=sigmas[1])
    scaling = np.diag([1 / x, 1 / y, 1])
    size = max(1, round(image.shape[1] / x)), max(1, round(image.shape[0] / y))
    return cv2.warpPerspective(blurred, scaling, size, flags=cv2.INTER_LINEAR), scaling


def _add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, NOISE, image.shape)
    return np.rint(image + noise).clip(0, 255).astype(np.uint8)
