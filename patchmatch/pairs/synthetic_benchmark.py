"""Pairs of pictures that make themselves: one factor changes, and the homography is known."""

import math
from collections.abc import Callable

import cv2
import numpy as np

#: What changes from image 0 to image 1, and by how much; the first amount changes nothing.
FACTORS: dict[str, tuple[float, ...]] = {
    "rotation": (0, 15, 30, 45, 90, 180),  # degrees
    "scale": (1, 1.5, 2, 3, 4, 6),  # image 1 is smaller by that
    "tilt": (1, 1.41, 2, 2.83, 4, 5.66),  # foreshortening, as seen from the side
    "light": (1, 0.7, 0.5, 0.3, 0.15),  # exposure, with a curve and noise of the camera
}
DIRECTION = 30.0  # degrees from the x axis along which a tilted picture is foreshortened
BLUR = 0.8  # of sqrt(factor^2 - 1): the optics that a reduction stands for
NOISE = 2.0  # grey levels, in both pictures


def warped_pair(
    picture: np.ndarray, factor: str, amount: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture, what becomes of it, and the homography between them.

    Args:
        picture: (H, W, 3) or (H, W) uint8.
        factor: One of ``FACTORS``.
        amount: How much, see ``FACTORS``.
        seed: Of the noise, which is another one in each picture.

    Returns:
        Image 0 and image 1 as uint8, and (3, 3) from points of image 0 to image 1.

    Raises:
        ValueError: If the factor is unknown.
    """
    warps: dict[str, Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
        "rotation": _rotated,
        "scale": _scaled,
        "tilt": _tilted,
        "light": _darkened,
    }
    if factor not in warps:
        raise ValueError(f"factor must be one of {', '.join(warps)}, got {factor}")
    warped, homography = warps[factor](picture.astype(np.float32), amount)
    rng = np.random.default_rng(seed)
    noisy = [_noisy(image, rng) for image in (picture.astype(np.float32), warped)]
    return noisy[0], noisy[1], homography


def _rotated(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    return _turned(picture, degrees)


def _scaled(picture: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    return _squeezed(picture, factor, factor)


def _tilted(picture: np.ndarray, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    turned, rotation = _turned(picture, DIRECTION)
    squeezed, scaling = _squeezed(turned, tilt, 1.0)
    return squeezed, scaling @ rotation


def _darkened(picture: np.ndarray, exposure: float) -> tuple[np.ndarray, np.ndarray]:
    curve = (picture / 255 * exposure) ** (1 / (1 + 0.5 * (1 - exposure)))
    return 255 * curve, np.eye(3)


def _turned(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn a picture on a canvas that holds all of it."""
    height, width = picture.shape[:2]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    corners = np.array([[x, y, 1] for x in (0, width - 1) for y in (0, height - 1)]) @ rotation.T
    low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    rotation[:2, 2] = -low
    size = tuple((np.rint(high - low).astype(int) + 1).tolist())
    return cv2.warpPerspective(picture, rotation, size, flags=cv2.INTER_CUBIC), rotation


def _squeezed(picture: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide width and height by factors, blurred as optics would."""
    sigmas = [max(0.01, BLUR * math.sqrt(factor**2 - 1)) for factor in (x, y)]
    blurred = cv2.GaussianBlur(picture, (0, 0), sigmaX=sigmas[0], sigmaY=sigmas[1])
    scaling = np.diag([1 / x, 1 / y, 1])
    size = max(1, round(picture.shape[1] / x)), max(1, round(picture.shape[0] / y))
    return cv2.warpPerspective(blurred, scaling, size, flags=cv2.INTER_LINEAR), scaling


def _noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, NOISE, picture.shape)
    return np.rint(picture + noise).clip(0, 255).astype(np.uint8)
