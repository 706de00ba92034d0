"""Frames of a herd that walks over its pasture, with the exact truth of every movement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.cow import Cow
from patchmatch.frames.cows.herd import draw_herd, place_herd
from patchmatch.frames.cows.noise import Array, mix
from patchmatch.frames.cows.pasture import draw_pasture

MIN_HEIGHT, MIN_WIDTH = 192, 256  # the largest cow and the ground it walks over still fit
UNDECIDED = 255  # label of a soft edge or shadow of a cow that walks: it belongs to no motion


@dataclass(frozen=True)
class CowSequence:
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
        frames: How many frames, at least two.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        seed: Same seed, same sequence.
        noise: Standard deviation of the camera noise in grey levels, drawn anew for every frame.
        light: Amplitude of the slow change of the light; 0.03 is three percent up and down.

    Returns:
        The frames, the labels of their pixels and the velocities of the labels.

    Raises:
        InputError: If a value is out of range.
    """
    check_options(frames, height, width, seed, noise, light)
    pasture, pond = draw_pasture(height, width, np.random.default_rng([seed, 0]))
    herd = place_herd(frames, height, width, seed, pond)
    velocity = np.stack([np.zeros(2, np.int64), *(place.velocity for place in herd)])
    cows, corners = draw_herd(herd, seed)
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
    return CowSequence(rendered, labels, velocity)


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
    target[:] = mix(target, (22, 34, 14), shadow)
    target[:] = mix(target, cow.color[part], alpha)
    walks = np.abs(velocity).max(axis=1) > 0  # (K + 1,)
    # What is only tinted stays what it was if all of it stands still, and else is nobody's
    moves = walks[k] | (under == UNDECIDED) | walks[np.where(under == UNDECIDED, 0, under)]
    under[((alpha > 0) | (shadow > 0)) & moves] = UNDECIDED
    under[alpha == 1] = k


def check_options(
    frames: int, height: int, width: int, seed: int, noise: float, light: float
) -> None:
    """Refuse what cannot be rendered; the arguments are those of ``render_sequence``.

    Raises:
        InputError: If a value is out of range.
    """
    if frames < 2:
        raise InputError(f"frames must be at least 2 to show a movement, got {frames}")
    if height < MIN_HEIGHT or width < MIN_WIDTH:
        raise InputError(
            f"a frame must be at least {MIN_HEIGHT} pixels high and {MIN_WIDTH} wide to hold a "
            f"walking cow, got {height}x{width}; enlarge height and width"
        )
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}")
    if not 0 <= noise <= 255:
        raise InputError(f"noise must be between 0 and 255 grey levels, got {noise}")
    if not 0 <= light < 1:
        raise InputError(f"light must be at least 0 and below 1 (0.03 is 3 percent), got {light}")
