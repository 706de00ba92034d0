"""How near measured motion is to the truth, block by block."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from patchmatch.frames.results import Kind, kind_of

KNOWN = 0.5  # share of a block's pixels whose flow must be known
SHARED, COMPANY = 1.0, 3 / 8  # pixels within which motion is shared, and neighbours that do


@dataclass(frozen=True)
class MotionScores:
    """Endpoint errors of blocks and how often their kind was right.

    Attributes:
        blocks: Number of blocks with known motion.
        mean: Mean endpoint error in pixels.
        median: Median endpoint error in pixels.
        within_half: Share of blocks with an error below half a pixel.
        within_one: Share of blocks with an error below one pixel.
        macro_f1: Mean over the three kinds of their F1; a kind that does not occur is left out.
        alone: Number of blocks of ``moves_alone``.
        mean_alone: Mean endpoint error of these, NaN if there are none.
    """

    blocks: int
    mean: float
    median: float
    within_half: float
    within_one: float
    macro_f1: float
    alone: int
    mean_alone: float


def true_block_motion(flow: np.ndarray, valid: np.ndarray, block: int) -> np.ndarray:
    """Return the median of the flow in every whole block, NaN where too little of it is known.

    Args:
        flow: (H, W, 2), dx and dy in pixels.
        valid: (H, W) bool, where the flow is known.
        block: Side of a block in pixels.

    Returns:
        (rows, columns, 2).
    """
    height, width = flow.shape[:2]
    rows, columns = height // block, width // block
    known = np.where(valid[..., None], flow, np.nan)[: rows * block, : columns * block]
    tiles = known.reshape(rows, block, columns, block, 2).swapaxes(1, 2)
    tiles = tiles.reshape(rows, columns, -1, 2)
    enough = np.isfinite(tiles[..., 0]).mean(axis=-1) >= KNOWN
    tiles = np.where(enough[..., None, None], tiles, 0)
    return np.where(enough[..., None], np.nanmedian(tiles, axis=2), np.nan)


def moves_alone(motion: np.ndarray) -> np.ndarray:
    """Tell which blocks hardly any neighbour moves with: those of small and of thin things.

    Args:
        motion: (rows, columns, 2) in pixels, NaN where unknown.

    Returns:
        (rows, columns) bool: within one pixel are fewer than three in eight of the known
        neighbours, of which there must be one.
    """
    rows, columns = motion.shape[:2]
    padded = np.pad(motion, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    places = [place for place in itertools.product(range(3), range(3)) if place != (1, 1)]
    around = np.stack([padded[y : y + rows, x : x + columns] for y, x in places])
    apart = np.linalg.norm(around - motion, axis=-1)
    return (apart <= SHARED).sum(axis=0) < COMPANY * np.isfinite(apart).sum(axis=0)


def left_over(frame0: np.ndarray, frame1: np.ndarray, motion: np.ndarray, block: int) -> np.ndarray:
    """Return what of each block its motion does not explain: a measure that needs no truth.

    The interpolation error of Baker et al., "A database and evaluation methodology for optical
    flow", IJCV 2011: the mean absolute difference of a block to what lies in frame 1 at the place
    to which its motion takes it.

    Args:
        frame0: (H, W) uint8.
        frame1: The same shape, later.
        motion: (rows, columns, 2), dx and dy of every whole block in pixels.
        block: Side of a block in pixels.

    Returns:
        (rows, columns) grey levels.

    Raises:
        ValueError: If the frames differ in size, or the motion is not of their blocks.
    """
    rows, columns = motion.shape[:2]
    height, width = frame0.shape
    if frame0.shape != frame1.shape or (rows, columns) != (height // block, width // block):
        raise ValueError(
            f"frames of {frame0.shape} and {frame1.shape} have no {rows}x{columns} blocks of "
            f"{block} pixels"
        )
    height, width = rows * block, columns * block
    y, x = np.mgrid[:height, :width]
    dx, dy = np.moveaxis(np.kron(motion, np.ones((block, block, 1))), -1, 0)
    there = cv2.remap(
        frame1.astype(np.float32), (x + dx).astype(np.float32), (y + dy).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    apart = np.abs(there - frame0[:height, :width])
    return apart.reshape(rows, block, columns, block).mean(axis=(1, 3))


def score_motion(measured: list[np.ndarray], truth: list[np.ndarray]) -> MotionScores:
    """Score the motion of several frame pairs together.

    Args:
        measured: (rows, columns, 2) each, in pixels.
        truth: The same shapes, NaN where unknown.

    Raises:
        ValueError: If shapes differ or no motion is known.
    """
    for one, other in zip(measured, truth, strict=True):
        if one.shape != other.shape:
            raise ValueError(f"measured and true motion must agree, got {one.shape}, {other.shape}")
    answers = np.concatenate([m.reshape(-1, 2) for m in measured])
    right = np.concatenate([t.reshape(-1, 2) for t in truth])
    known = np.isfinite(right).all(axis=1)
    if not known.any():
        raise ValueError("no block has known motion")
    answers, right = answers[known], right[known]
    alone = np.concatenate([moves_alone(t).ravel() for t in truth])[known]
    error = np.linalg.norm(answers - right, axis=1)
    return MotionScores(
        blocks=len(error),
        mean=float(error.mean()),
        median=float(np.median(error)),
        within_half=float((error < 0.5).mean()),
        within_one=float((error < 1).mean()),
        macro_f1=_macro_f1(_kinds(answers), _kinds(right)),
        alone=int(alone.sum()),
        mean_alone=float(error[alone].mean()) if alone.any() else np.nan,
    )


def _kinds(displacement: np.ndarray) -> np.ndarray:
    return kind_of(torch.from_numpy(displacement)).numpy()


def _macro_f1(answers: np.ndarray, right: np.ndarray) -> float:
    scores = []
    for kind in Kind:
        if (right == kind).any():
            hits = ((answers == kind) & (right == kind)).sum()
            scores.append(2 * hits / ((answers == kind).sum() + (right == kind).sum()))
    return float(np.mean(scores))
