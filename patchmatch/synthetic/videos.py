"""Generated videos of things that move, pause, hide and cast shadows, with exact ground truth."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UNKNOWN = 255  # label of soft edges
Image = NDArray[Any]  #: float32


@dataclass(frozen=True, kw_only=True)
class MadeVideo:
    """A generated video.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        labels: (T, H, W) uint8: 0 where nothing moves, k where thing k is visible, ``UNKNOWN`` at
            soft edges. Things that pause keep their label.
        boxes: For each frame the visible things: number and box (xyxy, half-open) of the whole
            thing inside the frame, hidden parts included.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    boxes: list[dict[int, tuple[int, int, int, int]]]


@dataclass(frozen=True)
class _Thing:
    texture: Image  # (h, w, 3)
    alpha: Image  # (h, w)
    path: NDArray[np.float64]  # (T, 2) of the top left corner in the world
    shadow: float  # gain, 1 without
    swing: float  # pixels that the lower half moves sideways

    def at(self, time: int) -> Image:
        """Return the alpha of a frame: legs and wheels move."""
        h, w = self.alpha.shape
        y, x = np.mgrid[:h, :w].astype(np.float32)
        side = np.sign(x - w / 2)
        lower = np.clip(y / h - 0.55, 0, 1) / 0.45
        moved = self.swing * np.sin(time * 0.9) * lower * side
        return cv2.remap(self.alpha, x - moved.astype(np.float32), y, cv2.INTER_LINEAR)


