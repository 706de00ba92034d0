"""Random crops of images, antialiasing, upsampling and bicubic sampling."""

from typing import NamedTuple

import cv2
import numpy as np

SCALE = (0.6, 1.4)  # image pixels per view pixel
UPSAMPLING = 4  # factor of ``upsample``
ROTATION = 0.3  # radians: standard deviation of the rotation of a crop


class Crop(NamedTuple):
    """An image and the rotated square of it that a view shows.

    Attributes:
        image: (H, W, 3) float32 in [0, 1], randomly rotated by 90 degrees and flipped.
        scale: Image pixels per view pixel.
        matrix: (2, 2), from view pixels to image pixels, scale included.
        centre: x and y of the centre of the view in the image.
    """

    image: np.ndarray
    scale: float
    matrix: np.ndarray
    centre: np.ndarray


def sample_crop(image: np.ndarray, side: int, rng: np.random.Generator) -> Crop:
    """Sample a random crop, inside the image where the image is large enough.

    Args:
        image: (H, W, 3) uint8.
        side: Side of the view in pixels.
        rng: Random generator.
    """
    image = np.rot90(image, int(rng.integers(4)))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = np.ascontiguousarray(image, np.float32) / 255
    scale = rng.uniform(*SCALE)
    matrix = scale * rotation(rng.normal(0, ROTATION))
    size = np.array(image.shape[1::-1])
    room = np.maximum(size - scale * side, 0)
    centre = (size - room) / 2 + rng.uniform(0, 1, 2) * room
    return Crop(image, scale, matrix, centre)


def rotation(angle: float) -> np.ndarray:
    """Return the matrix (2, 2) that rotates points by ``angle`` in radians, from x towards y."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def antialias(image: np.ndarray, scale: float) -> np.ndarray:
    """Return an image blurred for sampling at every ``scale``-th pixel; unchanged up to 1."""
    return cv2.GaussianBlur(image, (0, 0), scale / 2) if scale > 1 else image


def upsample(image: np.ndarray) -> np.ndarray:
    """Upsample an image ``UPSAMPLING`` times by the discrete cosine transform.

    For subpixel-exact ground truth. OpenCV's bicubic sampler displaces smooth content by up to
    0.048 pixels, depending on the subpixel position. The cosine transform displaces nothing, and
    bilinear sampling of its result is accurate enough.

    Args:
        image: (H, W) float32. The last row or column of an odd side is repeated.

    Returns:
        (4 H, 4 W) float32; position x of the image is at ``4 x + 1.5``.
    """
    image = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    height, width = image.shape
    spectrum = np.zeros((UPSAMPLING * height, UPSAMPLING * width), np.float32)
    spectrum[:height, :width] = UPSAMPLING * cv2.dct(image)
    return cv2.idct(spectrum)


def sample_bicubic(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Sample an image at subpixel positions, mirrored beyond its border.

    Args:
        image: (H, W, 3) float32 in [0, 1].
        points: (h, w, 2), x and y.

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    x, y = np.moveaxis(points.astype(np.float32), -1, 0)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).clip(0, 1)
