"""Synthetic frame pairs of moving textured layers, with exact flow and occlusions.

The mask of a layer is a digit as written, or dilated to a blob; its texture is a part of an image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.synthetic.crops import UPSAMPLING, antialias, rotation, upsample

MAX_LAYERS = 6
CROWD_SHARE = 0.3  # share of scenes with many small layers, as people and birds
MAX_CROWD_LAYERS = 14
MIN_SIZE, MAX_CROWD_SIZE, MAX_SIZE = 30.0, 150.0, 1.2  # layers: pixels, pixels, sides of the frame
MIN_LENGTH, MAX_LENGTH = 0.05, 32.0  # pixels of displacement, log-uniform
STILL_SHARE = 0.25  # share of backgrounds with zero motion: a camera on a tripod
PLAIN_SHARE = 0.2  # share of layers with hardly any texture: sky, walls
MAX_PLAIN_STD = 3 / 255  # standard deviation of the texture of plain layers, at most
SCALES = 0.35, 1.1  # pixels of a texture per pixel of a scene
EMPTY_SHARE = 0.5  # share of plain backgrounds without layers: only the noise differs
BRIEF_SHARE = 0.15  # share of layers that are visible in only one of the frames
MIN_STRAIN, MAX_STRAIN = 3e-4, 0.02  # of rotation, scaling and bending
SOFT_SHARE = 0.3  # share of layers that bend within a block, as limbs and clothes do
MAX_SOFT_STRAIN = 0.2
WAVES = 3  # sine waves of a bending motion
MIN_WAVELENGTH, MAX_WAVELENGTH = 64.0, 512.0  # pixels
MIN_SOFT_WAVELENGTH = 24.0  # pixels
GRID_STEP = 4  # pixels: motion is computed on this grid and interpolated linearly
INVERSE_ITERATIONS = 10  # of the inverse of a bending motion
MASK_UPSAMPLING = 4  # resolution of a mask relative to MNIST


class Scene(NamedTuple):
    """Two frames of moving layers.

    Attributes:
        frame0: (H, W) float32 in [0, 1], the earlier frame.
        frame1: (H, W) float32 in [0, 1], the later frame.
        flow: (H, W, 2) float32, dx and dy in pixels from frame 0 to frame 1.
        visible: (H, W) bool, whether a pixel of frame 0 is visible in frame 1.
    """

    frame0: np.ndarray
    frame1: np.ndarray
    flow: np.ndarray
    visible: np.ndarray


class _Motion(NamedTuple):
    """Motion that takes a point x to ``matrix (x - centre) + centre + shift + bending(x)``.

    Attributes:
        matrix: (2, 2).
        shift: (2,) dx and dy in pixels.
        centre: (2,) x and y.
        waves: (W, 5): amplitudes in x and y in pixels, wave vector in x and y, phase.
    """

    matrix: np.ndarray
    shift: np.ndarray
    centre: np.ndarray
    waves: np.ndarray

    def bending(self, points: np.ndarray) -> np.ndarray:
        """Return the displacement by the waves at points (..., 2), the same shape."""
        return np.sin(points @ self.waves[:, 2:4].T + self.waves[:, 4]) @ self.waves[:, :2]

    def flow(self, side: int) -> np.ndarray:
        """Return the displacement of every pixel, (side, side, 2) float32."""
        points = _grid(side)
        affine = (points - self.centre) @ (self.matrix - np.eye(2)).T + self.shift
        return _upsample_grid(affine + self.bending(points), side)

    def invert(self, points: np.ndarray) -> np.ndarray:
        """Return the points of frame 0 that move to ``points`` of frame 1, both (..., 2)."""
        inverse = np.linalg.inv(self.matrix).T
        source = affine = (points - self.centre - self.shift) @ inverse + self.centre
        # The fixed-point iteration converges because the slope of the bending is below 1.
        for _ in range(INVERSE_ITERATIONS):
            source = affine - self.bending(source) @ inverse
        return source


def make_scene(
    textures: Sequence[np.ndarray],
    masks: np.ndarray,
    side: int,
    rng: np.random.Generator,
    upright: bool = False,
) -> Scene:
    """Generate a scene of a background with up to six layers, or up to fourteen small ones.

    Args:
        textures: (H, W) float32 images in [0, 1].
        masks: (N, 28, 28) uint8 images of digits, the shapes of the layers.
        side: Side of the frames in pixels.
        rng: Source of randomness.
        upright: Whether textures stay upright, as photographs are.
    """
    plain_background = rng.random() < PLAIN_SHARE
    # The motion of a plain background is not observable.
    background = _zero_motion(side) if plain_background else _background_motion(side, rng)
    frames = [np.zeros((side, side), np.float32) for _ in range(2)]
    owners = [np.zeros((side, side), int) for _ in range(2)]  # layer of each pixel
    flow, points = background.flow(side), _grid(side)
    crowd = rng.random() < CROWD_SHARE
    max_size = MAX_CROWD_SIZE if crowd else MAX_SIZE * side
    count = int(rng.integers((MAX_CROWD_LAYERS if crowd else MAX_LAYERS) + 1))
    if plain_background and rng.random() < EMPTY_SHARE:
        count = 0
    for layer in range(count + 1):
        motion = _layer_motion(background, side, rng) if layer else background
        image = textures[int(rng.integers(len(textures)))]
        if rng.random() < PLAIN_SHARE if layer else plain_background:
            image = _plain(image, rng)
        texture, to_texture = _texture(image, side, rng, upright)
        mask, to_mask, missing = None, None, None
        if layer:
            mask, to_mask = _mask(masks, motion.centre, max_size, rng)
            missing = int(rng.integers(2)) if rng.random() < BRIEF_SHARE else None
        for time, source in enumerate((points, motion.invert(points))):
            if time == missing:
                continue
            surface = _warp(texture, to_texture, source, side, cv2.BORDER_REFLECT)
            if mask is None or to_mask is None:
                frames[time] = surface
                continue
            edge = _warp(mask, to_mask, source, side, cv2.BORDER_CONSTANT)
            sharpness = 2 / np.sqrt(abs(np.linalg.det(to_mask[:, :2])))
            opacity = np.clip((edge - 0.5) * sharpness * MASK_UPSAMPLING + 0.5, 0, 1)
            frames[time] = frames[time] + (surface - frames[time]) * opacity
            owners[time][opacity > 0.5] = layer
        flow = np.where((owners[0] == layer)[..., None], motion.flow(side), flow)
    visible = _visible(flow, *owners)
    frame0, frame1 = (np.clip(frame, 0, 1).astype(np.float32) for frame in frames)
    return Scene(frame0=frame0, frame1=frame1, flow=flow.astype(np.float32), visible=visible)


def degrade_frames(
    frame0: np.ndarray, frame1: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames in uint8 with random gain, offset, blur, noise and JPEG compression."""
    if rng.random() < 0.5:
        frame1 = frame1 * _log_uniform(rng, 0.7, 1.4) + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.25:
        sigma = rng.uniform(0.3, 1.5)
        frame1 = cv2.GaussianBlur(frame1, (0, 0), sigma)
        if rng.random() < 0.5:
            frame0 = cv2.GaussianBlur(frame0, (0, 0), sigma)
    noise = (rng.uniform(2, 12) if rng.random() < 1 / 3 else rng.uniform(0.3, 2)) / 255
    quality = int(rng.integers(20, 95)) if rng.random() < 0.3 else None
    degraded = []
    for frame in (frame0, frame1):
        frame = frame + rng.normal(0, noise, frame.shape)
        image = np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8)
        if quality is not None:
            code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
        degraded.append(image)
    return degraded[0], degraded[1]


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int = 1) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _shift(rng: np.random.Generator) -> np.ndarray:
    length = _log_uniform(rng, MIN_LENGTH, MAX_LENGTH)
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def _affine(rng: np.random.Generator) -> np.ndarray:
    """Return the matrix of a random rotation, scaling and small shear."""
    strain = _log_uniform(rng, MIN_STRAIN, MAX_STRAIN)
    angle, growth = rng.normal(0, strain, 2)
    shear = rng.normal(0, strain / 3, (2, 2))
    return np.array([[1 + growth, -angle], [angle, 1 + growth]]) + shear


