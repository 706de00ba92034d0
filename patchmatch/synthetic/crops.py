"""What a view shows of a picture: which place, how large, how turned; and how it is read there."""

from typing import NamedTuple

import cv2
import numpy as np

SCALE = (0.6, 1.4)  # pixels of the picture in a pixel of a view
UPSAMPLING = 4  # by how much pictures are, whose places must be exact
TURN = 0.3  # radians: standard deviation of a rotation


class Crop(NamedTuple):
    """A picture, and the square of it that a view shows.

    Attributes:
        picture: (H, W, 3) float32 in [0, 1], turned by quarters and mirrored by chance.
        scale: Pixels of the picture in a pixel of the view.
        matrix: (2, 2), from pixels of the view to those of the picture, the scale included.
        centre: x and y in the picture of the middle of the view.
    """

    picture: np.ndarray
    scale: float
    matrix: np.ndarray
    centre: np.ndarray


def sample_crop(picture: np.ndarray, side: int, rng: np.random.Generator) -> Crop:
    """Draw a place of a picture, inside it where there is room.

    Args:
        picture: (H, W, 3) uint8.
        side: Of the view in pixels.
        rng: Where the chance comes from.
    """
    picture = np.rot90(picture, int(rng.integers(4)))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    picture = np.ascontiguousarray(picture, np.float32) / 255
    scale = rng.uniform(*SCALE)
    matrix = scale * rotation(rng.normal(0, TURN))
    size = np.array(picture.shape[1::-1])
    room = np.maximum(size - scale * side, 0)
    centre = (size - room) / 2 + rng.uniform(0, 1, 2) * room
    return Crop(picture, scale, matrix, centre)


def rotation(angle: float) -> np.ndarray:
    """Return the matrix (2, 2) that turns points by an angle in radians, x towards y."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def antialias(picture: np.ndarray, scale: float) -> np.ndarray:
    """Return a picture fit to be read at every ``scale``-th pixel: a sampler alone would alias."""
    return cv2.GaussianBlur(picture, (0, 0), scale / 2) if scale > 1 else picture


def upsample(picture: np.ndarray) -> np.ndarray:
    """Return a picture with ``UPSAMPLING`` times as many pixels each way, to be read linearly.

    OpenCV's cubic sampler moves what is smooth by up to 0.048 pixels, by where between two pixels
    it is read: too far for truth of which matchers learn hundredths. The cosine transform moves
    nothing, and between pixels a quarter as far apart a line is near enough.

    Args:
        picture: (H, W) float32. Of odd sides the last pixels are there twice.

    Returns:
        (4 H, 4 W) float32; place x of the picture is ``4 x + 1.5`` of it.
    """
    picture = np.pad(picture, [(0, side % 2) for side in picture.shape], mode="edge")
    height, width = picture.shape
    waves = np.zeros((UPSAMPLING * height, UPSAMPLING * width), np.float32)
    waves[:height, :width] = UPSAMPLING * cv2.dct(picture)
    return cv2.idct(waves)


def sample_bicubic(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return what a picture shows at places between its pixels; beyond its border it is mirrored.

    Args:
        picture: (H, W, 3) float32 in [0, 1].
        places: (h, w, 2), x and y.

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).clip(0, 1)
