"""Generated pairs of scenes with an object that moves, deforms, changes its light and is covered.

The object is a piece of a photograph with a random smooth border, pasted on other photographs. The
first scene has the template with its box, the second the object to find; a third one is the second
without the object.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.synthetic.photometry import jitter_photometry

HEIGHT, WIDTH = 240, 320  # pixels of a scene
ZOOM = (0.55, 1.0)  # of the largest crop of a photograph that fits
STRENGTHS = (0.3, 0.7, 1.2, 1.8)  # of the deformation
SIDES = (14, 150)  # smallest and largest side of an object in pixels
EXTENT = (22, 110)  # square root of its area in pixels
OTHER_BACKGROUND, OCCLUDED, RELIT = 0.15, 0.35, 0.5  # shares of the pairs
MIN_STD = 0.06  # of the pixels of an object, in [0, 1]
MIN_PIXELS = 50  # of the object in the second scene
Box = tuple[int, int, int, int]


class PastedScenes(NamedTuple):
    """A template in a scene, another scene with its object, and that scene without it."""

    image0: np.ndarray  #: (HEIGHT, WIDTH, 3) uint8, as the others
    box0: Box
    image1: np.ndarray
    box1: Box
    empty: np.ndarray
    sources: frozenset[int]  #: numbers of the photographs of the background and of the object


def make_scenes(photographs: Sequence[np.ndarray], rng: np.random.Generator) -> PastedScenes:
    """Return random scenes from photographs, (H, W, 3) uint8 RGB."""
    while True:
        scenes = _try_scenes(photographs, rng)
        if scenes is not None:
            return scenes


def _try_scenes(photographs: Sequence[np.ndarray], rng: np.random.Generator) -> PastedScenes | None:
    """Return random scenes; None where the object is flat, tiny or larger than the scene."""
    background, source = (int(i) for i in rng.choice(len(photographs), 2, replace=False))
    strength = float(rng.choice(STRENGTHS))
    image0, image1 = _backgrounds(photographs, background, rng)
    found = _cut_object(photographs[source], rng)
    if found is None:
        return None
    patch, mask = found
    height, width = mask.shape
    x, y = int(rng.integers(0, WIDTH - width)), int(rng.integers(0, HEIGHT - height))
    for _ in range(int(rng.integers(0, 4))):  # objects that are in both scenes
        _paste_other(photographs, (image0, image1), rng)
    box0 = _paste(image0, patch, mask, x, y)
    patch, mask = _deform(patch, mask, strength, rng)
    rows, columns = np.nonzero(mask > 0.5)
    if len(rows) < MIN_PIXELS or np.ptp(rows) >= HEIGHT - 1 or np.ptp(columns) >= WIDTH - 1:
        return None
    x = int(rng.integers(-columns.min(), WIDTH - columns.max()))
    y = int(rng.integers(-rows.min(), HEIGHT - rows.max()))
    if rng.random() < RELIT:
        patch = jitter_photometry(patch, 0.35, rng)
    empty = image1.copy()
    box1 = _paste(image1, patch, mask, x, y)
    if rng.random() < OCCLUDED:
        chosen = int(rng.integers(len(photographs))) if rng.random() < 0.5 else background
        _occlude(image1, box1, photographs[chosen], rng)
    image0 = jitter_photometry(image0, 0.1, rng)
    image1, empty = (jitter_photometry(image, 0.25, rng) for image in (image1, empty))
    image0, image1, empty = (_compress(image, rng) for image in (image0, image1, empty))
    return PastedScenes(image0, box0, image1, box1, empty, frozenset((background, source)))


def _backgrounds(
    photographs: Sequence[np.ndarray], number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of a photograph, or sometimes of two photographs."""
    photograph = photographs[number]
    x, y, width, height = _random_crop(photograph, rng)
    image0 = _resized(photograph, x, y, width, height)
    if rng.random() < OTHER_BACKGROUND:
        photograph = photographs[int(rng.integers(len(photographs)))]
        return image0, _resized(photograph, *_random_crop(photograph, rng))
    moved_x, moved_y = x + rng.normal(0, 0.12) * width, y + rng.normal(0, 0.12) * height
    x = int(np.clip(moved_x, 0, photograph.shape[1] - width))
    y = int(np.clip(moved_y, 0, photograph.shape[0] - height))
    return image0, _resized(photograph, x, y, width, height)


def _random_crop(photograph: np.ndarray, rng: np.random.Generator) -> Box:
    """Return x, y, width and height of a crop with the sides of a scene."""
    rows, columns = photograph.shape[:2]
    zoom = min(rows / HEIGHT, columns / WIDTH) * rng.uniform(*ZOOM)
    height, width = int(HEIGHT * zoom), int(WIDTH * zoom)
    x, y = int(rng.integers(0, columns - width + 1)), int(rng.integers(0, rows - height + 1))
    return x, y, width, height


