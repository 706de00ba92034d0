"""Motion of the camera between two frames, from the displacements of blocks."""

from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.memory import Array

BLOCK = 32  # pixels of the reduced frame
LONGEST = 448  # pixels: frames are reduced to this side before blocks are matched
TOLERANCE = 1.0  # pixels of the reduced frame by which a block that follows the camera may deviate
MIN_INLIERS = 0.5  # share of the blocks that must follow one homography
ENOUGH_INLIERS = 0.8  # of an affine fit; else a homography is tried, which has two more parameters
MIN_BLOCKS = 12
MIN_MOTION = 0.75  # pixels of the frame: smaller displacements are those of a still camera
GLANCE = 160  # pixels: longest side at which a motion of the whole frame is looked for
TILES = 8  # along each side, in which the change is compared
MIN_TILES, MIN_CHANGE = 0.4, 1.5  # share of tiles that must change, by gray levels
MAX_LEFT = 0.7  # of the change of a tile that a displacement of the frame may leave
WITHIN = 8  # frames, of which two must move as a whole before blocks are matched

#: Takes two gray frames (H, W) uint8 and the side of a block; returns (rows, columns, 2).
MeasureMotion = Callable[[Array, Array, int], Array]


class Camera:
    """Estimates the motion of the camera from frame to frame.

    Args:
        measure: Measures the displacements of blocks.
        moves: Whether the camera moves; None finds out.

    Attributes:
        too_small: Whether the last frame had too few blocks to measure the motion of the camera, so
            that it counts as still.
        lost: Whether the motion of the last frame could not be estimated.
    """

    def __init__(self, measure: MeasureMotion, moves: bool | None = None) -> None:
        self._measure = measure
        self._decides = moves is None
        self._moves, self.lost, self.too_small = bool(moves), False, False
        self._before: Array | None = None
        self._glances: deque[bool] = deque(maxlen=WITHIN)

    @property
    def moves(self) -> bool:
        """Whether the camera moves, as far as known and measurable."""
        return self._moves and not self.too_small

    def __call__(self, image: Array) -> NDArray[np.float64] | None:
        """Return the homography (3, 3) from the frame before to this one.

        None if the camera stands still, at the first frame, and where it cannot be estimated.
        """
        self.lost = False
        if not (self._moves or self._decides):
            return None
        self.too_small = self._moves and _block_of(image.shape) is None
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        before, self._before = self._before, gray
        if before is None or before.shape != gray.shape or self.too_small:
            return None
        if not self.moves:
            self._glances.append(_moves_as_a_whole(before, gray))
            if not self._glances[-1] or sum(self._glances) < 2:
                return None
        found = self._estimate(before, gray)
        if found is None:
            self.lost = self.moves
        elif not self.moves:
            if _largest_displacement(found, gray.shape) < MIN_MOTION:
                return None
            self._moves = True
        return found

    def _estimate(self, before: Array, gray: Array) -> NDArray[np.float64] | None:
        scale = min(1.0, LONGEST / max(gray.shape))
        small0, small1 = (reduced(frame, scale) for frame in (before, gray))
        if (block := _block_of(gray.shape)) is None:
            return None
        return fit_homography(np.asarray(self._measure(small0, small1, block)), block, scale)


