"""Persons and vehicles that move, pause and cast shadows, drawn into frames."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UNKNOWN = 255  # label of soft edges
Image = NDArray[Any]  #: float32


@dataclass(frozen=True)
class Thing:
    """A person or a vehicle: how it looks, and where it is in each frame."""

    texture: Image  # (h, w, 3)
    alpha: Image  # (h, w)
    path: NDArray[np.float64]  # (T, 2) of the top left corner in the world
    shadow: float  # gain, 1 without
    swing: float  # pixels that the lower half moves sideways
    phase: NDArray[np.float64]  # (T,) of that motion, in radians

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return int((self.alpha > 0.5).sum())

    def at(self, time: int) -> Image:
        """Return the alpha of a frame: legs and wheels move."""
        h, w = self.alpha.shape
        y, x = np.mgrid[:h, :w].astype(np.float32)
        side = np.sign(x - w / 2)
        lower = np.clip(y / h - 0.55, 0, 1) / 0.45
        moved = self.swing * np.sin(self.phase[time]) * lower * side
        return cv2.remap(self.alpha, x - moved.astype(np.float32), y, cv2.INTER_LINEAR)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the things of a video have in common, see ``make_video``."""

    frames: int
    height: int
    width: int
    size: tuple[float, float]
    pauses: bool
    rest: int
    visible: bool
    people: bool
    shadows: float
    camera: NDArray[np.float64]  # (T, 2), the top left corner of the frame in the world
    panned: NDArray[np.float64]  # (T,), how far it has panned


