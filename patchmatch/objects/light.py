"""Changes of the light that are not things: a gain of the whole frame, and shadows."""

import cv2
import numpy as np

from patchmatch.objects.memory import Array

TILE = 16  # pixels: the gain of a frame is the median over tiles
MIN_TILES = 8
MAX_GAIN = 2.0  # of a frame against the memory; larger changes are another scene
SHADOW_GAINS = 0.4, 0.97  # of a shadow
WINDOW = 3  # pixels of half the resolution: side of the window where frame and memory correlate
MAX_CHROMA = 0.03  # difference of the shares of a color channel that a shadow may cause
MIN_PLAUSIBLE = 0.4  # share of a window
PENUMBRA = 5  # pixels of half the resolution: width of its soft edges
MAX_RESIDUAL = 0.045  # share of the gray level of the memory that a gain need not explain


def frame_gain(planes: Array, background: Array) -> Array:
    """Return by what the background has to be multiplied to look like the frame, (C,) float32.

    Args:
        planes: (C, H, W) uint8.
        background: (C, H, W) float32.
    """
    height, width = planes.shape[1:]
    size = (max(1, width // TILE), max(1, height // TILE))
    gains = np.ones(len(planes), np.float32)
    for index, (plane, mean) in enumerate(zip(planes, background, strict=True)):
        new = cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        old = cv2.resize(mean, size, interpolation=cv2.INTER_AREA)
        usable = (old > 16) & (old < 240) & (new < 240)  # neither dark nor saturated
        if usable.sum() >= MIN_TILES:
            gains[index] = np.median(new[usable] / old[usable])
    return gains.clip(1 / MAX_GAIN, MAX_GAIN)


def is_shadow(planes: Array, background: Array, noise: float) -> Array:
    """Find where the frame is the background in less light.

    In a window around a pixel, a gain undoes the difference: the texture stays, and so does the
    color. Correlation is that of Jacques et al. 2005, computed at half the resolution.

    Args:
        planes: (C, H, W) uint8.
        background: (C, H, W) float32.
        noise: Standard deviation of the noise in gray levels.

    Returns:
        (H, W) uint8, 255 where it is.
    """
    height, width = planes.shape[1:]
    size = (max(1, width // 2), max(1, height // 2))

    def half(plane: Array) -> Array:
        return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32)

    def mean(plane: Array) -> Array:
        return cv2.blur(plane, (WINDOW, WINDOW))

    frame, memory = [half(p) for p in planes], [half(p) for p in background]
    light0, light1 = sum(memory) / len(memory) + 1, sum(frame) / len(frame) + 1
    ratio = light1 / light0
    # Pixels that may be in shadow; only these count in the windows, not the things beside them.
    plausible = (ratio > SHADOW_GAINS[0]) & (ratio < SHADOW_GAINS[1])
    if len(planes) == 3:
        for new, old in zip(frame, memory, strict=True):
            plausible &= np.abs(new / light1 - old / light0) < 3 * MAX_CHROMA
    weight = np.asarray(plausible, np.float32)
    share = mean(weight)
    total = np.maximum(share, np.float32(1e-3))
    gain = mean(weight * ratio) / total
    residual = mean(weight * (light1 - gain * light0) ** 2) / total
    limit = noise * noise + (MAX_RESIDUAL * light0) ** 2
    shadow = plausible & (share > MIN_PLAUSIBLE) & (residual < limit)
    # Its soft edge, where the gain changes within a window.
    around = cv2.dilate(shadow.astype(np.uint8), np.ones((PENUMBRA, PENUMBRA), np.uint8))
    found = (plausible & (around > 0)).astype(np.uint8) * 255
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST)
