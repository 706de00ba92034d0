"""From features to disparity: cost, semi-global aggregation, check, filling and smoothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

SPECKLE_UNITS = 8  # per pixel


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """Settings of semi-global matching; a cost of 128 stands for features without agreement.

    Attributes:
        p1: Cost of a change of the disparity by one pixel.
        p2: Cost of a larger change.
        edge: p2 is divided by 1 + edge times the difference of gray, which is in [0, 1].
        tolerance: Largest difference in pixels between the disparities of both images.
        speckle: Consistent areas of up to so many pixels count as not consistent.
        speckle_step: Largest difference in pixels of neighbours of one area.
        similar: Scale of differences of gray of the weighted quantile of filled pixels.
        quantile: The quantile, in [0, 1].
        reach: Half the side of its window in pixels; 0 for none.
        stride: Distance of its samples in pixels.
        median: Side of the median filter at the end, odd; 0 for none.
    """

    p1: float = 100.0
    p2: float = 800.0
    edge: float = 10.0
    tolerance: float = 1.0
    speckle: int = 20
    speckle_step: float = 2.0
    similar: float = 0.02
    quantile: float = 0.4
    reach: int = 20
    stride: int = 3
    median: int = 5


def aggregate_disparity(
    features0: np.ndarray,
    features1: np.ndarray,
    gray: np.ndarray,
    low: np.ndarray,
    count: int,
    settings: Aggregation,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the disparity of every pixel of image 0 among its candidates.

    Args:
        features0: (H, W, C) int8, 127 times features of length one.
        features1: (H, W, C) int8.
        gray: (H, W) float32 in [0, 1], image 0.
        low: (H, W) int16, the first candidate of each pixel.
        count: Number of candidates of a pixel.
        settings: Costs and filters.

    Returns:
        Disparity (H, W) float32 in pixels, confidence (H, W) float32 in [0, 1], which is 0 where
        the left-right check fails or the area is a speckle, and whether it passes (H, W) bool.
    """
    from patchmatch.stereo import kernels

    height, width = gray.shape
    cost = np.empty((height, width, count), np.uint8)
    totals = [np.zeros(cost.shape, np.uint16) for _ in range(2)]
    middle = height // 2
    p1, p2, edge = map(np.float32, (settings.p1, settings.p2, settings.edge))
    with ThreadPoolExecutor(2) as pool:
        halves = [
            pool.submit(kernels.matching_cost, features0, features1, low, cost, *rows)
            for rows in ((0, middle), (middle, height))
        ]
        for half in halves:
            half.result()
        passes = [
            pool.submit(
                kernels.aggregate, cost, low, gray, p1, p2, edge, backwards, total,
            )
            for backwards, total in zip((False, True), totals, strict=True)
        ]  # fmt: skip
        for done in passes:
            done.result()
    total = totals[0]
    total += totals[1]
    disparity, margin = (np.empty((height, width), np.float32) for _ in range(2))
    other = np.empty((height, width), np.int16)
    kernels.choose(total, low, disparity, other, margin)
    consistent = np.empty((height, width), np.bool_)
    kernels.check(disparity, other, settings.tolerance, consistent)
    _drop_speckles(disparity, consistent, settings)
    kernels.fill(disparity, consistent)
    if settings.reach:
        filled, disparity = disparity, np.empty_like(disparity)
        weights = (np.float32(settings.similar), np.float32(settings.quantile))
        window = (settings.reach, settings.stride)
        with ThreadPoolExecutor(2) as pool:
            halves = [
                pool.submit(
                    kernels.smooth_filled,
                    *(filled, consistent, gray, *weights, *window, disparity, *rows),
                )
                for rows in ((0, middle), (middle, height))
            ]
            for half in halves:
                half.result()
    if settings.median:
        disparity = cv2.medianBlur(disparity, settings.median)
    confidence = np.where(consistent, margin / (margin + np.float32(2 * settings.p1)), 0)
    return disparity, confidence.astype(np.float32), consistent


def _drop_speckles(disparity: np.ndarray, consistent: np.ndarray, settings: Aggregation) -> None:
    """Mark small areas as not consistent, in place (``filterSpeckles`` of OpenCV)."""
    units = np.where(consistent, np.rint(SPECKLE_UNITS * disparity), -1).astype(np.int16)
    step = round(SPECKLE_UNITS * settings.speckle_step)
    cv2.filterSpeckles(units, -1, settings.speckle, step)
    consistent &= units >= 0


def narrow_range(disparity: np.ndarray, count: int) -> np.ndarray:
    """Return the first of ``count`` candidates around an estimate, (H, W) int16, at least 0.

    Args:
        disparity: (H, W) float32 in pixels.
        count: Number of candidates of a pixel.
    """
    return np.rint(disparity - count / 2).clip(0).astype(np.int16)
