"""Scenes that make themselves: layers of texture that move over each other, with exact flow.

The outline of each layer is a digit, thin as it was written or swollen to a blob; its texture is a
piece of a canvas. What one layer covers and uncovers is known, as is the motion of every pixel.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.data.placing import rotation, smoothed

MOST_LAYERS = 6
SHORTEST, LONGEST = 0.05, 32.0  # pixels: lengths of motions, all scales being equally frequent
STILL_SHARE = 0.25  # of the grounds do not move: a camera on a tripod
PLAIN_SHARE = 0.2  # of the layers have hardly any texture: sky, walls, lacquer
FAINTEST = 3 / 255  # standard deviation of the texture of plain layers, at most
BRIEF_SHARE = 0.15  # of the layers are seen in one of the frames only
FINE = 4  # outlines are drawn so much finer than MNIST has them


class Scene(NamedTuple):
    """Two frames of moving layers.

    Attributes:
        frame0: (H, W) float32 in [0, 1].
        frame1: The same shape, later.
        flow: (H, W, 2) float32, dx and dy in pixels from frame 0 to frame 1.
        visible: (H, W) bool, whether a pixel of frame 0 can be seen in frame 1.
    """

    frame0: np.ndarray
    frame1: np.ndarray
    flow: np.ndarray
    visible: np.ndarray


class _Motion(NamedTuple):
    """An affine motion: a point x goes to ``matrix (x - centre) + centre + shift``."""

    matrix: np.ndarray
    shift: np.ndarray
    centre: np.ndarray

    def inverse(self) -> np.ndarray:
        """Return the 2x3 matrix that takes points of frame 1 back to frame 0."""
        back = np.linalg.inv(self.matrix)
        return np.c_[back, self.centre - back @ (self.centre + self.shift)]

    def flow(self, side: int) -> np.ndarray:
        """Return the displacement of every pixel, (side, side, 2)."""
        y, x = np.mgrid[:side, :side]
        points = np.stack([x, y], axis=-1) - self.centre
        return points @ (self.matrix - np.eye(2)).T + self.shift


def make_scene(
    canvases: Sequence[np.ndarray],
    outlines: np.ndarray,
    side: int,
    rng: np.random.Generator,
    upright: bool = False,
) -> Scene:
    """Return a scene of a ground and up to six layers over it.

    Args:
        canvases: (H, W) float32 pictures in [0, 1]: the textures.
        outlines: (N, 28, 28) uint8 digits: the outlines.
        side: Side of the frames in pixels.
        rng: Where the chance comes from.
        upright: Keep textures upright and at their own scale or smaller, as photographs are.
    """
    plain_ground = rng.random() < PLAIN_SHARE
    # how a plain ground moves nobody could tell
    ground = _still(side) if plain_ground else _ground_motion(side, rng)
    frames = [np.zeros((side, side), np.float32) for _ in range(2)]
    owners = [np.zeros((side, side), int) for _ in range(2)]
    flow = ground.flow(side)
    for layer in range(int(rng.integers(MOST_LAYERS + 1)) + 1):
        motion = _layer_motion(ground, side, rng) if layer else ground
        canvas = canvases[int(rng.integers(len(canvases)))]
        if rng.random() < PLAIN_SHARE if layer else plain_ground:
            canvas = _plain(canvas, rng)
        texture, place = _texture(canvas, side, rng, upright)
        outline, outline_place, missing = None, None, None
        if layer:
            outline, outline_place = _outline(outlines, motion.centre, side, rng)
            missing = int(rng.integers(2)) if rng.random() < BRIEF_SHARE else None
        for time, back in enumerate((np.eye(2, 3), motion.inverse())):
            if time == missing:
                continue
            picture = _warp(texture, _chain(place, back), side, cv2.INTER_CUBIC)
            if outline is None or outline_place is None:
                frames[time] = picture
                continue
            edge = _warp(outline, _chain(outline_place, back), side, cv2.INTER_LINEAR)
            sharpness = 2 / np.sqrt(abs(np.linalg.det(outline_place[:, :2])))
            opacity = np.clip((edge - 0.5) * sharpness * FINE + 0.5, 0, 1)
            frames[time] = frames[time] + (picture - frames[time]) * opacity
            owners[time][opacity > 0.5] = layer
        flow = np.where((owners[0] == layer)[..., None], motion.flow(side), flow)
    visible = _visible(flow, *owners)
    frame0, frame1 = (np.clip(frame, 0, 1).astype(np.float32) for frame in frames)
    return Scene(frame0, frame1, flow.astype(np.float32), visible)


def disturb(
    frame0: np.ndarray, frame1: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames as a camera might give them: gain, blur, noise, JPEG; uint8."""
    if rng.random() < 0.5:
        frame1 = frame1 * np.exp(rng.uniform(np.log(0.7), np.log(1.4))) + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.25:
        sigma = rng.uniform(0.3, 1.5)
        frame1 = cv2.GaussianBlur(frame1, (0, 0), sigma)
        if rng.random() < 0.5:
            frame0 = cv2.GaussianBlur(frame0, (0, 0), sigma)
    noise = (rng.uniform(2, 12) if rng.random() < 1 / 3 else rng.uniform(0.3, 2)) / 255
    quality = int(rng.integers(25, 90)) if rng.random() < 0.2 else None
    seen = []
    for frame in (frame0, frame1):
        frame = frame + rng.normal(0, noise, frame.shape)
        stored = np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8)
        if quality is not None:
            code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            stored = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
        seen.append(stored)
    return seen[0], seen[1]


