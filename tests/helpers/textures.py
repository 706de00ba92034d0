"""Noise images for tests, reproducible by their seed."""

import cv2
import numpy as np


def detailed(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return multiscale noise, (height, width, 3) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (5, 13, 31):
        small = rng.random((height // side + 2, width // side + 2, 3), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip((total - total.min()) / np.ptp(total), 0, 1)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return ``detailed`` as uint8."""
    return (255 * detailed(height, width, seed)).astype(np.uint8)


def smooth(height: int, width: int, seed: int = 0, sigma: float = 3) -> np.ndarray:
    """Return blurred noise, (height, width, 3) uint8, which interpolates almost exactly."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
    return np.uint8((128 + 40 * noise / noise.std()).clip(0, 255))


def blobs(height: int, width: int, seed: int = 0, spacing: int = 6) -> np.ndarray:
    """Return random blobs, (height, width, 3) uint8, ``spacing`` pixels apart."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // spacing, width // spacing, 3)).astype(np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return large.clip(0, 255).astype(np.uint8)
