"""Draw a herd of cows that walks over a pasture, with the exact truth of every movement.

    python3 dev/render_frames.py --output data/images/cows

Everything is drawn from a seed, nothing is downloaded: a pasture that never moves, and cows whose
sprites move by whole pixels from frame to frame. The folder receives the ordered frames
``frame_0.png``, ``frame_1.png``, ... (no zero padding: the order is the natural one) and the truth:

* ``truth.csv``: a row per object and frame pair, ``frame0,frame1,object,x0,y0,x1,y1,dx,dy``. The
  box is that of the object's visible surface in frame 0 (xyxy, pixels, half-open; (0, 0) is the
  centre of the top-left pixel); ``image0[y, x]`` looks like ``image1[y + dy, x + dx]``.
* ``truth_masks.npz``: ``labels`` and ``velocity`` of :class:`Sequence`.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_HEIGHT, MIN_WIDTH = 192, 256  # the largest cow and the ground it walks over still fit
AREA_PER_COW = 49_000  # square pixels: nine cows at 768 x 576
COW_WIDTH = (122, 168)  # pixels from tail to muzzle, at the far end of the pasture and at the near
UNDECIDED = 255  # label of a soft edge or shadow of a cow that walks: it belongs to no motion
MAJORITY, TRACE = 0.8, 0.05  # see block_truth
HORIZON = 0.15  # where the pasture ends, as a part of the height
VELOCITIES = ((1, 0), (-3, 0), (0, 0), (2, 0), (-1, 0), (5, 0), (1, 1), (0, 0), (-2, 0))
TRUTH_COLUMNS = ("frame0", "frame1", "object", "x0", "y0", "x1", "y1", "dx", "dy")

Array = NDArray[np.floating]
Points = Items[tuple[float, float]] | Array
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Sequence:
    """Rendered frames and their truth.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        labels: (T, H, W) uint8: 0 is the background and k is object k, where it is visible and
            covers at least half of the pixel; nearer cows hide farther ones. A pixel labelled k
            shows object k alone, so it is found again, unchanged, where the object moves to.
            ``UNDECIDED`` marks what a walking cow only tints: its soft edge and its shadow.
        velocity: (K + 1, 2) int: dx, dy in pixels a frame of every label; row 0 is the background.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    velocity: NDArray[np.int64]


@dataclass(frozen=True)
class Cow:
    """A drawn cow: ``color`` (h, w, 3) in 0..255, ``alpha`` and ``shadow`` (h, w) in 0..1."""

    color: Array
    alpha: Array
    shadow: Array


def render_sequence(
    frames: int = 12,
    height: int = 576,
    width: int = 768,
    seed: int = 0,
    noise: float = 2.0,
    light: float = 0.03,
) -> Sequence:
    """Render cows that walk over a pasture.

    Args:
        frames: How many frames, at least two.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        seed: Same seed, same sequence.
        noise: Standard deviation of the camera noise in grey levels, drawn anew for every frame.
        light: Amplitude of the slow change of the light; 0.03 is three percent up and down.

    Returns:
        The frames, the labels of their pixels and the velocities of the labels.
    """
    _check(frames, height, width, seed, noise, light)
    pasture, pond = draw_pasture(height, width, np.random.default_rng([seed, 0]))
    herd = place_herd(frames, height, width, seed, pond)
    velocity = np.stack([np.zeros(2, np.int64), *(place.velocity for place in herd)])
    cows, corners = _draw_herd(herd, seed)
    rendered = np.empty((frames, height, width, 3), np.uint8)
    labels = np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        image = pasture.copy()
        labels[t] = 0
        for k, (cow, corner) in enumerate(zip(cows, corners, strict=True), start=1):
            _paint_cow(image, labels[t], cow, corner + t * velocity[k], k, velocity)
        # Half a step of phase, and a period of twelve frames or more: short sequences change too
        gain = 1 + light * np.sin(2 * np.pi * (t + 0.5) / max(frames, 12))
        rng = np.random.default_rng([seed, 1, t])
        grain = noise * rng.standard_normal(image.shape, dtype=np.float32)
        rendered[t] = np.clip(np.rint(image * np.float32(gain) + grain), 0, 255)
    return Sequence(rendered, labels, velocity)


