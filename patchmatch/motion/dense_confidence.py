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
WEIGHTS = 1.22, 0.972, -8.225, -0.87
BIAS = -0.226
STEP = 2  # pixels from one to the next at which the regression is evaluated
EDGE_WINDOW = 5  # of these: side of the window in which the flow is compared with its mean


def flow_confidence(pair: FramePair, flow: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the probability that the flow of a pixel is correct, (H, W) float32.

    It is correct if its error is below one pixel and the pixel is visible in frame 1, so it is 0
    where the target lies outside frame 1.

    Args:
        pair: The frames.
        flow: (H, W, 2), their flow from ``dense_flow``.
        logits: (R, C) float32, confidence logits of the displacements of the blocks.
    """
    found = confidence_features(pair, flow, logits)
    logit = np.full(found[0].shape, BIAS, np.float32)
    for weight, feature in zip(WEIGHTS, found, strict=True):
        logit += weight * feature
    probability = 1 / (1 + np.exp(-logit.clip(-30, 30)))
    rows, columns = probability.shape
    size = columns * STEP, rows * STEP
    height, width = flow.shape[:2]
    confidence = cv2.resize(probability, size, interpolation=cv2.INTER_NEAREST)[:height, :width]
    return confidence * targets_inside(flow)


def targets_inside(flow: np.ndarray) -> np.ndarray:
    """Return which targets of a flow (H, W, 2) lie inside frame 1, (H, W) bool."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)


def confidence_features(pair: FramePair, flow: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
    """Return the four features of the regression at every ``STEP``-th pixel, float32.

    They are the logit of the block, interpolated; the filtered difference of the frames; how much
    it exceeds the mean of all pixels with the same target, which is large where a pixel is occluded
    by another; and how far the flow differs from its mean in a small window.

    Args:
        pair: The frames.
        flow: (H, W, 2), their flow.
        logits: (R, C), confidence logits of the displacements of the blocks.
    """
    height, width = flow.shape[:2]
    difference = np.empty((-(-height // STEP), -(-width // STEP)), np.float32)

    def measure(rows: slice) -> None:
        part = residual(pair, flow, rows)[::STEP, ::STEP] / np.float32(CLIP)
        difference[rows.start // STEP :][: len(part)] = part

    for_bands(measure, height)
    blocks = pad_grid(logits[..., None], height, width)
    certain = interpolate_grid(blocks)[:height:STEP, :width:STEP]
    sampled = np.ascontiguousarray(flow[::STEP, ::STEP])
    mean = cv2.blur(sampled, (EDGE_WINDOW, EDGE_WINDOW))
    spread = cv2.transform(cv2.absdiff(sampled, mean), np.ones((1, 2), np.float32))
    return [certain, difference, _excess(difference, sampled / STEP), np.log1p(spread)]


def _excess(difference: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return a difference (h, w) minus its mean over the pixels with the same target."""
    height, width = difference.shape
    x = np.rint(flow[..., 0] + np.arange(width, dtype=np.float32)).clip(0, width - 1)
    y = np.rint(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]).clip(0, height - 1)
    target = (y.astype(np.int64) * width + x.astype(np.int64)).ravel()
    total = np.bincount(target, difference.ravel(), height * width)
    mean = total / np.maximum(np.bincount(target, minlength=height * width), 1)
    return difference - mean.astype(np.float32)[target].reshape(height, width)