def _shift(rng: np.random.Generator) -> np.ndarray:
    length = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST)))
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def _affine(rng: np.random.Generator) -> np.ndarray:
    """Return a rotation, a change of size and a little shear, about one percent of each."""
    turn, grow = rng.normal(0, 0.012, 2)
    return np.array([[1 + grow, -turn], [turn, 1 + grow]]) + rng.normal(0, 0.004, (2, 2))


def _still(side: int) -> _Motion:
    return _Motion(np.eye(2), np.zeros(2), np.full(2, side / 2))


def _ground_motion(side: int, rng: np.random.Generator) -> _Motion:
    if rng.random() < STILL_SHARE:
        return _still(side)
    return _Motion(_affine(rng), _shift(rng), np.full(2, side / 2))


def _layer_motion(ground: _Motion, side: int, rng: np.random.Generator) -> _Motion:
    """Return a motion of its own, more often than not not far from the ground's."""
    matrix, shift = _affine(rng), _shift(rng)
    if rng.random() < 0.6:
        shift = shift * rng.uniform() + ground.shift
        matrix = (matrix + ground.matrix) / 2
    return _Motion(matrix, shift, rng.uniform(0, side, 2))


def _plain(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a canvas of hardly any texture, of one brightness or fading to another."""
    height, width = canvas.shape
    faint = rng.uniform(0, FAINTEST) * (canvas - canvas.mean()) / (canvas.std() + 1e-3)
    left, right = rng.uniform(0.05, 0.95, 2)
    level = np.linspace(left, right if rng.random() < 0.5 else left, width)
    return (np.broadcast_to(level, (height, width)) + faint).astype(np.float32)


def _texture(
    canvas: np.ndarray, side: int, rng: np.random.Generator, upright: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return a canvas and the 2x3 matrix that takes points of the scene to it."""
    scale = rng.uniform(0.35, 1.1)
    angle = 0.0 if upright else rng.uniform(0, 2 * np.pi)
    canvas = smoothed(canvas, scale)
    matrix = rotation(angle) * scale
    origin = rng.uniform(0, canvas.shape[::-1])
    return canvas, np.c_[matrix, origin - matrix @ np.full(2, side / 2)]


def _outline(
    outlines: np.ndarray, centre: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return an outline, 1 inside, and the 2x3 matrix that takes points of the scene to it."""
    digit = outlines[rng.integers(len(outlines))].astype(np.float32) / 255
    fine = cv2.resize(digit, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    fine = np.pad(cv2.GaussianBlur(fine, (0, 0), 0.75 * FINE), 2 * FINE)
    if rng.random() < 0.6:
        width = int(rng.integers(9, 50))
        fine = cv2.dilate(fine, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    size = np.exp(rng.uniform(np.log(30), np.log(1.2 * side))) / 20  # pixels to a pixel of MNIST
    matrix = rotation(rng.uniform(0, 2 * np.pi)) * (FINE / size)
    middle = np.array(fine.shape[::-1]) / 2
    return fine, np.c_[matrix, middle - matrix @ centre]


def _chain(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the 2x3 matrix of ``outer`` after ``inner``."""
    return np.c_[outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]]


def _warp(picture: np.ndarray, matrix: np.ndarray, side: int, sampler: int) -> np.ndarray:
    border = cv2.BORDER_REFLECT if sampler == cv2.INTER_CUBIC else cv2.BORDER_CONSTANT
    flags = sampler | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=border)


def _visible(flow: np.ndarray, owner0: np.ndarray, owner1: np.ndarray) -> np.ndarray:
    """Tell which pixels land within frame 1, and on their own layer."""
    height, width = owner0.shape
    y, x = np.mgrid[:height, :width]
    x, y = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside & (owner1[y.clip(0, height - 1), x.clip(0, width - 1)] == owner0)