def block_truth(
    labels0: NDArray[np.uint8],
    labels1: NDArray[np.uint8],
    velocity: NDArray[np.integer],
    boxes: ArrayLike,
    still_share: float = MAJORITY,
) -> NDArray[np.int64]:
    """Say what truly happens in each block of a frame pair.

    A block of which one motion holds at least 80 % of the pixels, in frame 0 and in frame 1, has
    the kind of that motion. Otherwise a block in which objects that move cover less than 5 % in
    both frames is still, even where a shadow passes: the ground does not move. Every other block
    is ambiguous, and is to be left out of precision and recall.

    Args:
        labels0: (H, W) labels of frame 0.
        labels1: (H, W) labels of frame 1.
        velocity: (K + 1, 2) displacement of every label from frame 0 to frame 1.
        boxes: (N, 4) integer xyxy, half-open, inside the image.
        still_share: Part of a block that must stand still for a still block. 0.95 makes the blocks
            ambiguous into which a walking cow reaches a little; even a perfect matcher of blocks
            is often drawn to the cow there.

    Returns:
        (N,) kinds: 0 still, 1 moved by one pixel (the larger of ``|dx|`` and ``|dy|`` is 1),
        2 moved by more, -1 ambiguous.
    """
    boxes = np.asarray(boxes, dtype=np.int64).reshape(-1, 4)
    x0, y0, x1, y1 = boxes.T
    height, width = labels0.shape
    outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height) | (x0 >= x1) | (y0 >= y1)
    if labels1.shape != labels0.shape:
        raise ValueError(
            f"labels of a frame pair must have one shape, got {labels0.shape} and "
            f"{labels1.shape}; take both from the same sequence"
        )
    if outside.any():
        raise ValueError(
            f"boxes must be xyxy with area inside the {height}x{width} image, got "
            f"{boxes[outside][0].tolist()}; clip them to the image first"
        )
    motions, motion_of_label = np.unique(velocity, axis=0, return_inverse=True)
    lookup = np.full(256, -1)
    lookup[: len(velocity)] = motion_of_label.reshape(-1)

    def cover(selected: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Part of each block's area that is selected, by an integral image."""
        table = np.zeros(256, np.uint8)
        table[: len(velocity)] = selected[lookup[: len(velocity)]]
        shares = []
        for labels in (labels0, labels1):
            total = cv2.integral(table[labels])  # (H + 1, W + 1)
            area = (x1 - x0) * (y1 - y0)
            inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
            shares.append(inside / area)
        return np.stack(shares)  # (2, N)

    kind_of_motion = np.abs(motions).max(axis=1).clip(max=2)
    kinds = np.full(len(boxes), -1, np.int64)
    kinds[cover(kind_of_motion > 0).max(axis=0) < TRACE] = 0
    for motion, kind in enumerate(kind_of_motion):
        share = MAJORITY if kind else still_share
        kinds[cover(np.arange(len(motions)) == motion).min(axis=0) >= share] = kind
    return kinds


def truth_rows(sequence: Sequence) -> list[tuple[str | int, ...]]:
    """Return the rows of ``truth.csv``; an object that nobody sees in frame 0 has none."""
    rows: list[tuple[str | int, ...]] = []
    for t, labels in enumerate(sequence.labels[:-1]):
        for k, (dx, dy) in enumerate(sequence.velocity[1:].tolist(), start=1):
            left, top, w, h = cv2.boundingRect((labels == k).astype(np.uint8))
            if w:
                box = (left, top, left + w, top + h)
                rows.append((f"frame_{t}", f"frame_{t + 1}", k, *box, dx, dy))
    return rows


# --- the pasture: drawn at twice its size, reduced at the end ----------------------------------


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 4,
    wide: float = 1,
) -> Array:
    """Return smooth noise of mean 0 and deviation 1, (height, width).

    Args:
        rng: Source of the randomness.
        height: Rows.
        width: Columns.
        cell: Size of the coarsest blobs in pixels; each further octave halves it.
        octaves: How many.
        wide: How much wider than high a blob is.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1)
        shape = (int(height / step) + 3, int(width / step / wide) + 3)
        grid = rng.standard_normal(shape, dtype=np.float32) * 0.6**octave
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def _mix(a: Array | Color, b: Array | Color, weight: Array | float) -> Array:
    """Blend colours: ``a`` at weight 0 and ``b`` at weight 1; a (H, W) weight gives (H, W, 3)."""
    weight = np.asarray(weight, np.float32)[..., None]
    return np.asarray(a, np.float32) * (1 - weight) + np.asarray(b, np.float32) * weight


def _smoothstep(x: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def draw_pasture(
    height: int, width: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw the background.

    Args:
        height: Rows.
        width: Columns.
        rng: Source of the randomness.

    Returns:
        The picture (height, width, 3) in 0..255, RGB, and a mask of the pond.
    """
    h, w = 2 * height, 2 * width
    horizon = int(HORIZON * h)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    near = np.clip((y - horizon) / (h - horizon), 0, 1)  # 0 at the horizon, 1 at our feet
    image = _draw_meadow(near, rng)
    bare, image = _draw_path(image, x, near, rng)
    water, image = _draw_pond(image, x, y, rng)
    canvas = _draw_hills(image, x, y, horizon, rng)
    _draw_woods(canvas, horizon, rng)
    _draw_fence(canvas, horizon, rng)
    _draw_oak(canvas, horizon, rng)
    _draw_grass(canvas, near, np.maximum(bare, water), rng)
    _draw_reeds(canvas, water, rng)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    pond = cv2.resize(water, (width, height), interpolation=cv2.INTER_AREA) > 0.05
    return small, pond


