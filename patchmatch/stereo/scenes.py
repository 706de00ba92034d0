"""Generated stereo pairs: layers of slanted planes with exact disparity and occlusion."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patchmatch.synthetic.photometry import jitter_photometry

SLANT = 0.12  # largest change of the disparity per pixel, of objects
THIN = 0.25  # probability that an object is a bar a few pixels wide
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
    y, x = np.mgrid[:height, :width].astype(np.float32)
    images = [np.zeros((height, width, 3), np.float32) for _ in range(2)]
    layers = [np.zeros((height, width), np.int32) for _ in range(2)]
    disparity = np.zeros((height, width), np.float32)
    far = rng.uniform(0.02, 0.4) * max_disparity
    nearest = rng.uniform(0.5, 1.0) * max_disparity
    offsets = np.sort(rng.uniform(far, nearest, int(rng.integers(4, 14))))
    for index, offset in enumerate([far, *offsets]):
        plane = _sample_plane(float(offset), size, max_disparity, index == 0, rng)
        mask = np.ones((height, 2 * width), np.float32) if index == 0 else _shape(size, rng)
        texture = _sample_texture(textures, (height, 2 * width), rng)
        a, b, c = plane
        x1 = (x + a + c * y) / (1 - b)  # column of image 0 that is seen at x in image 1
        for view, column in enumerate((x, x1)):
            # the canvas reaches half a width beyond both sides of image 0
            column = (column + width / 2).astype(np.float32)
            seen = cv2.remap(texture, column, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            alpha = cv2.remap(mask, column, y, cv2.INTER_LINEAR)
            alpha = np.ones_like(alpha) if index == 0 else alpha
            images[view] += (seen - images[view]) * alpha[..., None]
            layers[view][alpha > 0.5] = index
        own = layers[0] == index
        disparity[own] = (a + b * x + c * y)[own]
    matched = x - disparity
    column = np.rint(matched).astype(int).clip(0, width - 1)
    same = np.take_along_axis(layers[1], column, axis=1) == layers[0]
    visible = same & (matched >= 0)
    images = [jitter_photometry(i.clip(0, 1), share, rng).astype(np.float32) for i in images]
    return StereoScene(image0=images[0], image1=images[1], disparity=disparity, visible=visible)


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
    return offset - b * centre[0] - c * centre[1], b, c


def _shape(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the mask of an object on the canvas, (H, 2 W) float32."""
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
    return mask.astype(np.float32)


def _sample_texture(
    textures: Sequence[np.ndarray], size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return a random texture, (H, W, 3) float32 in [0, 1]."""
    image = textures[int(rng.integers(len(textures)))]
    kind = rng.random()
    zoom = np.exp(rng.uniform(np.log(0.6), np.log(2.5)))
    side = [max(8, min(round(n / zoom), m)) for n, m in zip(size, image.shape[:2], strict=True)]
    if kind < REPEATED:
        side = [int(rng.integers(8, 24)) for _ in range(2)]
    top, left = (int(rng.integers(m - n + 1)) for n, m in zip(side, image.shape[:2], strict=True))
    crop = image[top : top + side[0], left : left + side[1]]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if kind < REPEATED:
        repeats = [-(-n // m) for n, m in zip(size, side, strict=True)]
        tiled = np.tile(crop, (*repeats, 1))[: size[0], : size[1]]
        return tiled.astype(np.float32) / 255
    crop = cv2.resize(np.ascontiguousarray(crop), size[::-1], interpolation=cv2.INTER_CUBIC)
    texture = crop.astype(np.float32) / 255
    if kind < REPEATED + PLAIN:
        mean = texture.mean(axis=(0, 1))
        texture = mean + rng.uniform(0.02, 0.15) * (texture - mean)
    gain = rng.uniform(0.6, 1.1, 3).astype(np.float32)
    return (texture * gain).clip(0, 1)
