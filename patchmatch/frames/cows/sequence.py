"""Rendering of a sequence of frames with exact ground truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.cow import Cow
from patchmatch.frames.cows.herd import arrange_herd, draw_herd
from patchmatch.frames.cows.noise import Array, mix
from patchmatch.frames.cows.pasture import draw_pasture

MIN_HEIGHT, MIN_WIDTH = 192, 256  # fits the largest cow and its path
IGNORE_LABEL = 255  # label of the soft edges and shadows of moving cows


@dataclass(frozen=True, kw_only=True)
class CowSequence:
    """Rendered frames and their ground truth.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        labels: (T, H, W) uint8: 0 is the background, k is object k where it is visible and covers
            at least half of the pixel; near cows occlude far ones. A pixel labelled k shows only
            object k, so it moves with the object unchanged. ``IGNORE_LABEL`` marks the soft edges
            and shadows of moving cows.
        velocity: (K + 1, 2) int, dx and dy of each label in pixels per frame; row 0 is the
            background.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    velocity: NDArray[np.int64]


def render_sequence(
    frames: int = 12,
    height: int = 576,
    width: int = 768,
    seed: int = 0,
    noise: float = 2.0,
    light: float = 0.03,
) -> CowSequence:
    """Render cows that walk over a pasture.

    Args:
        frames: Number of frames, at least two.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        seed: Random seed; equal seeds give equal sequences.
        noise: Standard deviation of the camera noise in gray levels, independent per frame.
        light: Amplitude of the sinusoidal brightness variation; 0.03 is plus or minus 3 percent.

    Returns:
        The frames, the labels of their pixels and the velocities of the labels.

    Raises:
        InputError: If a value is out of range.
    """
    check_options(frames, height, width, seed, noise, light)
    pasture, pond = draw_pasture(height, width, np.random.default_rng([seed, 0]))
    herd = arrange_herd(frames, height, width, seed, pond)
    velocity = np.stack([np.zeros(2, np.int64), *(path.velocity for path in herd)])
    cows, corners = draw_herd(herd, seed)
    rendered = np.empty((frames, height, width, 3), np.uint8)
    labels = np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        image = pasture.copy()
        labels[t] = 0
        for k, (cow, corner) in enumerate(zip(cows, corners, strict=True), start=1):
            _draw_cow(image, labels[t], cow, corner + t * velocity[k], k, velocity)
        # A period of at least twelve frames; the phase of half a step varies short sequences too
        gain = 1 + light * np.sin(2 * np.pi * (t + 0.5) / max(frames, 12))
        rng = np.random.default_rng([seed, 1, t])
        grain = noise * rng.standard_normal(image.shape, dtype=np.float32)
        rendered[t] = np.clip(np.rint(image * np.float32(gain) + grain), 0, 255)
    return CowSequence(frames=rendered, labels=labels, velocity=velocity)


def _draw_cow(
    image: Array,
    labels: NDArray[np.uint8],
    cow: Cow,
    corner: NDArray[np.int64],
    k: int,
    velocity: NDArray[np.int64],
) -> None:
    """Draw cow ``k`` with its shadow on the image and the labels, both in place."""
    height, width = labels.shape
    h, w = cow.alpha.shape
    x0, y0 = corner.clip(0, (width, height))
    x1, y1 = (corner + np.array((w, h))).clip(0, (width, height))
    part = np.s_[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
    alpha, shadow = cow.alpha[part], cow.shadow[part]
    target, under = image[y0:y1, x0:x1], labels[y0:y1, x0:x1]
    target[:] = mix(target, (22, 34, 14), shadow)
    target[:] = mix(target, cow.color[part], alpha)
    is_moving = np.abs(velocity).max(axis=1) > 0  # (K + 1,)
    # A tinted pixel keeps its label if both layers are static, else it is ignored
    ignored = under == IGNORE_LABEL
    moves = is_moving[k] | ignored | is_moving[np.where(ignored, 0, under)]
    under[((alpha > 0) | (shadow > 0)) & moves] = IGNORE_LABEL
    under[alpha == 1] = k


def check_options(
    frames: int, height: int, width: int, seed: int, noise: float, light: float
) -> None:
    """Check the arguments of ``render_sequence``.

    Raises:
        InputError: If a value is out of range.
    """
    if frames < 2:
        raise InputError(f"frames must be at least 2 to contain motion, got {frames}")
    if height < MIN_HEIGHT or width < MIN_WIDTH:
        raise InputError(
            f"frames must be at least {MIN_HEIGHT} pixels high and {MIN_WIDTH} wide to fit a "
            f"walking cow, got {height}x{width}; increase height and width"
        )
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    if not 0 <= noise <= 255:
        raise InputError(f"noise must be between 0 and 255 gray levels, got {noise}")
    if not 0 <= light < 1:
        raise InputError(f"light must be in [0, 1), where 0.03 is 3 percent, got {light}")