def _draw_meadow(near: Array, rng: np.random.Generator) -> Array:
    """Paint the ground: hazy and yellowish far away, deep green in front, in drifts of colour."""
    h, w = near.shape
    image = _mix((158, 178, 96), (84, 128, 44), near**0.7)
    dry = fractal_noise(rng, h, w, h / 5, 4, wide=3.5)
    lush = fractal_noise(rng, h, w, h / 7, 5, wide=2.5)
    image = _mix(image, (186, 178, 92), 0.42 * _smoothstep(dry, 0.1, 2.2))
    image = _mix(image, (58, 112, 38), 0.55 * _smoothstep(lush, 0.0, 2.2))
    fine = fractal_noise(rng, h, w, 14, 3, wide=2.2) * (0.5 + near)
    return image * (1 + 0.055 * fine)[..., None]


def _draw_path(
    image: Array, x: Array, near: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Paint a cattle track that winds from our feet to the fence; return where it is, and all."""
    h, w = near.shape
    side = rng.uniform(0.40, 0.60)
    centre = w * (side - 0.2 * near + 0.14 * np.sin(5.2 * near**0.6 + 0.4))
    half = w * (0.004 + 0.038 * near)
    wobble = 0.22 * fractal_noise(rng, h, w, 46, 4, wide=1.6)
    off = np.abs(x - centre) / half
    bare = (1 - _smoothstep(off + wobble, 0.65, 1.25)) * (near > 0)
    rut = np.exp(-(((off - 0.5) / 0.2) ** 2))
    soil = fractal_noise(rng, h, w, 18, 4, wide=2)
    color = _mix((196, 172, 128), (150, 122, 84), 0.35 + 0.3 * rut + 0.12 * soil)
    return bare, _mix(image, color, 0.9 * bare)


def _draw_pond(image: Array, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint a pond with its muddy bank and the sky in it; return where it is, and all."""
    h, w = y.shape
    cx, cy = w * rng.uniform(0.80, 0.86), h * rng.uniform(0.305, 0.33)
    rx, ry = 0.115 * w, 0.036 * h
    shore = 0.13 * fractal_noise(rng, h, w, h / 9, 3, wide=2.5)
    far = np.hypot((x - cx) / rx, (y - cy) / ry) + shore
    water = 1 - _smoothstep(far, 0.97, 1.02)
    bank = 1 - _smoothstep(far, 1.02, 1.3)
    ripple = fractal_noise(rng, h, w, 16, 3, wide=7)
    depth = np.clip((y - cy + ry) / (2 * ry), 0, 1)
    color = _mix((84, 112, 104), (178, 206, 220), depth) * (1 + 0.075 * ripple)[..., None]
    image = _mix(image, (118, 104, 68), 0.6 * bank)
    return water, _mix(image, color, water)


def _draw_hills(
    image: Array, x: Array, y: Array, horizon: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Paint sky, clouds and three wooded ridges above the horizon; return all as a canvas."""
    h, w = y.shape
    cloud = fractal_noise(rng, h, w, horizon / 2, 6, wide=2.4)
    sky = _mix((120, 172, 220), (214, 230, 236), np.clip(y / horizon / 0.4, 0, 1))
    sky = _mix(sky, (252, 250, 244), 0.9 * _smoothstep(cloud, -0.4, 0.9))
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
        # Tree tops, the far ones first; meadows between them where the noise says so
        wood = fractal_noise(rng, h, w, 70, 3, wide=3)
        count = w * horizon // 34
        px, py = rng.integers(0, w, count), np.sort(rng.uniform(0, 1, count))
        py = (ridge[px] + py * (horizon - 6 - ridge[px])).astype(int)
        tone = rng.normal(0.97, 0.09 + 0.1 * level, count)
        for i in np.flatnonzero(wood[py.clip(0, h - 1), px] > -0.75 + 0.9 * level):
            size = (3, 3) if level < 0.5 else (5, 4)
            tint = (np.array(color) * tone[i]).clip(0, 255).tolist()
            cv2.ellipse(canvas, (int(px[i]), int(py[i])), size, 0, 180, 360, tint, -1, 16)
    return canvas


def _draw_foliage(
    canvas: NDArray[np.uint8],
    centre: tuple[float, float],
    radius: tuple[float, float],
    leaf: float,
    tint: NDArray[np.floating],
    rng: np.random.Generator,
) -> None:
    """Dab leaves on an ellipse (centre and radius x, y), dark below and sunlit at the top left."""
    count = int(5.5 * radius[0] * radius[1] / leaf**2) + 8
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    reach *= 1 + 0.16 * np.sin(5 * angle + rng.uniform(0, 6)) + rng.normal(0, 0.05, count)
    u, v = reach * np.cos(angle), reach * np.sin(angle)
    sun = np.clip(0.5 - 0.35 * u - 0.6 * v + rng.normal(0, 0.2, count), 0, 1.1)
    order = np.argsort(sun + rng.normal(0, 0.15, count))
    u, v = centre[0] + radius[0] * u, centre[1] + radius[1] * v
    for i in order:
        color = tint * (0.42 + 0.85 * sun[i]) + np.array((18, 16, 0)) * sun[i] ** 2
        at = (int(u[i]), int(v[i]))
        size = leaf * rng.uniform(0.6, 1.2)
        axes = (max(1, round(size)), max(1, round(0.7 * size)))
        cv2.ellipse(
            canvas, at, axes, rng.uniform(0, 180), 0, 360, color.clip(0, 255).tolist(), -1, 16
        )


def _draw_woods(canvas: NDArray[np.uint8], horizon: int, rng: np.random.Generator) -> None:
    """Line the far edge of the pasture with trees."""
    w = canvas.shape[1]
    x = -20.0
    while x < w + 20:
        if np.sin(9 * x / w + 2.1) > -0.55:  # gaps through which the hills are seen
            size = 0.30 * horizon * rng.uniform(0.55, 1.1)
            tint = np.array((84, 116, 56)) * rng.uniform(0.8, 1.1) + rng.normal(0, 6, 3)
            _draw_foliage(canvas, (x, horizon - 0.5 * size), (0.8 * size, size), 4.5, tint, rng)
        x += rng.uniform(0.14, 0.34) * horizon


def _draw_oak(canvas: NDArray[np.uint8], horizon: int, rng: np.random.Generator) -> None:
    """Draw an oak with its shade at the far left."""
    h, w = canvas.shape[:2]
    foot = (int(0.085 * w), int(horizon + 0.075 * h))
    trunk, bark = 0.016 * w, np.array((92, 74, 56))
    shade = canvas.copy()
    cv2.ellipse(
        shade, (foot[0] + int(0.03 * w), foot[1]), (int(0.1 * w), 14), 0, 0, 360, (44, 66, 28), -1
    )
    shade = cv2.GaussianBlur(shade, (0, 0), 7)
    band = slice(foot[1] - 45, foot[1] + 45)
    canvas[band] = cv2.addWeighted(canvas[band], 0.4, shade[band], 0.6, 0)
    for strip in np.linspace(-1, 1, 26):
        lean = strip * trunk * 0.5
        tone = bark * (1.05 - 0.45 * strip + rng.normal(0, 0.12))
        top = (round(foot[0] + 0.7 * lean), max(0, foot[1] - int(0.14 * h)))
        base = (round(foot[0] + lean * 1.5), foot[1] + round(5 * (1 - strip**2)))
        cv2.line(canvas, base, top, tone.clip(0, 255).tolist(), 2, 16)
    for _ in range(9):
        at = (foot[0] + rng.normal(0, 0.045) * w, foot[1] - (0.15 + rng.uniform(-0.05, 0.06)) * h)
        tint = np.array((88, 124, 50)) * rng.uniform(0.85, 1.08)
        _draw_foliage(canvas, at, (0.055 * w, 0.05 * h), 6, tint, rng)


def _draw_fence(canvas: NDArray[np.uint8], horizon: int, rng: np.random.Generator) -> None:
    """Fence the far edge with posts and two rails."""
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


def _draw_grass(
    canvas: NDArray[np.uint8], near: Array, bare: Array, rng: np.random.Generator
) -> None:
    """Draw blades, tufts and flowers, the far ones first; their size grows toward us."""
    h, w = near.shape
    horizon = int(np.argmax(near[:, 0] > 0))
    count = h * w // 42
    y = (
        np.sort(horizon + (h - horizon) * rng.uniform(0, 1, count) ** 0.9)
        .astype(int)
        .clip(0, h - 1)
    )
    x = rng.integers(0, w, count)
    grown = near[y, x]
    tuft = fractal_noise(rng, h, w, 60, 3, wide=2)[y, x]
    tall = (3 + 13 * grown) * rng.uniform(0.6, 1.3, count) * np.where(tuft > 1.1, 1.55, 1)
    lean = rng.normal(0, 0.33, count) * tall
    tone = rng.normal(1.03, 0.17, count) - 0.12 * (tuft > 1.1)
    hue = rng.normal(0, 7, count)
    flower = rng.uniform(0, 1, count)
    blossom = fractal_noise(rng, h, w, 200, 2, wide=3)[y, x] > 0.4
    keep = bare[y, x] < rng.uniform(0.05, 0.9, count)
    base = canvas[y, x].astype(np.float32)
    color = (base * tone[:, None] + np.stack([hue, hue / 3, -hue / 2], axis=1)).clip(0, 255)
    for i in np.flatnonzero(keep):
        start = (16 * int(x[i]), 16 * int(y[i]))  # four fractional bits
        stop = (int(16 * (x[i] + lean[i])), int(16 * (y[i] - tall[i])))
        cv2.line(canvas, start, stop, color[i].tolist(), 2 if grown[i] > 0.3 else 1, 16, 4)
        if flower[i] > 0.985 and blossom[i]:
            petal = (250, 246, 236) if flower[i] > 0.9905 else (244, 208, 66)
            radius = int(16 * (0.9 + 1.6 * grown[i]))
            cv2.circle(canvas, stop, radius, petal, -1, 16, 4)


def _draw_reeds(canvas: NDArray[np.uint8], water: Array, rng: np.random.Generator) -> None:
    """Let reeds grow along the far bank of the pond."""
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


# --- the cows: drawn at four times their size in units of 1/150 of their length ----------------

TRUNK = (
    (19, 21), (14, 26), (13, 38), (16, 52), (28, 58), (48, 63), (70, 65), (90, 63), (101, 55),
    (105, 42), (99, 26), (88, 19), (70, 21), (48, 20), (30, 18),
)  # fmt: skip
NECK_UP = ((82, 20), (94, 15), (108, 7), (118, 6), (121, 20), (114, 32), (106, 50), (94, 54))
HEAD_UP = ((113, 6), (122, 4), (131, 11), (140, 21), (144, 28), (140, 36), (131, 36), (118, 28))
NECK_DOWN = ((84, 20), (98, 23), (111, 38), (121, 56), (117, 66), (107, 63), (98, 58), (90, 50))
HEAD_DOWN = ((113, 52), (122, 50), (129, 61), (134, 76), (136, 85), (130, 91), (121, 89), (111, 68))
HIND_LEG = (
    (14, 36), (30, 40), (31, 54), (25, 64), (23.5, 72), (23, 84), (25.5, 94), (16.5, 94), (17, 84),
    (16, 73), (13, 66), (13, 52),
)  # fmt: skip
FORE_LEG = (
    (85, 46), (99, 46), (98.5, 60), (96, 70), (95, 75), (94.5, 86), (97, 94), (88, 94), (88.5, 86),
    (88, 75), (87, 69), (85, 60),
)  # fmt: skip
MARGIN, UNITS = (14, 10), (178, 122)  # space around the cow for its shadow; all of the sprite


def _curve(points: Points) -> Array:
    """Return the closed Catmull-Rom curve through the points, eight vertices a span."""
    p1 = np.asarray(points, np.float32)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, 8, endpoint=False, dtype=np.float32)[:, None, None]
    spans = p1 + 0.5 * t * (
        p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0))
    )  # (8, N, 2)
    return spans.transpose(1, 0, 2).reshape(-1, 2)


class _CowPainter:
    """Paints the parts of one cow on its canvas, each shaded as a rounded body.

    Args:
        width: Length of the cow in pixels of the picture.
        left: Whether it looks to the left.
        rng: Source of its coat.
    """

    def __init__(self, width: int, left: bool, rng: np.random.Generator) -> None:
        self.scale = 4 * width / 150
        self.left = left
        self.width, self.height = (4 * round(size * self.scale / 4) for size in UNITS)
        shape = (self.height, self.width)
        self.color = np.zeros((*shape, 3), np.float32)
        self.alpha = np.zeros(shape, np.uint8)
        spots = fractal_noise(rng, *shape, cell=23 * self.scale, octaves=4, wide=1.15)
        edge = 0.05 * fractal_noise(rng, *shape, cell=10, octaves=2)
        dark = _smoothstep(spots + edge - rng.uniform(-0.35, 0.35), -0.06, 0.06)
        pigment = (112, 62, 36) if rng.uniform() < 0.22 else (38, 35, 36)
        # Hair: what a block matcher holds on to where the coat has one colour
        self.hair = fractal_noise(rng, *shape, cell=28, octaves=3, wide=0.7)
        self.pigment = np.asarray(pigment, np.float32)
        self.coat = _mix((208, 202, 191), pigment, dark)

    def place(self, points: ArrayLike) -> Array:
        """Convert points from cow units to canvas pixels."""
        at = (np.asarray(points, np.float32) + MARGIN) * self.scale
        if self.left:
            at[..., 0] = self.width - at[..., 0]
        return at

    def paint(
        self,
        *outlines: Array,
        color: Array | Color | None = None,
        depth: float = 12,
        shade: float = 1,
    ) -> None:
        """Paint a closed part.

        Args:
            outlines: Its vertices in cow units; several outlines become one body.
            color: Its colour, the coat by default.
            depth: Radius of its rounded edge in cow units.
            shade: Factor of its brightness; parts of the far side are darker.
        """
        radius = depth * self.scale
        places = [self.place(outline).round().astype(np.int32) for outline in outlines]
        border = int(0.9 * radius) + 2  # the reach of the blur
        low = (np.concatenate(places).min(axis=0) - border).clip(min=0)
        high = np.concatenate(places).max(axis=0) + border
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros_like(self.alpha[part])
        for place in places:
            cv2.fillPoly(mask, [place - low], 1)
        inset = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 5) / radius, 1)
        bump = radius * np.sqrt(1 - (1 - inset) ** 2)
        bump = cv2.GaussianBlur(bump, (0, 0), 0.22 * radius)
        gy, gx = np.gradient(bump)
        # Sun from the upper left, before us
        lit = (0.35 * gx + 0.72 * gy + 0.62) / np.sqrt(1 + gx**2 + gy**2)
        glow = shade * (0.5 + 0.74 * np.clip(lit, -0.1, 0.98))
        base = self.coat[part] if color is None else np.asarray(color, np.float32)
        hair = 9 * self.hair[part] * (0.6 + 0.4 * glow)
        np.copyto(
            self.color[part], base * glow[..., None] + hair[..., None], where=mask[..., None] > 0
        )
        self.alpha[part] |= mask

    def disc(self, at: tuple[float, float], radius: tuple[float, float], turn: float) -> Array:
        """Return the outline of an ellipse in cow units, turned by ``turn`` degrees."""
        angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        return (points @ np.array(((c, s), (-s, c))) + at).astype(np.float32)


def draw_cow(width: int, left: bool, grazing: bool, walking: bool, rng: np.random.Generator) -> Cow:
    """Draw a Holstein cow seen from the side.

    Args:
        width: Length in pixels.
        left: Whether it looks to the left.
        grazing: Whether its head is at the grass.
        walking: Whether its legs are in stride. The pose stays: truth is exact for every pixel.
        rng: Source of its coat.

    Returns:
        The sprite, reduced from four times its size.
    """
    p = _CowPainter(width, left, rng)
    stride = 6.0 if walking else 1.5
    legs = ((HIND_LEG, 3.5, 1.1 * stride, True), (FORE_LEG, -3.5, -stride, True))
    legs += ((HIND_LEG, 0, -0.7 * stride, False), (FORE_LEG, 0, stride, False))
    hooves = []

    def leg(outline: Points, offset: float, swing: float, far: bool) -> None:
        """Paint a leg whose hoof is swung forward by ``swing`` units."""
        points = np.asarray(outline, np.float32).copy()
        reach = np.clip((points[:, 1] - 46) / 48, 0, 1) ** 1.3
        points[:, 0] += offset + swing * reach
        points[:, 1] -= 2.5 * far * (points[:, 1] > 60)
        curve = _curve(points)
        p.paint(curve, depth=5, shade=0.62 if far else 1)
        hoof = curve[curve[:, 1] > (87.5 if far else 90)]
        p.paint(hoof, color=(70, 62, 54), depth=3, shade=0.7 if far else 1)
        hooves.append(hoof.mean(axis=0))

    swish = rng.uniform(-2, 3)
    tail = ((17, 22), (20, 24), (13, 36), (11 - swish, 52), (11.5 - swish, 66), (8.5 - swish, 66))
    p.paint(_curve((*tail, (8.5 - swish, 52), (11, 34))), depth=2.5, shade=0.9)
    tuft = ((8, 62), (12, 62), (13.5, 72), (10, 80), (6.5, 72))
    p.paint(_curve([(x - swish, y) for x, y in tuft]), color=p.pigment + 22, depth=3)
    for part in legs[:2]:
        leg(*part)
    p.paint(p.disc((37, 61), (9.5, 6.5), -8), color=(222, 168, 152), depth=6)
    for x in (33, 40):
        p.paint(p.disc((x, 67), (1.5, 2.8), 0), color=(206, 146, 132), depth=2)
    neck, head = (NECK_DOWN, HEAD_DOWN) if grazing else (NECK_UP, HEAD_UP)
    _paint_ear(p, head)
    p.paint(_curve(TRUNK), _curve(neck), depth=20)
    for part in legs[2:]:
        leg(*part)
    _paint_head(p, head, rng)

    blur = p.scale * 3.2
    ground = np.zeros(p.alpha.shape, np.float32)
    spread = p.disc((63, 95), (52, 5.5), 0)
    cv2.fillPoly(ground, [p.place(spread).round().astype(np.int32)], 0.55)
    ground = np.roll(ground, round(4 * p.scale), axis=1)  # away from the sun
    ground = cv2.GaussianBlur(ground, (0, 0), blur, sigmaY=0.55 * blur)
    for x, y in hooves:
        contact = np.zeros_like(ground)
        outline = p.place(p.disc((x, y + 2.5), (7, 2.2), 0)).round().astype(np.int32)
        cv2.fillPoly(contact, [outline], 0.5)
        ground = np.maximum(ground, cv2.GaussianBlur(contact, (0, 0), 1.2 * p.scale))
    size = (p.width // 4, p.height // 4)
    alpha = cv2.resize(p.alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    color = cv2.resize(p.color.clip(0, 255), size, interpolation=cv2.INTER_AREA)
    color /= np.maximum(alpha, 1e-3)[..., None]  # colours were averaged with empty black around
    shadow = cv2.resize(ground, size, interpolation=cv2.INTER_AREA)
    # Only what is covered by less than a half is mixed: a labelled pixel is the cow's alone
    return Cow(color, np.minimum(2 * alpha, 1), np.where(shadow < 0.012, 0, shadow))


def _face(head: Points) -> tuple[Callable[[float, float], tuple[float, float]], float]:
    """Return a map from (units to the muzzle, units to the forehead) to cow units, and a turn.

    One face is drawn for raised and lowered heads; the turn is that of the nose in degrees.
    """
    poll = np.array(head[0])
    along = np.mean(np.asarray(head[4:6]), axis=0) - poll
    along /= np.linalg.norm(along)
    brow = np.array((along[1], -along[0]))

    def at(forward: float, up: float) -> tuple[float, float]:
        x, y = poll + forward * along + up * brow
        return float(x), float(y)

    return at, float(np.degrees(np.arctan2(along[1], along[0])))


def _paint_ear(p: _CowPainter, head: Points) -> None:
    """Paint the ear of the far side, which looks out behind the head."""
    at, turn = _face(head)
    p.paint(p.disc(at(1, 6), (6, 2.6), turn - 125), color=p.pigment + 8, depth=2, shade=0.75)


def _paint_head(p: _CowPainter, head: Points, rng: np.random.Generator) -> None:
    """Paint face, muzzle, eye and the near ear with its tag."""
    at, turn = _face(head)
    p.paint(_curve(head), color=p.pigment + 8, depth=8)
    if rng.uniform() < 0.8:
        blaze = (at(3, 3.4), at(12, 4.2), at(26, 4.5), at(26, 0.4), at(13, 1.2))
        p.paint(_curve(blaze), color=(210, 204, 193), depth=5)
    p.paint(p.disc(at(33, -0.8), (5.0, 6.6), turn), color=(196, 158, 146), depth=5)
    p.paint(p.disc(at(35, 2), (1.5, 0.9), turn + 30), color=(64, 42, 40), depth=1)
    mouth = np.array((at(36, -4), at(29, -5.8), at(29, -6.5), at(36, -4.8)))
    p.paint(mouth, color=(92, 66, 62), depth=1)
    p.paint(p.disc(at(11, -0.6), (2.9, 2.1), turn), color=p.pigment + 64, depth=3)
    p.paint(p.disc(at(11, -0.7), (2.0, 1.5), turn), color=(20, 16, 15), depth=9)
    p.paint(p.disc(at(10.6, 0.1), (0.6, 0.6), 0), color=(236, 236, 236), depth=1)
    p.paint(p.disc(at(-0.5, -5), (7.2, 3.1), turn + 150), color=p.pigment + 18, depth=3)
    p.paint(p.disc(at(-3.2, -7.6), (1.7, 2.0), turn), color=(222, 172, 46), depth=2)


# --- the herd: who stands where and walks how --------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a cow starts, its length in pixels, its velocity and the box (xyxy) of all its way."""

    start: NDArray[np.int64]
    size: int
    velocity: NDArray[np.int64]
    way: NDArray[np.int64]


def _propose_place(
    velocity: NDArray[np.int64], span: int, height: int, width: int, rng: np.random.Generator
) -> Place:
    """Return a random place from which a cow stays inside the picture for ``span`` steps."""
    near = rng.uniform()
    size = round(COW_WIDTH[0] + (COW_WIDTH[1] - COW_WIDTH[0]) * near)
    box = np.array((size, round(0.66 * size)))
    travel = velocity * span
    far_foot = (HORIZON + 0.17) * height  # well in front of the fence
    low = np.array((5, max(far_foot - box[1], 0))) - travel.clip(max=0)
    high = np.array((width - 5, height - 8)) - box - travel.clip(min=0)
    at = np.array((rng.uniform(), near))  # the nearer, the larger and the lower in the picture
    start = (low + at * (high - low).clip(min=0)).round().astype(np.int64)
    end = start + travel
    way = np.concatenate([np.minimum(start, end), np.maximum(start, end) + box])
    return Place(start, size, velocity, way)


def _crowding(place: Place, other: Place) -> float:
    """Return how much two ways are in each other's way: overlap counts most, nearness a little."""
    a, b = place.way, other.way
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(min=0).prod()
    smaller = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    apart = np.abs(a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(10 * common / smaller + np.exp(-np.hypot(*(apart / (150, 90)))))


def place_herd(
    frames: int, height: int, width: int, seed: int, pond: NDArray[np.bool_]
) -> list[Place]:
    """Find a place for every cow; their number grows with the area.

    Each takes the best of many random places: off the pond, and out of the others' ways.

    Args:
        frames: Frames of the sequence; the cows stay in the picture for the first twelve.
        height: Rows of the picture.
        width: Columns of the picture.
        seed: Seed of the sequence.
        pond: (height, width), where no cow may stand.

    Returns:
        The places, the farthest first.
    """
    count = min(max(round(height * width / AREA_PER_COW), 2), UNDECIDED - 1)
    span = min(frames, 12) - 1
    rng = np.random.default_rng([seed, 2])
    herd: list[Place] = []
    for k in range(count):
        velocity = np.array(VELOCITIES[k % len(VELOCITIES)])
        costs, places = [], []
        for _ in range(240):
            place = _propose_place(velocity, span, height, width, rng)
            left, _, right, foot = place.way
            wet = pond[max(foot - 14, 0) : foot + 5, left:right].mean()
            costs.append(20 * float(wet) + sum(_crowding(place, other) for other in herd))
            places.append(place)
        herd.append(places[int(np.argmin(costs))])
    return sorted(herd, key=lambda place: (int(place.way[3]), int(place.way[0])))


def _draw_herd(herd: Items[Place], seed: int) -> tuple[list[Cow], list[NDArray[np.int64]]]:
    """Return a sprite for every place, and the sprite's top-left corner in frame 0."""
    cows, corners = [], []
    for k, place in enumerate(herd):
        rng = np.random.default_rng([seed, 3, k])
        walks = bool(place.velocity.any())
        left = place.velocity[0] < 0 or (not walks and bool(rng.integers(2)))
        grazing = rng.uniform() < (0.75, 0.4, 0)[min(int(np.abs(place.velocity).max()), 2)]
        cows.append(draw_cow(place.size, left, grazing, walks, rng))
        margin = np.round(np.array(MARGIN) * place.size / 150).astype(np.int64)
        margin[0] = margin[0] if not left else cows[-1].alpha.shape[1] - place.size - margin[0]
        corners.append(place.start - margin)
    return cows, corners


def _paint_cow(
    image: Array,
    labels: NDArray[np.uint8],
    cow: Cow,
    corner: NDArray[np.int64],
    k: int,
    velocity: NDArray[np.int64],
) -> None:
    """Paint cow ``k`` with its shadow on the image and its labels, both in place."""
    height, width = labels.shape
    h, w = cow.alpha.shape
    x0, y0 = corner.clip(0, (width, height))
    x1, y1 = (corner + np.array((w, h))).clip(0, (width, height))
    part = np.s_[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
    alpha, shadow = cow.alpha[part], cow.shadow[part]
    target, under = image[y0:y1, x0:x1], labels[y0:y1, x0:x1]
    target[:] = _mix(target, (22, 34, 14), shadow)
    target[:] = _mix(target, cow.color[part], alpha)
    walks = np.abs(velocity).max(axis=1) > 0  # (K + 1,)
    # What is only tinted stays what it was if all of it stands still, and else is nobody's
    moves = walks[k] | (under == UNDECIDED) | walks[np.where(under == UNDECIDED, 0, under)]
    under[((alpha > 0) | (shadow > 0)) & moves] = UNDECIDED
    under[alpha == 1] = k


# --- files and command line --------------------------------------------------------------------


def _check(frames: int, height: int, width: int, seed: int, noise: float, light: float) -> None:
    """Refuse what cannot be rendered."""
    if frames < 2:
        raise ValueError(f"frames must be at least 2 to show a movement, got {frames}")
    if height < MIN_HEIGHT or width < MIN_WIDTH:
        raise ValueError(
            f"a frame must be at least {MIN_HEIGHT} pixels high and {MIN_WIDTH} wide to hold a "
            f"walking cow, got {height}x{width}; enlarge --height and --width"
        )
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if not 0 <= noise <= 255:
        raise ValueError(f"noise must be between 0 and 255 grey levels, got {noise}")
    if not 0 <= light < 1:
        raise ValueError(f"light must be at least 0 and below 1 (0.03 is 3 percent), got {light}")


def _check_folder(folder: Path, overwrite: bool) -> list[Path]:
    """Return the earlier frames that may be replaced; refuse to mix ours with other pictures."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; give --output a folder")
    pictures = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in pictures)
    foreign = [path for path in found if not re.fullmatch(r"frame_\d+\.png", path.name)]
    if foreign:
        raise ValueError(
            f"{folder} holds pictures of another origin, such as {foreign[0].name}; "
            "give --output another folder"
        )
    if not overwrite and (found or (folder / "truth.csv").exists()):
        raise ValueError(
            f"{folder} already holds frames; give --overwrite to replace them, or --output "
            "another folder"
        )
    return found


def write_sequence(sequence: Sequence, folder: Path, overwrite: bool = False) -> None:
    """Write frames, ``truth.csv`` and ``truth_masks.npz``; earlier ones are replaced if asked.

    Everything is written beside its place and then moved there, the table last.

    Args:
        sequence: What to write.
        folder: Where to; made if missing.
        overwrite: Whether earlier frames may be replaced.
    """
    earlier = _check_folder(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".render_frames_") as name:
        partial = Path(name)
        names = [f"frame_{t}.png" for t in range(len(sequence.frames))]
        for frame_name, frame in zip(names, sequence.frames, strict=True):
            _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            (partial / frame_name).write_bytes(data.tobytes())
        np.savez_compressed(
            partial / "truth_masks.npz", labels=sequence.labels, velocity=sequence.velocity
        )
        with (partial / "truth.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(TRUTH_COLUMNS)
            writer.writerows(truth_rows(sequence))
        (folder / "truth.csv").unlink(missing_ok=True)
        for path in earlier:
            path.unlink()
        for file_name in (*names, "truth_masks.npz", "truth.csv"):
            (partial / file_name).replace(folder / file_name)


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Items[str] | None = None) -> int:
    """Render as the command line asks and return the exit code."""
    parser = _Parser(
        prog="render_frames",
        description="Draw cows that walk over a pasture at known speeds, and write the truth.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--frames", type=int, default=12, help="number of frames")
    parser.add_argument("--height", type=int, default=576, help="height in pixels")
    parser.add_argument("--width", type=int, default=768, help="width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same files")
    parser.add_argument("--noise", type=float, default=2.0, help="camera noise in grey levels")
    parser.add_argument("--light", type=float, default=0.03, help="part by which the light varies")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier frames")
    args = parser.parse_args(argv)
    try:
        _check_folder(args.output, args.overwrite)  # before the work, not after it
        sequence = render_sequence(
            args.frames, args.height, args.width, args.seed, args.noise, args.light
        )
        write_sequence(sequence, args.output, args.overwrite)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    speeds = np.abs(sequence.velocity[1:]).max(axis=1)
    print(
        f"Wrote {args.frames} frames of {args.width}x{args.height} with {len(speeds)} cows "
        f"(speeds {', '.join(map(str, np.unique(speeds)))} px a frame) to {args.output}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