def _waves(rng: np.random.Generator, soft: bool = False) -> np.ndarray:
    """Return random waves of a motion; unless soft they are weaker than its affine part."""
    if soft:
        strain = _log_uniform(rng, MAX_STRAIN / 2, MAX_SOFT_STRAIN)
        length = _log_uniform(rng, MIN_SOFT_WAVELENGTH, 2 * MIN_WAVELENGTH, WAVES)
    else:
        strain = _log_uniform(rng, MIN_STRAIN, MAX_STRAIN / 2)
        length = _log_uniform(rng, MIN_WAVELENGTH, MAX_WAVELENGTH, WAVES)
    direction, phase = rng.uniform(0, 2 * np.pi, (2, WAVES))
    number = 2 * np.pi / length
    amplitude = rng.normal(0, strain, (2, WAVES)) / number
    return np.stack(
        [*amplitude, number * np.cos(direction), number * np.sin(direction), phase], axis=1
    )


def _zero_motion(side: int) -> _Motion:
    return _Motion(
        matrix=np.eye(2), shift=np.zeros(2), centre=np.full(2, side / 2), waves=np.zeros((1, 5))
    )


def _background_motion(side: int, rng: np.random.Generator) -> _Motion:
    if rng.random() < STILL_SHARE:
        return _zero_motion(side)
    matrix, shift = _affine(rng), _shift(rng)
    return _Motion(matrix=matrix, shift=shift, centre=np.full(2, side / 2), waves=_waves(rng))


