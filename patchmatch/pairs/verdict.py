"""Verdict on a pair: do the images overlap, by the model that describes the scene."""

import numpy as np

from patchmatch.core.messages import counted
from patchmatch.pairs.alignment import MIN_ALIGNED
from patchmatch.pairs.results import Matches

FLAT_SHARE = 0.8  # of the epipolar inliers that also agree with one homography, in a flat scene


def model_name(matches: Matches) -> str:
    """Return the model that decides on a pair: epipolar matrix if requested, else homography."""
    return "homography" if matches.epipolar_inliers is None else "epipolar matrix"


def model_inliers(matches: Matches) -> np.ndarray:
    """Return the inliers of the model that decides, (N,) bool; all False without a model."""
    chosen = matches.inliers if matches.epipolar_inliers is None else matches.epipolar_inliers
    return np.zeros(len(matches), bool) if chosen is None else chosen.numpy()


def overlap_kind(matches: Matches) -> str:
    """Return overlapping, doubtful, no_homography or no_epipolar.

    Two images overlap if more than 8 + 0.3 n of the n matches in the overlap are inliers of the
    model (Brown and Lowe 2007, equation 9); here n counts all matches. A homography must also
    align the images themselves: its inliers prove little if the matches were derived from it.
    """
    if matches.epipolar_inliers is None and matches.homography is None:
        return "no_homography"
    if matches.epipolar_inliers is not None and matches.epipolar is None:
        return "no_epipolar"
    enough = model_inliers(matches).sum() > 8 + 0.3 * len(matches)
    return "overlapping" if enough and not is_misaligned(matches) else "doubtful"


def is_misaligned(matches: Matches) -> bool:
    """Return whether the homography decides and does not align the images."""
    decides = matches.epipolar_inliers is None
    return decides and matches.aligned is not None and matches.aligned < MIN_ALIGNED


def is_flat(matches: Matches) -> bool:
    """Return whether one homography describes the scene, so that a panorama is meaningful."""
    if matches.homography is None or matches.inliers is None:
        return False
    if matches.epipolar is None or matches.epipolar_inliers is None:
        return True
    both = (matches.inliers & matches.epipolar_inliers).sum()
    return bool(both >= FLAT_SHARE * matches.epipolar_inliers.sum())


def explain(matches: Matches) -> str | None:
    """Return why the images may not overlap, for a message; None for overlapping images."""
    kind, name, count = overlap_kind(matches), model_name(matches), len(matches)
    if kind == "overlapping":
        return None
    if kind in ("no_homography", "no_epipolar"):
        required = "four" if name == "homography" else "five"
        few = (
            f"{required} are required"
            if count < (4 if name == "homography" else 5)
            else "too few agree on one"
        )
        return f"{counted(count, 'matches')}, no {name}: {few}"
    if is_misaligned(matches):
        return (
            f"the homography aligns only {100 * (matches.aligned or 0):.0f}% of the overlap; it is "
            "probably wrong, or the images do not overlap"
        )
    inliers = int(model_inliers(matches).sum())
    return (
        f"only {inliers} of {count} matches are inliers of the {name}; the images may not overlap"
    )
