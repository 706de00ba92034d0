"""Generated videos of things that move, pause, hide and cast shadows, with exact ground truth."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.synthetic.moving_things import (
    Image,
    Scene,
    draw_shadow,
    draw_thing,
    fine_texture,
    make_thing,
)


@dataclass(frozen=True, kw_only=True)
class MadeVideo:
    """A generated video.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        labels: (T, H, W) uint8: 0 where nothing moves, k where thing k is visible, UNKNOWN at
            soft edges. Things that pause keep their label.
        boxes: For each frame the visible things: number and box (xyxy, half-open) of the whole
            thing inside the frame, hidden parts included.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    boxes: list[dict[int, tuple[int, int, int, int]]]


def make_video(
    seed: int,
    frames: int = 120,
    height: int = 240,
    width: int = 320,
    things: int = 4,
    *,
    size: tuple[float, float] = (0.15, 0.3),
    pauses: bool = True,
    rest: int = 0,
    visible: bool = False,
    people: bool = False,
    shadows: float = 0.7,
    light: float = 0.0,
    light_step: float = 1.0,
    flicker: float = 0.0,
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
        size: Smallest and largest height of a thing divided by that of the frame.
        pauses: Whether things stop for a while.
        rest: Frames for which things stop instead, after the first fifth of the video; they sway
            by a pixel, and their legs stand still. 0 for pauses.
        visible: Whether all things are visible from the first frame on.
        people: Whether no thing is a vehicle.
        shadows: Gain of the shadows that things cast; 1 for none.
        light: Amplitude of a slow change of the brightness; 0.1 is ten percent.
        light_step: Gain of the light from the middle of the video on.
        flicker: Largest change of the brightness of a frame, at random; 0.1 is ten percent.
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
    panned = pan * np.arange(frames, dtype=np.float64)
    camera[:, 0] += panned - panned.min()
    scene = Scene(
        frames=frames,
        height=height,
        width=width,
        size=size,
        pauses=pauses,
        rest=rest,
        visible=visible,
        people=people,
        shadows=shadows,
        camera=camera,
        panned=panned,
    )
    moving = [make_thing(rng, scene, k) for k in range(things)]
    pole_x = int(rng.integers(world_width // 4, 3 * world_width // 4)) if pole else None
    made, labels, boxes = [], [], []
    for time in range(frames):
        image = world.copy()
        if waves:
            _sway(image, time)
        label = np.zeros(image.shape[:2], np.uint8)
        whole: dict[int, tuple[int, int, int, int]] = {}
        for thing in moving:
            draw_shadow(image, thing, time)
        for number, thing in enumerate(moving, start=1):
            box = draw_thing(image, label, thing, time, number)
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
        gain *= 1 + rng.uniform(-flicker, flicker) if flicker else 1
        image = 255 * np.clip(image * gain, 0, 1) + rng.normal(0, noise, image.shape)
        made.append(_compress(np.rint(image).clip(0, 255).astype(np.uint8), quality))
        labels.append(label)
        seen = {}
        for number, (x0, y0, x1, y1) in whole.items():
            corners = np.rint(np.array([x0 - x, y0 - y, x1 - x, y1 - y])).astype(int)
            x0, y0, x1, y1 = corners.clip(0, [width, height, width, height]).tolist()
            seen_pixels = int((label == number).sum())
            if x1 - x0 >= 3 and y1 - y0 >= 3 and seen_pixels >= 0.2 * moving[number - 1].pixels:
                seen[number] = (x0, y0, x1, y1)
        boxes.append(seen)
    return MadeVideo(frames=np.stack(made), labels=np.stack(labels), boxes=boxes)


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
    image += fine_texture(rng, height, width, 0.03)[..., None]
    return cv2.GaussianBlur(image, (3, 3), 0).clip(0.08, 0.92)


def _sway(image: Image, time: int) -> None:
    height, width = image.shape[0] // 3, image.shape[1] // 3
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx = 1.5 * np.sin(0.7 * time + 0.15 * y) * np.minimum(x, width - x) / width * 2
    image[:height, :width] = cv2.remap(
        image[:height, :width].copy(), x + dx.astype(np.float32), y, cv2.INTER_LINEAR
    )