def make_thing(rng: np.random.Generator, scene: Scene, number: int) -> Thing:
    """Make a thing; those with odd numbers are visible from the first frame on."""
    tall = rng.random() < 0.6 or scene.people
    h = int(rng.uniform(*scene.size) * scene.height)
    w = int(h * (rng.uniform(0.35, 0.5) if tall else rng.uniform(1.2, 1.8)))
    alpha = np.zeros((h + 8, w + 8), np.float32)
    if tall:  # head, body, two legs
        c = (w + 8) // 2
        cv2.circle(alpha, (c, 4 + h // 10), max(2, h // 10), 1, -1)
        cv2.ellipse(alpha, (c, 4 + int(0.42 * h)), (w // 2 - 1, int(0.25 * h)), 0, 0, 360, 1, -1)
        for side in (-1, 1):
            x = c + side * w // 5
            cv2.line(alpha, (x, int(0.6 * h)), (x, h + 2), 1, max(2, w // 4))
    else:  # body and wheels
        cv2.rectangle(alpha, (4, 4 + h // 3), (w + 3, 3 + int(0.85 * h)), 1, -1)
        cv2.rectangle(alpha, (4 + w // 5, 4), (4 + int(0.75 * w), 4 + h // 2), 1, -1)
        for x in (0.22, 0.78):
            cv2.circle(alpha, (4 + int(x * w), int(0.86 * h) + 2), max(2, h // 7), 1, -1)
    alpha = cv2.GaussianBlur(alpha, (3, 3), 0)
    texture = np.empty((h + 8, w + 8, 3), np.float32)
    upper, lower = rng.uniform(0.05, 0.95, 3), rng.uniform(0.05, 0.95, 3)
    split = (h + 8) // 2
    texture[:split], texture[split:] = upper, lower
    texture += fine_texture(rng, h + 8, w + 8, 0.03)[..., None]
    path, phase = _path(rng, h, w, scene, number)
    return Thing(texture, alpha, path, scene.shadows, 0.12 * w if tall else 0.0, phase)


def _path(
    rng: np.random.Generator, h: int, w: int, scene: Scene, number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where a thing is in the world, and the phase of its legs."""
    frames, width, height = scene.frames, scene.width, scene.height
    speed = rng.uniform(0.5, 3.0) * rng.choice([-1, 1])
    inside = bool(number % 2) or scene.visible
    begin = rng.uniform(0.1, 0.9) * width if inside else (-w if speed > 0 else width)
    steps = np.full((frames, 2), (speed, rng.normal(0, 0.15)))
    if not inside and number:
        steps[: int(rng.uniform(0, 0.3) * frames)] = 0  # enters later
    walked = np.arange(frames)
    if scene.rest:
        rests = slice(frames // 5, frames // 5 + scene.rest)
        steps[rests] = 0
        walked = np.cumsum(steps[:, 0] != 0)
        steps[rests, 0] = np.diff(np.sin(0.12 * np.arange(scene.rest + 1)))[: frames - rests.start]
    elif scene.pauses:
        first = int(rng.uniform(0.3, 0.7) * frames)
        steps[first : first + int(rng.uniform(15, 45))] = 0
    origin = np.array([begin, rng.uniform(0.3, 0.9) * height - h * 0.7])
    camera = scene.camera
    path = np.cumsum(steps, axis=0) + origin + camera.mean(0) * (0, 1) + camera[:1] * (1, 0)
    if np.ptp(camera[:, 0]) > 20:  # the camera follows
        path[:, 0] += scene.panned * rng.uniform(0.5, 1.2)
    return path, 0.9 * walked.astype(np.float64)


def _patch(
    image: NDArray, x: int, y: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], ...] | None:
    """Return the slices of an image and of a patch at (x, y) that overlap."""
    height, width = image.shape[:2]
    y0, y1 = max(0, y), min(height, y + shape[0])
    x0, x1 = max(0, x), min(width, x + shape[1])
    if y0 >= y1 or x0 >= x1:
        return None
    inside = slice(y0, y1), slice(x0, x1)
    return inside, (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _shifted(image: Image, x: float, y: float) -> Image:
    matrix = np.array([[1, 0, x % 1], [0, 1, y % 1]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def draw_thing(
    image: Image, label: NDArray[np.uint8], thing: Thing, time: int, number: int
) -> tuple[int, int, int, int] | None:
    """Draw a thing into the world and its labels.

    Returns:
        Its box (xyxy, half-open), parts outside the world included; None if it is outside.
    """
    x, y = thing.path[time]
    alpha = _shifted(thing.at(time), x, y)
    both = _patch(image, int(np.floor(x)), int(np.floor(y)), alpha.shape)
    if both is None:
        return None
    inside, own = both
    a = alpha[own][..., None]
    image[inside] += a * (_shifted(thing.texture, x, y)[own] - image[inside])
    region = label[inside]
    region[alpha[own] > 0.1] = UNKNOWN
    region[alpha[own] > 0.9] = number
    ys, xs = np.nonzero(alpha > 0.5)
    x, y = int(np.floor(x)), int(np.floor(y))
    return x + int(xs.min()), y + int(ys.min()), x + int(xs.max()) + 1, y + int(ys.max()) + 1


def draw_shadow(image: Image, thing: Thing, time: int) -> None:
    """Draw the shadow of a thing on the ground."""
    if thing.shadow >= 1:
        return
    x, y = thing.path[time]
    h, w = thing.alpha.shape
    flat = cv2.resize(thing.at(time), (w, max(2, h // 3)))  # on the ground, to the right
    lying = cv2.warpAffine(flat, np.array([[1, -0.8, 0.8 * h / 3], [0, 1, 0]]), (2 * w, h // 3))
    lying = cv2.GaussianBlur(lying, (5, 5), 0)
    both = _patch(image, int(x) + w // 3, int(y + h - 6 - h // 3), lying.shape)
    if both is not None:
        inside, own = both
        image[inside] *= 1 - (1 - thing.shadow) * lying[own][..., None]


def fine_texture(rng: np.random.Generator, height: int, width: int, amplitude: float) -> Image:
    """Return a random texture without color, (H, W), coarse and fine."""
    coarse = cv2.resize(
        rng.normal(0, 1, (height // 4 + 1, width // 4 + 1)).astype(np.float32), (width, height)
    )
    return amplitude * (coarse + rng.normal(0, 0.5, (height, width))).astype(np.float32)
