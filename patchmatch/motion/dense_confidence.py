"""Confidence of the flow of every pixel."""

import cv2
import numpy as np

from patchmatch.motion.dense import (
    CLIP,
    FramePair,
    for_bands,
    interpolate_grid,
    pad_grid,
    residual,
)

# A logistic regression, fitted by dev/calibrate_flow.py on synthetic scenes of digits.
WEIGHTS = 1.228, 1.424, -10.816, -1.005
BIAS = -0.434
EDGE_WINDOW = 9  # pixels: side of the window in which the flow is compared with its mean


def flow_confidence(
    pair: FramePair, flow: np.ndarray, logits: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Return the probability that the flow of a pixel is correct, (H, W) float32.

    It is correct if its error is below one pixel and the pixel is visible in frame 1, so it is 0
    where the target lies outside frame 1.

    Args:
        pair: The frames.
        flow: (H, W, 2), their flow from ``dense_flow``.
        logits: (R, C) float32, confidence logits of the displacements of the blocks.
        threads: Number of bands that are processed at once; it does not change the result.
    """
    found, inside = confidence_features(pair, flow, logits, threads)
    logit = np.full(flow.shape[:2], BIAS, np.float32)
    for weight, feature in zip(WEIGHTS, found, strict=True):
        logit += weight * feature
    return inside / (1 + np.exp(-logit.clip(-30, 30)))


def confidence_features(
    pair: FramePair, flow: np.ndarray, logits: np.ndarray, threads: int = 1
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the four features of the regression, and where they are known.

    The features, (H, W) float32 each, are the logit of the block, interpolated; the filtered
    difference of the frames; how much it exceeds the mean of all pixels with the same target, which
    is large where a pixel is occluded by another; and how far the flow differs from its mean in a
    small window. They are known where the target lies inside frame 1, (H, W) bool.

    Args:
        pair: The frames.
        flow: (H, W, 2), their flow.
        logits: (R, C), confidence logits of the displacements of the blocks.
        threads: Number of bands that are processed at once.
    """
    height, width = flow.shape[:2]
    x = np.rint(flow[..., 0] + np.arange(width, dtype=np.float32)).astype(np.int32)
    y = np.rint(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]).astype(np.int32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    difference = np.empty((height, width), np.float32)

    def measure(rows: slice) -> None:
        difference[rows] = residual(pair, flow, rows) / CLIP

    for_bands(measure, height, threads)
    target = (y * width + x)[inside]
    total = np.bincount(target, difference[inside], height * width)
    count = np.bincount(target, minlength=height * width)
    excess = np.zeros_like(difference)
    excess[inside] = difference[inside] - total[target] / count[target]
    spread = np.abs(flow - cv2.blur(flow, (EDGE_WINDOW, EDGE_WINDOW))).sum(axis=2)
    blocks = pad_grid(logits[..., None], height, width)
    certain = interpolate_grid(blocks)[:height, :width]
    return [certain, difference, excess, np.log1p(spread)], inside
