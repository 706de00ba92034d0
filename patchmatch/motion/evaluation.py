"""Errors of block motion against ground truth."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from patchmatch.frames.results import Kind, kind_of

MIN_KNOWN = 0.5  # share of the pixels of a block whose flow must be known
SAME_WITHIN = 1.0  # pixels: largest difference of two blocks that move together
NEAR_BOUNDARY = 5  # pixels
MIN_NEIGHBOURS = 3 / 8  # share of neighbours with which a block must move to not be isolated


@dataclass(frozen=True, kw_only=True)
class MotionErrors:
    """Endpoint errors of blocks, and the F1 of their kinds.

    Attributes:
        blocks: Number of blocks with known motion.
        mean: Mean endpoint error in pixels.
        median: Median endpoint error in pixels.
        within_half: Share of blocks with an error below half a pixel.
        within_one: Share of blocks with an error below one pixel.
        macro_f1: Mean F1 of the kinds that occur in the ground truth.
        isolated: Number of blocks of ``isolated_motion``.
        mean_isolated: Mean endpoint error of these, NaN if there are none.
    """

    blocks: int
    mean: float
    median: float
    within_half: float
    within_one: float
    macro_f1: float
    isolated: int
    mean_isolated: float


def median_block_flow(flow: np.ndarray, valid: np.ndarray, block: int) -> np.ndarray:
    """Return the median flow of every whole block, NaN where less than half of it is known.

    Args:
        flow: (H, W, 2), dx and dy in pixels.
        valid: (H, W) bool, True where the flow is known.
        block: Side of a block in pixels.

    Returns:
        (rows, columns, 2).
    """
    height, width = flow.shape[:2]
    rows, columns = height // block, width // block
    known = np.where(valid[..., None], flow, np.nan)[: rows * block, : columns * block]
    tiles = known.reshape(rows, block, columns, block, 2).swapaxes(1, 2)
    tiles = tiles.reshape(rows, columns, -1, 2)
    enough = np.isfinite(tiles[..., 0]).mean(axis=-1) >= MIN_KNOWN
    tiles = np.where(enough[..., None, None], tiles, 0)
    return np.where(enough[..., None], np.nanmedian(tiles, axis=2), np.nan)


def isolated_motion(motion: np.ndarray) -> np.ndarray:
    """Return which blocks move differently from most neighbours, as small and thin objects do.

    Args:
        motion: (rows, columns, 2) in pixels, NaN where unknown.

    Returns:
        (rows, columns) bool, True where fewer than three in eight of the known neighbours move
        within one pixel of the block; blocks without a known neighbour are not isolated.
    """
    rows, columns = motion.shape[:2]
    padded = np.pad(motion, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    offsets = [offset for offset in itertools.product(range(3), range(3)) if offset != (1, 1)]
    neighbours = np.stack([padded[y : y + rows, x : x + columns] for y, x in offsets])
    difference = np.linalg.norm(neighbours - motion, axis=-1)  # (8, rows, columns)
    known = np.isfinite(difference).sum(axis=0)
    return (difference <= SAME_WITHIN).sum(axis=0) < MIN_NEIGHBOURS * known


def near_motion_boundaries(flow: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return which pixels with known flow are within five pixels of a motion boundary.

    A boundary lies between two adjacent pixels whose flow differs by more than one pixel.

    Args:
        flow: (H, W, 2), dx and dy in pixels.
        valid: (H, W) bool, True where the flow is known.

    Returns:
        (H, W) bool.
    """
    boundary = np.zeros(valid.shape, np.uint8)
    for earlier, later in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = np.linalg.norm(flow[later] - flow[earlier], axis=-1) > SAME_WITHIN
        differs &= valid[later] & valid[earlier]
        boundary[earlier] |= differs
        boundary[later] |= differs
    side = 2 * NEAR_BOUNDARY + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(boundary, disc).astype(bool) & valid


def interpolation_error(
    frame0: np.ndarray, frame1: np.ndarray, motion: np.ndarray, block: int
) -> np.ndarray:
    """Return the mean absolute difference of each block to frame 1 warped by its motion.

    It needs no ground truth (Baker et al., "A database and evaluation methodology for optical
    flow", IJCV 2011).

    Args:
        frame0: (H, W) uint8, the earlier frame.
        frame1: (H, W) uint8, the later frame.
        motion: (rows, columns, 2), dx and dy of every whole block in pixels.
        block: Side of a block in pixels.

    Returns:
        (rows, columns) gray levels.

    Raises:
        ValueError: If the frames differ in size, or the motion has another number of blocks.
    """
    rows, columns = motion.shape[:2]
    height, width = frame0.shape
    if frame0.shape != frame1.shape or (rows, columns) != (height // block, width // block):
        raise ValueError(
            f"motion of {rows}x{columns} blocks of {block} pixels does not fit frames of "
            f"{frame0.shape} and {frame1.shape}"
        )
    height, width = rows * block, columns * block
    y, x = np.mgrid[:height, :width]
    dx, dy = np.moveaxis(np.kron(motion, np.ones((block, block, 1))), -1, 0)
    warped = cv2.remap(
        frame1.astype(np.float32), (x + dx).astype(np.float32), (y + dy).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    difference = np.abs(warped - frame0[:height, :width])
    return difference.reshape(rows, block, columns, block).mean(axis=(1, 3))


def evaluate_motion(measured: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> MotionErrors:
    """Return the errors over the blocks of several frame pairs.

    Args:
        measured: (rows, columns, 2) each, in pixels.
        truth: Ground truth of the same shapes, NaN where unknown.

    Raises:
        ValueError: If shapes differ or the motion of all blocks is unknown.
    """
    for one, other in zip(measured, truth, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f"measured and true motion must have the same shape, got {one.shape} and "
                f"{other.shape}"
            )
    found = np.concatenate([m.reshape(-1, 2) for m in measured])
    target = np.concatenate([t.reshape(-1, 2) for t in truth])
    known = np.isfinite(target).all(axis=1)
    if not known.any():
        raise ValueError("truth: the motion of every block is unknown (NaN)")
    found, target = found[known], target[known]
    isolated = np.concatenate([isolated_motion(t).ravel() for t in truth])[known]
    error = np.linalg.norm(found - target, axis=1)
    return MotionErrors(
        blocks=len(error),
        mean=float(error.mean()),
        median=float(np.median(error)),
        within_half=float((error < 0.5).mean()),
        within_one=float((error < 1).mean()),
        macro_f1=_macro_f1(_kinds(found), _kinds(target)),
        isolated=int(isolated.sum()),
        mean_isolated=float(error[isolated].mean()) if isolated.any() else np.nan,
    )


def _kinds(displacement: np.ndarray) -> np.ndarray:
    return kind_of(torch.from_numpy(displacement)).numpy()


def _macro_f1(found: np.ndarray, target: np.ndarray) -> float:
    scores = []
    for kind in Kind:
        if (target == kind).any():
            hits = ((found == kind) & (target == kind)).sum()
            scores.append(2 * hits / ((found == kind).sum() + (target == kind).sum()))
    return float(np.mean(scores))
