"""Generated stereo pairs: layers of slanted planes with exact disparity and occlusion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patchmatch.synthetic.photometry import jitter_photometry

SLANT = 0.12  # largest change of the disparity per pixel, of objects
THIN = 0.25  # probability that an object is a bar a few pixels wide
SMALLEST_RANGE = 0.3  # of the largest disparity
FLOOR, WAVES = 0.2, 0.35  # probabilities of a background with a floor, of a curved surface
REPEATED, PLAIN = 0.12, 0.12  # probabilities that a texture is a repeated tile, a plain wall


@dataclass(frozen=True, kw_only=True)
class StereoScene:
    """A generated pair; pixel (y, x) of image 0 is pixel (y, x - disparity) of image 1.

    Attributes:
        image0: Left image, (H, W, 3) float32 RGB in [0, 1].
        image1: Right image, of the same shape.
        disparity: (H, W) float32 in pixels.
        visible: (H, W) bool, False where a pixel is occluded or outside image 1.
    """

    image0: np.ndarray
    image1: np.ndarray
    disparity: np.ndarray
    visible: np.ndarray


def sample_scene(
    textures: Sequence[np.ndarray],
    size: tuple[int, int],
    max_disparity: float,
    share: float,
    rng: np.random.Generator,
) -> StereoScene:
    """Generate a pair: a background plane, and slanted objects in front of it.

    Args:
        textures: (H, W, 3) uint8 RGB images.
        size: Height and width of the pair.
        max_disparity: Largest disparity in pixels.
        share: Probability of each photometric change of an image, see ``jitter_photometry``.
        rng: Random generator.
    """
    height, width = size
    images = [np.zeros((height, width, 3), np.float32) for _ in range(2)]
    layers = [np.zeros((height, width), np.int32) for _ in range(2)]
    disparity = np.zeros((height, width), np.float32)
    max_disparity *= float(np.exp(rng.uniform(np.log(SMALLEST_RANGE), 0)))
    far = rng.uniform(0.02, 0.4) * max_disparity
    nearest = rng.uniform(0.5, 1.0) * max_disparity
    offsets = np.sort(rng.uniform(far, nearest, int(rng.integers(4, 18))))
    for index, offset in enumerate([far, *offsets]):
        mask = np.ones((height, 2 * width), np.uint8) if index == 0 else _shape(size, rng)
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            continue
        rows = slice(int(rows[0]), int(rows[-1]) + 1)
        y, x = np.mgrid[rows, :width].astype(np.float32)
        line = y[:, :1]
        surface = _sample_surface(float(offset), size, max_disparity, index == 0, rng)
        texture = _sample_texture(textures, (len(y), 2 * width), index > 0, rng)
        x1 = x  # column of image 0 that is seen at x in image 1, by iteration
        for _ in range(6):
            x1 = x + surface(x1, line)
        for view, column in enumerate((x, x1)):
            # the canvas reaches half a width beyond both sides of image 0
            column = (column + width / 2).astype(np.float32)
            row = y - rows.start
            seen = cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            seen = seen.astype(np.float32) / 255
            if index == 0:
                images[view][rows] = seen
                continue
            alpha = cv2.remap(255 * mask[rows], column, row, cv2.INTER_LINEAR)
            alpha = alpha.astype(np.float32) / 255
            images[view][rows] += (seen - images[view][rows]) * alpha[..., None]
            layers[view][rows][alpha > 0.5] = index
        own = layers[0][rows] == index
        disparity[rows][own] = surface(x, line)[own]
    x = np.arange(width, dtype=np.float32)
    matched = x - disparity
    column = np.rint(matched).astype(int).clip(0, width - 1)
    same = np.take_along_axis(layers[1], column, axis=1) == layers[0]
    visible = same & (matched >= 0)
    images = [jitter_photometry(i.clip(0, 1), share, rng).astype(np.float32) for i in images]
    return StereoScene(image0=images[0], image1=images[1], disparity=disparity, visible=visible)


def _sample_surface(
    offset: float,
    size: tuple[int, int],
    max_disparity: float,
    background: bool,
    rng: np.random.Generator,
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the disparity as a function of x and y: a plane, some with waves, some a floor."""
    a, b, c = _sample_plane(offset, size, max_disparity, background, rng)
    height, width = size
    if background and rng.random() < FLOOR:
        horizon, slope = float(rng.uniform(0.2, 0.7) * height), rng.uniform(0.3, 0.9) / height
        near = float(slope * max_disparity)

        def floor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return offset + near * np.maximum(y - horizon, 0) + 0 * x

        return floor
    amplitude = 0.0
    if rng.random() < WAVES:
        amplitude = rng.uniform(0.1, 0.5) * min(offset, max_disparity - offset)
    length = rng.uniform(0.15, 0.8, 2) * width
    amplitude = min(amplitude, 0.25 * float(length.min()) / (2 * np.pi))

    kx, ky = (2 * np.pi / length).tolist()
    px, py = rng.uniform(0, 2 * np.pi, 2).tolist()
    amplitude = float(amplitude)

    def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        plane = a + c * y + b * x
        if amplitude:
            plane = plane + (amplitude * np.sin(ky * y + py)) * np.sin(kx * x + px)
        return np.clip(plane, 0, max_disparity)

    return wave