def make_video(
    seed: int,
    frames: int = 120,
    height: int = 240,
    width: int = 320,
    things: int = 4,
    *,
    pauses: bool = True,
    shadows: float = 0.7,
    light: float = 0.0,
    light_step: float = 1.0,
    shake: float = 0.0,
    pan: float = 0.0,
    waves: bool = False,
    pole: bool = True,
    noise: float = 2.0,
    quality: int = 90,
) -> MadeVideo:
    """Make a video.

    Args:
        seed: Seed; equal seeds give equal videos.
        frames: Number of frames.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        things: Number of things, some visible from the first frame on.
        pauses: Whether things stop for a while.
        shadows: Gain of the shadows that things cast; 1 for none.
        light: Amplitude of a slow change of the brightness; 0.1 is ten percent.
        light_step: Gain of the light from the middle of the video on.
        shake: Standard deviation of the camera's displacement in pixels.
        pan: Displacement of the camera in pixels a frame.
        waves: Whether a part of the background sways, as leaves do.
        pole: Whether a pole stands in front of the things.
        noise: Standard deviation of the noise in gray levels.
        quality: JPEG quality of the frames; 100 leaves them uncompressed.
    """
    rng = np.random.default_rng(seed)
    margin = int(4 * shake + 4)
    world_width = width + int(abs(pan) * frames) + 2 * margin
    world = _scenery(rng, height + 2 * margin, world_width)
    camera = rng.normal(0, shake, (frames, 2)) + margin
    camera[:, 0] += (np.arange(frames) if pan >= 0 else np.arange(frames) - frames) * pan
    camera[:, 0] += world_width - 2 * margin - width if pan < 0 else 0
    moving = [_thing(rng, frames, height, width, pauses, shadows, camera, k) for k in range(things)]
    pole_x = int(rng.integers(world_width // 4, 3 * world_width // 4)) if pole else None
    made, labels, boxes = [], [], []
    for time in range(frames):
        image = world.copy()
        if waves:
            _sway(image, time)
        label = np.zeros(image.shape[:2], np.uint8)
        whole: dict[int, tuple[int, int, int, int]] = {}
        for thing in moving:
            _draw_shadow(image, thing, time)
        for number, thing in enumerate(moving, start=1):
            box = _draw(image, label, thing, time, number)
            if box is not None:
                whole[number] = box
        if pole_x is not None:
            image[:, pole_x : pole_x + 8] = (0.45, 0.45, 0.5)
            label[:, pole_x : pole_x + 8] = 0
        x, y = camera[time]
        matrix = np.array([[1, 0, -x], [0, 1, -y]])
        image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC)
        label = cv2.warpAffine(label, np.rint(matrix), (width, height), flags=cv2.INTER_NEAREST)
        gain = 1 + light * np.sin(2 * np.pi * time / 80)
        gain *= light_step if time >= frames // 2 else 1
        image = 255 * np.clip(image * gain, 0, 1) + rng.normal(0, noise, image.shape)
        made.append(_compress(np.rint(image).clip(0, 255).astype(np.uint8), quality))
        labels.append(label)
        seen = {}
        for number, (x0, y0, x1, y1) in whole.items():
            corners = np.rint(np.array([x0 - x, y0 - y, x1 - x, y1 - y])).astype(int)
            x0, y0, x1, y1 = corners.clip(0, [width, height, width, height]).tolist()
            visible = int((label == number).sum())
            if x1 - x0 >= 3 and y1 - y0 >= 3 and visible >= 0.2 * thing_area(moving[number - 1]):
                seen[number] = (x0, y0, x1, y1)
        boxes.append(seen)
    return MadeVideo(frames=np.stack(made), labels=np.stack(labels), boxes=boxes)


def thing_area(thing: _Thing) -> float:
    """Return the number of pixels of a thing."""
    return float((thing.alpha > 0.5).sum())


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    if quality >= 100:
        return image
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def _scenery(rng: np.random.Generator, height: int, width: int) -> Image:
    """Return overlapping shapes of all sizes with a fine texture, (H, W, 3) in [0.1, 0.9]."""
    image = np.full((height, width, 3), rng.uniform(0.3, 0.7, 3), np.float32)
    for size in np.sort(np.exp(rng.uniform(np.log(8), np.log(height), width * height // 800)))[
        ::-1
    ]:
        color = rng.uniform(0.15, 0.85) + rng.normal(0, 0.06, 3)
        center = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (max(1, int(size / 2)), max(1, int(size * rng.uniform(0.2, 0.8) / 2)))
        cv2.ellipse(image, center, axes, rng.uniform(0, 180), 0, 360, color.tolist(), -1)
    road = slice(int(0.45 * height), int(0.9 * height))
    image[road] = rng.uniform(0.4, 0.65) + rng.normal(0, 0.02, 3)  # things are low in contrast here
    image += _texture(rng, height, width, 0.03)[..., None]
    return cv2.GaussianBlur(image, (3, 3), 0).clip(0.08, 0.92)


def _texture(rng: np.random.Generator, height: int, width: int, amplitude: float) -> Image:
    coarse = cv2.resize(
        rng.normal(0, 1, (height // 4 + 1, width // 4 + 1)).astype(np.float32), (width, height)
    )
    return amplitude * (coarse + rng.normal(0, 0.5, (height, width))).astype(np.float32)


def _thing(
    rng: np.random.Generator,
    frames: int,
    height: int,
    width: int,
    pauses: bool,
    shadows: float,
    camera: NDArray[np.float64],
    number: int,
) -> _Thing:
    tall = rng.random() < 0.6
    h = int(rng.uniform(0.15, 0.3) * height)
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
    texture += _texture(rng, h + 8, w + 8, 0.03)[..., None]
    speed = rng.uniform(0.5, 3.0) * rng.choice([-1, 1])
    begin = rng.uniform(0.1, 0.9) * width if number % 2 else (-w if speed > 0 else width)
    steps = np.full((frames, 2), (speed, rng.normal(0, 0.15)))
    if number and not number % 2:
        steps[: int(rng.uniform(0, 0.3) * frames)] = 0  # enters later
    if pauses:
        first = int(rng.uniform(0.3, 0.7) * frames)
        steps[first : first + int(rng.uniform(15, 45))] = 0
    origin = np.array([begin, rng.uniform(0.3, 0.9) * height - h * 0.7])
    path = np.cumsum(steps, axis=0) + origin
    path = path + camera.mean(0) * (0, 1) + camera[:1] * (1, 0)
    if np.ptp(camera[:, 0]) > 20:  # the camera follows
        path[:, 0] += (camera[:, 0] - camera[0, 0]) * rng.uniform(0.5, 1.2)
    return _Thing(texture, alpha, path, shadows, 0.12 * w if tall else 0.0)


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


def _draw(image, label, thing, time, number):
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


def _draw_shadow(image: Image, thing: _Thing, time: int) -> None:
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


def _sway(image: Image, time: int) -> None:
    height, width = image.shape[0] // 3, image.shape[1] // 3
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx = 1.5 * np.sin(0.7 * time + 0.15 * y) * np.minimum(x, width - x) / width * 2
    image[:height, :width] = cv2.remap(
        image[:height, :width].copy(), x + dx.astype(np.float32), y, cv2.INTER_LINEAR
    )