def _layer_motion(background: _Motion, side: int, rng: np.random.Generator) -> _Motion:
    """Return a random motion, in most cases similar to that of the background."""
    matrix, shift = _affine(rng), _shift(rng)
    if rng.random() < 0.6:
        shift = shift * rng.uniform() + background.shift
        matrix = (matrix + background.matrix) / 2
    centre = rng.uniform(0, side, 2)
    waves = _waves(rng, soft=rng.random() < SOFT_SHARE)
    return _Motion(matrix=matrix, shift=shift, centre=centre, waves=waves)


def _plain(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a texture of low contrast on a constant or linearly changing brightness."""
    height, width = texture.shape
    contrast = rng.uniform(0, MAX_PLAIN_STD) * (texture - texture.mean()) / (texture.std() + 1e-3)
    left, right = rng.uniform(0.05, 0.95, 2)
    level = np.linspace(left, right if rng.random() < 0.5 else left, width)
    return (np.broadcast_to(level, (height, width)) + contrast).astype(np.float32)


def _texture(
    image: np.ndarray, side: int, rng: np.random.Generator, upright: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return an upsampled texture and the 2x3 matrix from points of the scene to it."""
    scale = rng.uniform(*SCALES)
    angle = 0.0 if upright else rng.uniform(0, 2 * np.pi)
    matrix = rotation(angle) * scale
    origin = rng.uniform(0, image.shape[::-1])
    corner = origin - matrix @ np.full(2, side / 2)
    texture = upsample(antialias(image, scale))
    return texture, np.c_[UPSAMPLING * matrix, UPSAMPLING * (corner + 0.5) - 0.5]


def _mask(
    masks: np.ndarray, centre: np.ndarray, max_size: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask, 1 inside, and the 2x3 matrix from points of the scene to it."""
    digit = masks[rng.integers(len(masks))].astype(np.float32) / 255
    mask = cv2.resize(
        digit, None, fx=MASK_UPSAMPLING, fy=MASK_UPSAMPLING, interpolation=cv2.INTER_CUBIC
    )
    mask = np.pad(cv2.GaussianBlur(mask, (0, 0), 0.75 * MASK_UPSAMPLING), 2 * MASK_UPSAMPLING)
    if rng.random() < 0.6:
        width = int(rng.integers(9, 50))
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    scale = _log_uniform(rng, MIN_SIZE, max_size) / 20  # pixels of the scene per pixel of MNIST
    matrix = rotation(rng.uniform(0, 2 * np.pi)) * (MASK_UPSAMPLING / scale)
    middle = np.array(mask.shape[::-1]) / 2
    return mask, np.c_[matrix, middle - matrix @ centre]


def _grid(side: int) -> np.ndarray:
    """Return x and y of every ``GRID_STEP``-th pixel and of one more, (n, n, 2)."""
    axis = np.arange(0, side + GRID_STEP, GRID_STEP, dtype=float)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def _upsample_grid(values: np.ndarray, side: int) -> np.ndarray:
    """Interpolate values on a ``_grid`` to every pixel, (side, side, 2) float32."""
    matrix = np.diag([1 / GRID_STEP, 1 / GRID_STEP, 1])[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(values.astype(np.float32), matrix, (side, side), flags=flags)


def _warp(
    image: np.ndarray, matrix: np.ndarray, source: np.ndarray, side: int, border: int
) -> np.ndarray:
    """Resample an image onto a frame, (side, side).

    Args:
        image: (h, w).
        matrix: (2, 3), from points of the scene to the image.
        source: (n, n, 2), points of the scene that the points of a ``_grid`` show.
        side: Side of the frame.
        border: Border mode of OpenCV.
    """
    x, y = cv2.split(_upsample_grid(source @ matrix[:, :2].T + matrix[:, 2], side))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border)


def _visible(flow: np.ndarray, owner0: np.ndarray, owner1: np.ndarray) -> np.ndarray:
    """Return which pixels move to a pixel of frame 1 that shows the same layer."""
    height, width = owner0.shape
    y, x = np.mgrid[:height, :width]
    x, y = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside & (owner1[y.clip(0, height - 1), x.clip(0, width - 1)] == owner0)