def _sample_plane(
    offset: float,
    size: tuple[int, int],
    max_disparity: float,
    background: bool,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Return a, b, c of the disparity a + b x + c y, which stays within the range."""
    height, width = size
    room = min(offset, max_disparity - offset)
    slant = 0.0 if rng.random() < 0.3 else SLANT
    b, c = rng.uniform(-slant, slant, 2)
    centre = (width / 2, height / 2) if background else rng.uniform(0, 1, 2) * [width, height]
    reach = abs(b) * width + abs(c) * height
    shrink = min(1.0, room / max(reach, 1e-6))
    b, c = b * shrink, c * shrink
    a = offset - b * centre[0] - c * centre[1]
    return float(a), float(b), float(c)


def _shape(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the mask of an object on the canvas, (H, 2 W) uint8, 0 or 1."""
    height, width = size
    mask = np.zeros((height, 2 * width), np.uint8)
    centre = rng.uniform(0, 1, 2) * [1.2 * width, height] + [0.4 * width, 0]
    angle = rng.uniform(0, 180)
    if rng.random() < THIN:
        axes = np.array([rng.uniform(0.3, 1.0) * height, rng.uniform(2, 8)])
        box = cv2.boxPoints((centre.tolist(), axes.tolist(), angle))
        cv2.fillPoly(mask, [np.rint(box).astype(np.int32)], 1)
    elif rng.random() < 0.5:
        axes = rng.uniform(0.06, 0.4, 2) * height
        cv2.ellipse(mask, (centre.tolist(), (2 * axes).tolist(), angle), 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 10))))
        radius = rng.uniform(0.1, 0.5, len(angles)) * height
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] + centre
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask


def _sample_texture(
    textures: Sequence[np.ndarray],
    size: tuple[int, int],
    may_repeat: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return a random texture, (H, W, 3) uint8."""
    image = textures[int(rng.integers(len(textures)))]
    kind = rng.uniform(0 if may_repeat else REPEATED, 1)  # a repeated background has no answer
    zoom = np.exp(rng.uniform(np.log(0.6), np.log(2.5)))
    side = [max(8, min(round(n / zoom), m)) for n, m in zip(size, image.shape[:2], strict=True)]
    if kind < REPEATED:
        side = [int(rng.integers(8, 24)) for _ in range(2)]
    top, left = (int(rng.integers(m - n + 1)) for n, m in zip(side, image.shape[:2], strict=True))
    crop = image[top : top + side[0], left : left + side[1]]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    gain = 255 * rng.uniform(0.6, 1.1, 3)
    if kind < REPEATED:
        repeats = [-(-n // m) for n, m in zip(size, side, strict=True)]
        texture = np.tile(crop, (*repeats, 1))[: size[0], : size[1]].astype(np.float32) / 255
    else:
        crop = cv2.resize(np.ascontiguousarray(crop), size[::-1], interpolation=cv2.INTER_LINEAR)
        texture = crop.astype(np.float32) / 255
    if REPEATED <= kind < REPEATED + PLAIN:
        mean = texture.mean(axis=(0, 1))
        texture = mean + rng.uniform(0.02, 0.2) * (texture - mean)
    return (texture * gain).clip(0, 255).astype(np.uint8)
