"""Results of stereo matching and their errors."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Disparity:
    """The disparity of a pair, x1 = x0 - d.

    Attributes:
        disparity: (H, W) float32 in pixels, at least 0, at every pixel.
        confidence: (H, W) float32 in [0, 1]; 0 where the disparity was filled in.
        consistent: (H, W) bool, where the disparities of both images agree.
        max_disparity: Largest disparity that was searched, in pixels.
        candidates: Disparities evaluated for each pixel.
        notes: A line for each warning about the pair.
    """

    disparity: np.ndarray
    confidence: np.ndarray
    consistent: np.ndarray
    max_disparity: int
    candidates: int
    notes: tuple[str, ...] = ()


ERRORS = ("epe", "bad_1", "bad_2", "d1")
VISIBLE_ERRORS = tuple(f"{name}_noc" for name in ERRORS)


def disparity_errors(
    disparity: np.ndarray, truth: np.ndarray, visible: np.ndarray | None = None
) -> dict[str, float]:
    """Return the errors of the pixels with known truth.

    Args:
        disparity: (H, W) in pixels.
        truth: (H, W) in pixels; not finite or 0 where unknown.
        visible: (H, W) bool, pixels that are not occluded; None if that is not known.

    Returns:
        ``epe``, the mean error in pixels; ``bad_1`` and ``bad_2``, the shares off by more than one
        and two pixels; ``d1``, off by more than 3 pixels and by more than 5% of the truth (Menze
        and Geiger, CVPR 2015). NaN where no truth is known. With ``visible`` also the same of the
        pixels that are not occluded, with ``_noc`` appended.
    """
    known = np.isfinite(truth) & (truth > 0)
    found = _errors(disparity[known], truth[known])
    if visible is not None:
        known &= visible
        parts = _errors(disparity[known], truth[known])
        found |= dict(zip(VISIBLE_ERRORS, parts.values(), strict=True))
    return found


def _errors(disparity: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    if not len(truth):
        return dict.fromkeys(ERRORS, float("nan"))
    error = np.abs(disparity - truth)
    return {
        "epe": float(error.mean()),
        "bad_1": float((error > 1).mean()),
        "bad_2": float((error > 2).mean()),
        "d1": float(((error > 3) & (error > 0.05 * truth)).mean()),
    }