def _resized(photograph: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    """Return a crop of a photograph as a scene, float32 in [0, 1]."""
    crop = np.float32(photograph[y : y + height, x : x + width]) / 255
    method = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_LINEAR
    return cv2.resize(crop, (WIDTH, HEIGHT), interpolation=method)


def _cut_object(
    photograph: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a piece of a photograph and its mask, both float32; None for a flat one."""
    extent = np.exp(rng.uniform(*np.log(EXTENT)))
    aspect = np.exp(rng.normal(0, 0.45) / 2)
    height, width = (int(np.clip(s, *SIDES)) for s in (extent * aspect, extent / aspect))
    zoom = np.exp(rng.uniform(*np.log((0.7, 3.0))))
    rows, columns = int(height * zoom), int(width * zoom)
    if rows >= photograph.shape[0] or columns >= photograph.shape[1]:
        return None
    y = int(rng.integers(0, photograph.shape[0] - rows))
    x = int(rng.integers(0, photograph.shape[1] - columns))
    crop = np.float32(photograph[y : y + rows, x : x + columns]) / 255
    patch = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    if patch.std(axis=(0, 1)).max() < MIN_STD:
        return None
    return patch, _blob(height, width, rng)


def _blob(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return the mask of a random smooth shape, (height, width) float32, 0 or 1."""
    y, x = np.mgrid[:height, :width]
    u, v = (x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1
    angle = np.arctan2(v, u)
    waves = [
        rng.normal(0, 0.07) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)
    ]
    power = rng.uniform(2, 5)  # of a superellipse, from an ellipse to nearly a rectangle
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    return np.float32(radius < (0.86 + sum(waves)).clip(0.5, 1))


def _deform(
    patch: np.ndarray, mask: np.ndarray, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return an object after a random affine, perspective and smooth deformation."""
    side, padding = np.sqrt(mask.size), int(0.4 * max(mask.shape)) + 2
    sides = (padding,) * 4
    patch = cv2.copyMakeBorder(patch, *sides, cv2.BORDER_REFLECT_101)
    mask = cv2.copyMakeBorder(mask, *sides, cv2.BORDER_CONSTANT, value=0)
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    angle, shear = np.deg2rad(rng.normal(0, 10 * strength)), rng.normal(0, 0.08 * strength)
    scale_x, scale_y = np.exp(rng.normal(0, 0.1 * strength, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(rotation @ np.array([[scale_x, shear], [0, scale_y]]))
    tilt = rng.normal(0, 0.15 * strength, 2) / (width, height)
    depth = 1 + tilt[0] * x + tilt[1] * y
    x, y = x / depth, y / depth
    source = np.stack(
        [
            inverse[0, 0] * x + inverse[0, 1] * y + (width - 1) / 2,
            inverse[1, 0] * x + inverse[1, 1] * y + (height - 1) / 2,
        ]
    )
    for wavelength, largest in ((0.35, 0.08), (0.18, 0.04)):  # in sides of the object
        field = rng.standard_normal((2, height, width)).astype(np.float32)
        field = np.stack([cv2.GaussianBlur(part, (0, 0), wavelength * side) for part in field])
        source += strength * rng.uniform(0, largest) * side * field / (field.std() + 1e-9)
    columns, rows = np.float32(source)
    return (
        cv2.remap(patch, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        cv2.remap(mask, columns, rows, cv2.INTER_LINEAR),
    )


def _paste(scene: np.ndarray, patch: np.ndarray, mask: np.ndarray, x: int, y: int) -> Box:
    """Paste an object into a scene in place, its top-left pixel at x, y; return its box."""
    height, width = mask.shape
    left, top, right, bottom = max(0, x), max(0, y), min(WIDTH, x + width), min(HEIGHT, y + height)
    if left < right and top < bottom:
        inside = np.s_[top - y : bottom - y, left - x : right - x]
        opacity = cv2.GaussianBlur(mask, (0, 0), 0.7)[inside][..., None]
        under = scene[top:bottom, left:right]
        scene[top:bottom, left:right] = opacity * patch[inside] + (1 - opacity) * under
    rows, columns = np.nonzero(mask > 0.5)
    return (
        x + int(columns.min()), y + int(rows.min()),
        x + int(columns.max()) + 1, y + int(rows.max()) + 1,
    )  # fmt: skip


def _piece(photograph: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return a piece of a photograph, float32; of a smaller one, enlarged."""
    rows, columns = min(height, photograph.shape[0]), min(width, photograph.shape[1])
    y = int(rng.integers(0, photograph.shape[0] - rows + 1))
    x = int(rng.integers(0, photograph.shape[1] - columns + 1))
    piece = np.float32(photograph[y : y + rows, x : x + columns]) / 255
    return cv2.resize(piece, (width, height))


def _paste_other(
    photographs: Sequence[np.ndarray], scenes: Sequence[np.ndarray], rng: np.random.Generator
) -> None:
    """Paste the same random object into both scenes."""
    height, width = (int(side) for side in rng.integers(20, 80, 2))
    piece = _piece(photographs[int(rng.integers(len(photographs)))], height, width, rng)
    mask = _blob(height, width, rng)
    x = int(rng.integers(-width // 2, WIDTH - width // 2))
    y = int(rng.integers(-height // 2, HEIGHT - height // 2))
    for scene, (dx, dy) in zip(scenes, ((0, 0), rng.normal(0, 25, 2)), strict=True):
        _paste(scene, piece, mask, x + int(dx), y + int(dy))


def _occlude(scene: np.ndarray, box: Box, photograph: np.ndarray, rng: np.random.Generator) -> None:
    """Cover a part of a box by a piece of a photograph."""
    sides = np.array([box[3] - box[1], box[2] - box[0]])
    height, width = (max(4, int(side)) for side in sides * rng.uniform(0.3, 0.9, 2))
    y, x = (np.array([box[1], box[0]]) + rng.uniform(-0.5, 0.8, 2) * sides).astype(int).tolist()
    piece = _piece(photograph, height, width, rng)
    _paste(scene, piece, _blob(height, width, rng), x, y)


def _compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image as uint8 after JPEG compression."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))]
    code = cv2.imencode(".jpg", np.uint8(255 * image.clip(0, 1) + 0.5)[..., ::-1], quality)[1]
    return np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])
