"""The background, drawn at twice its size and downsampled."""

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.frames.cows.noise import Array, Canvas, fractal_noise, mix, smoothstep
from patchmatch.frames.cows.trees import draw_oak, draw_woods

HORIZON = 0.15  # upper end of the pasture as a share of the height


def draw_pasture(
    height: int, width: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw the background.

    Args:
        height: Rows.
        width: Columns.
        rng: Random generator.

    Returns:
        The image, (height, width, 3) float in 0..255, RGB, and the mask of the pond,
        (height, width) bool.
    """
    h, w = 2 * height, 2 * width
    horizon = int(HORIZON * h)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    near = np.clip((y - horizon) / (h - horizon), 0, 1)  # 0 at the horizon, 1 at the lower border
    image = _draw_meadow(near, rng)
    bare, image = _draw_path(image, x, near, rng)
    water, image = _draw_pond(image, x, y, rng)
    canvas = _draw_hills(image, x, y, horizon, rng)
    draw_woods(canvas, horizon, rng)
    _draw_fence(canvas, horizon, rng)
    draw_oak(canvas, horizon, rng)
    _draw_grass(canvas, near, np.maximum(bare, water), rng)
    _draw_reeds(canvas, water, rng)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    pond = cv2.resize(water, (width, height), interpolation=cv2.INTER_AREA) > 0.05
    return small, pond


def _draw_meadow(near: Array, rng: np.random.Generator) -> Array:
    """Draw the ground: yellowish at the horizon, deep green in front, with smooth variation."""
    h, w = near.shape
    image = mix((158, 178, 96), (84, 128, 44), near**0.7)
    dry = fractal_noise(rng, h, w, h / 5, 4, aspect=3.5)
    lush = fractal_noise(rng, h, w, h / 7, 5, aspect=2.5)
    image = mix(image, (186, 178, 92), 0.42 * smoothstep(dry, 0.1, 2.2))
    image = mix(image, (58, 112, 38), 0.55 * smoothstep(lush, 0.0, 2.2))
    fine = fractal_noise(rng, h, w, 14, 3, aspect=2.2) * (0.5 + near)
    return image * (1 + 0.055 * fine)[..., None]


def _draw_path(
    image: Array, x: Array, near: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw a winding path from the lower border to the fence; return its mask and the image."""
    h, w = near.shape
    side = rng.uniform(0.40, 0.60)
    centre = w * (side - 0.2 * near + 0.14 * np.sin(5.2 * near**0.6 + 0.4))
    half = w * (0.004 + 0.038 * near)
    wobble = 0.22 * fractal_noise(rng, h, w, 46, 4, aspect=1.6)
    off = np.abs(x - centre) / half
    bare = (1 - smoothstep(off + wobble, 0.65, 1.25)) * (near > 0)
    rut = np.exp(-(((off - 0.5) / 0.2) ** 2))
    soil = fractal_noise(rng, h, w, 18, 4, aspect=2)
    color = mix((196, 172, 128), (150, 122, 84), 0.35 + 0.3 * rut + 0.12 * soil)
    return bare, mix(image, color, 0.9 * bare)


def _draw_pond(image: Array, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw a pond with a muddy bank and reflected sky; return its mask and the image."""
    h, w = y.shape
    cx, cy = w * rng.uniform(0.80, 0.86), h * rng.uniform(0.305, 0.33)
    rx, ry = 0.115 * w, 0.036 * h
    shore = 0.13 * fractal_noise(rng, h, w, h / 9, 3, aspect=2.5)
    far = np.hypot((x - cx) / rx, (y - cy) / ry) + shore
    water = 1 - smoothstep(far, 0.97, 1.02)
    bank = 1 - smoothstep(far, 1.02, 1.3)
    ripple = fractal_noise(rng, h, w, 16, 3, aspect=7)
    depth = np.clip((y - cy + ry) / (2 * ry), 0, 1)
    color = mix((84, 112, 104), (178, 206, 220), depth) * (1 + 0.075 * ripple)[..., None]
    image = mix(image, (118, 104, 68), 0.6 * bank)
    return water, mix(image, color, water)


def _draw_hills(image: Array, x: Array, y: Array, horizon: int, rng: np.random.Generator) -> Canvas:
    """Draw sky, clouds and three wooded ridges above the horizon; return a uint8 image."""
    h, w = y.shape
    cloud = fractal_noise(rng, h, w, horizon / 2, 6, aspect=2.4)
    sky = mix((120, 172, 220), (214, 230, 236), np.clip(y / horizon / 0.4, 0, 1))
    sky = mix(sky, (252, 250, 244), 0.9 * smoothstep(cloud, -0.4, 0.9))
    image = np.where((y < horizon)[..., None], sky, image)
    canvas = np.clip(image, 0, 255).astype(np.uint8)
    ridges = ((0.24, (134, 160, 166)), (0.42, (112, 148, 130)), (0.64, (108, 144, 84)))
    for level, color in ridges:
        phase = rng.uniform(0, 6.3, 2)
        wave = np.sin(6.3 * x[0] / w + phase[0]) + 0.45 * np.sin(17 * x[0] / w + phase[1])
        ridge = (horizon * (level + 0.07 * wave)).astype(int)
        outline = np.stack([x[0], ridge], axis=1).astype(np.int32)
        corners = np.array(((w, horizon), (0, horizon)), np.int32)
        cv2.fillPoly(canvas, [np.concatenate([outline, corners])], color, 16)
        # Tree tops from far to near, with clearings by thresholded noise
        wood = fractal_noise(rng, h, w, 70, 3, aspect=3)
        count = w * horizon // 34
        px, py = rng.integers(0, w, count), np.sort(rng.uniform(0, 1, count))
        py = (ridge[px] + py * (horizon - 6 - ridge[px])).astype(int)
        tone = rng.normal(0.97, 0.09 + 0.1 * level, count)
        for i in np.flatnonzero(wood[py.clip(0, h - 1), px] > -0.75 + 0.9 * level):
            size = (3, 3) if level < 0.5 else (5, 4)
            tint = (np.array(color) * tone[i]).clip(0, 255).tolist()
            cv2.ellipse(canvas, (int(px[i]), int(py[i])), size, 0, 180, 360, tint, -1, 16)
    return canvas


def _draw_fence(canvas: Canvas, horizon: int, rng: np.random.Generator) -> None:
    """Draw a fence with two rails at the far edge."""
    h, w = canvas.shape[:2]
    posts = np.arange(-10, w + 60, 58) + rng.uniform(-4, 4, len(range(-10, w + 60, 58)))
    feet = horizon + 0.028 * h + 5 * np.sin(posts / w * 7) + rng.uniform(-1, 1, len(posts))
    tall = 30 + rng.uniform(-2, 2, len(posts))
    for part in (0.42, 0.82):
        line = np.stack([posts, feet - part * tall], axis=1).round().astype(np.int32)
        cv2.polylines(canvas, [line + np.array((0, 2))], False, (84, 74, 58), 2, 16)
        cv2.polylines(canvas, [line], False, (178, 162, 132), 3, 16)
    for px, foot, size in zip(posts, feet, tall, strict=True):
        base, top = (round(px), round(foot)), (round(px + rng.uniform(-2, 2)), round(foot - size))
        cv2.line(canvas, (base[0] + 2, base[1]), (top[0] + 2, top[1]), (76, 64, 50), 6, 16)
        cv2.line(canvas, base, top, (186, 170, 140), 4, 16)


def _draw_grass(canvas: Canvas, near: Array, bare: Array, rng: np.random.Generator) -> None:
    """Draw grass blades, tufts and flowers from far to near; near ones are larger."""
    h, w = near.shape
    horizon = int(np.argmax(near[:, 0] > 0))
    count = h * w // 42
    y = (
        np.sort(horizon + (h - horizon) * rng.uniform(0, 1, count) ** 0.9)
        .astype(int)
        .clip(0, h - 1)
    )
    x = rng.integers(0, w, count)
    nearness = near[y, x]
    tuft = fractal_noise(rng, h, w, 60, 3, aspect=2)[y, x]
    tall = (3 + 13 * nearness) * rng.uniform(0.6, 1.3, count) * np.where(tuft > 1.1, 1.55, 1)
    lean = rng.normal(0, 0.33, count) * tall
    tone = rng.normal(1.03, 0.17, count) - 0.12 * (tuft > 1.1)
    hue = rng.normal(0, 7, count)
    flower = rng.uniform(0, 1, count)
    blossom = fractal_noise(rng, h, w, 200, 2, aspect=3)[y, x] > 0.4
    keep = bare[y, x] < rng.uniform(0.05, 0.9, count)
    base = canvas[y, x].astype(np.float32)
    color = (base * tone[:, None] + np.stack([hue, hue / 3, -hue / 2], axis=1)).clip(0, 255)
    for i in np.flatnonzero(keep):
        start = (16 * int(x[i]), 16 * int(y[i]))  # four fractional bits
        stop = (int(16 * (x[i] + lean[i])), int(16 * (y[i] - tall[i])))
        cv2.line(canvas, start, stop, color[i].tolist(), 2 if nearness[i] > 0.3 else 1, 16, 4)
        if flower[i] > 0.985 and blossom[i]:
            petal = (250, 246, 236) if flower[i] > 0.9905 else (244, 208, 66)
            radius = int(16 * (0.9 + 1.6 * nearness[i]))
            cv2.circle(canvas, stop, radius, petal, -1, 16, 4)


def _draw_reeds(canvas: Canvas, water: Array, rng: np.random.Generator) -> None:
    """Draw reeds along the far bank of the pond."""
    rim = np.argwhere(
        np.diff((water > 0.5).astype(np.int8), axis=0) == 1
    )  # grass above, water below
    if not len(rim):
        return
    for y, x in rim[rng.integers(0, len(rim), len(rim) // 2)]:
        tall = rng.uniform(6, 24) * (0.6 + 0.4 * np.sin(x / 23))
        tone = np.array((98, 122, 58)) * rng.uniform(0.6, 1.25)
        stop = (int(x + rng.normal(0, 3)), int(y - tall))
        cv2.line(canvas, (int(x), int(y + 3)), stop, tone.clip(0, 255).tolist(), 2, 16)