def fit_homography(displacement: Array, block: int, scale: float) -> NDArray[np.float64] | None:
    """Fit the motion of the camera to the displacements of blocks, robustly.

    RANSAC fits an affine motion. Where few blocks follow it, MAGSAC++ (Barath et al. 2020) fits a
    homography.

    Args:
        displacement: (rows, columns, 2), dx and dy of each block in pixels of the reduced frame.
        block: Side of a block in these pixels.
        scale: Side of the reduced frame divided by that of the frame.

    Returns:
        (3, 3) in pixels of the frame, from the earlier to the later one; None unless most blocks
        follow it.
    """
    rows, columns = displacement.shape[:2]
    y, x = np.mgrid[:rows, :columns] * block + (block - 1) / 2
    points = np.stack([x, y], axis=-1).reshape(-1, 2)
    moved = points + displacement.reshape(-1, 2)
    known = np.isfinite(moved).all(axis=1)
    if known.sum() < MIN_BLOCKS:
        return None
    affine, inliers = _fit(points[known], moved[known], affine=True)
    if inliers < ENOUGH_INLIERS:
        homography, more = _fit(points[known], moved[known], affine=False)
        affine, inliers = (homography, more) if more > inliers else (affine, inliers)
    if affine is None or inliers < MIN_INLIERS:
        return None
    resize = np.diag([1 / scale, 1 / scale, 1.0])
    found = resize @ affine @ np.linalg.inv(resize)
    return found / found[2, 2]


def _fit(points: Array, moved: Array, affine: bool) -> tuple[Array | None, float]:
    """Return a robust fit, (3, 3), and the share of the points that follow it."""
    cv2.setRNGSeed(0)
    if affine:
        found, _ = cv2.estimateAffine2D(points, moved, ransacReprojThreshold=TOLERANCE)
        found = None if found is None else np.vstack([found, [0, 0, 1]])
    else:
        found, _ = cv2.findHomography(points, moved, cv2.USAC_MAGSAC, TOLERANCE)
    if found is None:
        return None, 0.0
    fitted = cv2.perspectiveTransform(points[None], found)[0]
    return found, float((np.linalg.norm(fitted - moved, axis=1) < TOLERANCE).mean())


def _block_of(shape: tuple[int, ...]) -> int | None:
    """Return the side of the blocks of a frame in pixels of the reduced frame; None if too few."""
    scale = min(1.0, LONGEST / max(shape[:2]))
    height, width = (max(1, round(side * scale)) for side in shape[:2])
    block = BLOCK if min(height, width) >= 4 * BLOCK else BLOCK // 2
    fits = min(height, width) >= 3 * block and (height // block) * (width // block) >= MIN_BLOCKS
    return block if fits else None


def reduced(frame: Array, scale: float) -> Array:
    """Return a frame with its sides multiplied by ``scale``, if that is below 1."""
    if scale >= 1:
        return frame
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _moves_as_a_whole(before: Array, gray: Array) -> bool:
    """Return whether one displacement, found by phase correlation, explains most of a change."""
    scale = min(1.0, GLANCE / max(gray.shape))
    first, second = (reduced(frame, scale).astype(np.float32) for frame in (before, gray))
    height, width = first.shape
    if min(height, width) < 2 * TILES:
        return False
    change = _tiles(np.abs(second - first))
    if (change > MIN_CHANGE).mean() < MIN_TILES:
        return False
    shifts = [_phase_shift(first, second)]
    for y in (0, height // 2):  # a thing may dominate the frame, but hardly every quarter
        for x in (0, width // 2):
            quarter = slice(y, y + height // 2), slice(x, x + width // 2)
            shifts.append(_phase_shift(first[quarter].copy(), second[quarter].copy()))
    for dx, dy in shifts:
        if np.hypot(dx, dy) < max(MIN_MOTION * scale, 0.3):
            continue
        matrix = np.array([[1, 0, dx], [0, 1, dy]])
        moved = cv2.warpAffine(first, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        left = _tiles(np.abs(second - moved))
        if ((change > MIN_CHANGE) & (left < MAX_LEFT * change)).mean() >= MIN_TILES:
            return True
    return False


def _phase_shift(first: Array, second: Array) -> tuple[float, float]:
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(first, second, window)
    return dx, dy


def _tiles(image: Array) -> Array:
    return cv2.resize(image, (TILES, TILES), interpolation=cv2.INTER_AREA)


def _largest_displacement(homography: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    height, width = shape[:2]
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    moved = cv2.perspectiveTransform(corners, homography)
    return float(np.linalg.norm(moved - corners, axis=2).max())
