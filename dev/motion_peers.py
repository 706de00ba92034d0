"""Other people's ways to measure the motion of blocks, rows of benchmark_motion.py."""

from collections.abc import Callable

import cv2
import numpy as np

from patchmatch.motion.evaluation import true_block_motion

BLOCK = 32
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]  # gray uint8 frames to (rows, columns, 2)


def medians(flow: np.ndarray) -> np.ndarray:
    """Return the median of a dense flow in every block."""
    return true_block_motion(flow, np.isfinite(flow).all(axis=-1), BLOCK)


def peers(reduce: Callable[[np.ndarray], np.ndarray] = medians) -> dict[str, Method]:
    """Return the methods of OpenCV; ``reduce`` makes block motion of a dense flow."""
    found: dict[str, Method] = {}
    for name, preset in (("medium", "MEDIUM"), ("fast", "FAST")):
        dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        found[f"DIS {name}"] = lambda a, b, dis=dis: reduce(dis.calc(a, b, None))
    found["Lucas-Kanade 31x31"] = lucas_kanade
    found["phase correlation"] = phase_correlation
    found["Farneback"] = lambda a, b: reduce(
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 3, 5, 1.2, 0)
    )
    return found


def lucas_kanade(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Track the centre of every block."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    x, y = np.meshgrid(np.arange(columns) * BLOCK + 15.5, np.arange(rows) * BLOCK + 15.5)
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float32)
    moved, _, _ = cv2.calcOpticalFlowPyrLK(
        frame0, frame1, points, None, winSize=(31, 31), maxLevel=4
    )
    return (moved - points).reshape(rows, columns, 2)


def phase_correlation(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Correlate windows of twice the block, their mean removed, under a Hann window."""
    rows, columns = frame0.shape[0] // BLOCK, frame0.shape[1] // BLOCK
    pads = ((BLOCK // 2, BLOCK // 2), (BLOCK // 2, BLOCK // 2))
    padded = [np.pad(f.astype(np.float32), pads, "edge") for f in (frame0, frame1)]
    hann = cv2.createHanningWindow((2 * BLOCK, 2 * BLOCK), cv2.CV_32F)
    found = np.zeros((rows, columns, 2))
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * BLOCK : (row + 2) * BLOCK, column * BLOCK : (column + 2) * BLOCK]
            windows = [p[place] - p[place].mean() for p in padded]
            found[row, column] = cv2.phaseCorrelate(*windows, hann)[0]
    return found


def untimed(flow: np.ndarray) -> np.ndarray:
    """Return the flow as it is: the medians over blocks do not count as the method's time."""
    return flow
