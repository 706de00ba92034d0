"""Block motion by methods of OpenCV, for comparison in benchmark_motion.py."""

from collections.abc import Callable

import cv2
import numpy as np

from patchmatch.motion.evaluation import median_block_flow

BLOCK = 32
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]  # gray uint8 frames to (rows, columns, 2)


def block_medians(flow: np.ndarray) -> np.ndarray:
    """Return the median of a dense flow (H, W, 2) in every block, (rows, columns, 2)."""
    return median_block_flow(flow, np.isfinite(flow).all(axis=-1), BLOCK)


def peers(reduce: Callable[[np.ndarray], np.ndarray] = block_medians) -> dict[str, Method]:
    """Return methods of OpenCV by name; ``reduce`` converts a dense flow to block motion."""
    methods: dict[str, Method] = {}
    for name, preset in (("medium", "MEDIUM"), ("fast", "FAST")):
        dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        methods[f"DIS {name}"] = lambda a, b, dis=dis: reduce(dis.calc(a, b, None))
    methods["Lucas-Kanade 31x31"] = lucas_kanade
    methods["phase correlation"] = phase_correlation
    methods["Farneback"] = lambda a, b: reduce(
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 3, 5, 1.2, 0)
    )
    return methods


def lucas_kanade(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Track the centre of every block by pyramidal Lucas-Kanade."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    x, y = np.meshgrid(np.arange(columns) * BLOCK + 15.5, np.arange(rows) * BLOCK + 15.5)
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float32)
    moved, _, _ = cv2.calcOpticalFlowPyrLK(
        frame0, frame1, points, None, winSize=(31, 31), maxLevel=4
    )
    return (moved - points).reshape(rows, columns, 2)


def phase_correlation(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Correlate the phase of windows of twice the block size, with a Hann window."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    pads = ((BLOCK // 2, BLOCK // 2), (BLOCK // 2, BLOCK // 2))
    padded = [np.pad(f.astype(np.float32), pads, "edge") for f in (frame0, frame1)]
    hann = cv2.createHanningWindow((2 * BLOCK, 2 * BLOCK), cv2.CV_32F)
    found = np.zeros((rows, columns, 2))
    for row in range(rows):
        for column in range(columns):
            window = np.s_[row * BLOCK : (row + 2) * BLOCK, column * BLOCK : (column + 2) * BLOCK]
            windows = [p[window] - p[window].mean() for p in padded]
            found[row, column] = cv2.phaseCorrelate(*windows, hann)[0]
    return found


def dense_flow(flow: np.ndarray) -> np.ndarray:
    """Return the flow unchanged, so that the medians do not count as time of the method."""
    return flow
