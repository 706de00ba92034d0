"""Transfer protocol: percentage of exactly right one-pixel shifts on patches of natural images.

Patches have 26x26 pixels on a scale of 0 to 255 and a standard deviation of at least 5. The shift
is uniform in {-1, 0, 1}^2. An answer counts when both components are right. The hand-crafted
baselines compare the inner 24x24 pixels under the same nine shifts, by squared differences or by
normalised cross-correlation, the latter optionally after a blur.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patchmatch.shift.ops import SHIFTS

SIDE = 26  # pixels
MIN_DEVIATION = 5.0  # gray levels: flatter patches have too little texture to match

#: Maps two (N, 26, 26) float arrays of gray levels to (N, 2) displacements dx, dy.
PatchMatcher = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PatchPairs:
    """Patch pairs in gray levels and their displacement.

    Attributes:
        patches0: (N, 26, 26) float32.
        patches1: (N, 26, 26) float32.
        displacement: (N, 2) int, dx and dy: ``patches0[y, x]`` is ``patches1[y + dy, x + dx]``.
    """

    patches0: np.ndarray
    patches1: np.ndarray
    displacement: np.ndarray


def sample_pairs(images: Sequence[np.ndarray], count: int, seed: int) -> PatchPairs:
    """Crop random pairs from gray images, (H, W) on a scale of 0 to 255.

    Raises:
        ValueError: If the images have too few textured patches.
    """
    rng = np.random.default_rng(seed)
    images = [image for image in images if min(image.shape) >= SIDE + 2]
    patches0, patches1, displacement = [], [], []
    for _ in range(100 * count):
        if len(patches0) == count or not images:
            break
        image = images[rng.integers(len(images))]
        y, x = (int(rng.integers(1, side - SIDE)) for side in image.shape)
        dx, dy = (int(d) for d in rng.integers(-1, 2, 2))
        patch = image[y : y + SIDE, x : x + SIDE].astype(np.float32)
        if patch.std() >= MIN_DEVIATION:
            patches0.append(patch)
            patches1.append(image[y - dy : y - dy + SIDE, x - dx : x - dx + SIDE])
            displacement.append((dx, dy))
    if len(patches0) < count:
        raise ValueError(f"the images have too few textured patches for {count} pairs")
    return PatchPairs(
        patches0=np.stack(patches0),
        patches1=np.stack(patches1).astype(np.float32),
        displacement=np.array(displacement),
    )


def sample_digit_pairs(digits: np.ndarray, count: int, seed: int) -> PatchPairs:
    """Shift whole digits, (N, 28, 28), and crop the central 26x26 pixels."""
    rng = np.random.default_rng(seed)
    sampled = digits[rng.integers(len(digits), size=count)].astype(np.float32)
    displacement = rng.integers(-1, 2, (count, 2))
    shifted = [
        digit[1 - dy : 1 - dy + SIDE, 1 - dx : 1 - dx + SIDE]
        for digit, (dx, dy) in zip(sampled, displacement, strict=True)
    ]
    return PatchPairs(
        patches0=sampled[:, 1:-1, 1:-1], patches1=np.stack(shifted), displacement=displacement
    )


def add_noise_and_gain(pairs: PatchPairs, noise: float, gain: float, seed: int) -> PatchPairs:
    """Multiply the second patch by a random gain, then add Gaussian noise to both patches.

    Args:
        pairs: The pairs; they are not modified.
        noise: Standard deviation in gray levels.
        gain: The factor is uniform in 1 - gain .. 1 + gain.
        seed: Seed of noise and gain.
    """
    rng = np.random.default_rng((seed, 1))
    factor = rng.uniform(1 - gain, 1 + gain, (len(pairs.patches0), 1, 1))
    patches0, patches1 = (
        (patches * by + rng.normal(0, noise, patches.shape)).astype(np.float32)
        for patches, by in ((pairs.patches0, 1.0), (pairs.patches1, factor))
    )
    return PatchPairs(patches0=patches0, patches1=patches1, displacement=pairs.displacement)


def percent_exact(match: PatchMatcher, pairs: PatchPairs) -> float:
    """Return the percentage of pairs whose displacement is exactly right."""
    displacement = match(pairs.patches0, pairs.patches1)
    return 100 * float((displacement == pairs.displacement).all(axis=1).mean())


def match_ssd(patches0: np.ndarray, patches1: np.ndarray) -> np.ndarray:
    """Match by the least sum of squared differences."""
    scores = _similarities(patches0, patches1, lambda a, b: -((a - b) ** 2).sum((1, 2)))
    return np.array(SHIFTS)[scores.argmax(axis=0)]


def match_ncc(
    patches0: np.ndarray, patches1: np.ndarray, blur: float = 0.0, symmetric: bool = False
) -> np.ndarray:
    """Match by the highest normalised cross-correlation, optionally after a Gaussian blur.

    Args:
        patches0: (N, 26, 26).
        patches1: (N, 26, 26).
        blur: Sigma in pixels; 0 for none.
        symmetric: Average the correlation of the inner pixels of ``patches0`` with that of the
            inner pixels of ``patches1``, as ``ops.shift_similarity`` does.
    """
    if blur:
        patches0, patches1 = (
            np.stack([cv2.GaussianBlur(patch, (0, 0), blur) for patch in patches])
            for patches in (patches0, patches1)
        )
    scores = _similarities(patches0, patches1, _correlation)
    if symmetric:  # SHIFTS in reverse order are the opposite shifts
        scores = scores + _similarities(patches1, patches0, _correlation)[::-1]
    return np.array(SHIFTS)[scores.argmax(axis=0)]


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x - x.mean((1, 2), keepdims=True) for x in (a, b))
    return (a * b).sum((1, 2)) / np.sqrt((a**2).sum((1, 2)) * (b**2).sum((1, 2)) + 1e-9)


def _similarities(
    patches0: np.ndarray,
    patches1: np.ndarray,
    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the similarity (9, N) of the inner pixels of ``patches0`` under each shift."""
    inner = patches0[:, 1:-1, 1:-1]
    size = SIDE - 2
    return np.stack(
        [
            similarity(inner, patches1[:, 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size])
            for dx, dy in SHIFTS
        ]
    )
