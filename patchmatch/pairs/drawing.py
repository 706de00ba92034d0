"""Images of a pair: its matches, and the aligned images or epipolar lines."""

from collections.abc import Sequence

import numpy as np

from patchmatch.core.messages import counted
from patchmatch.draw import (
    draw_checkerboard,
    draw_epipolar_lines,
    draw_matches,
    draw_panorama,
    warp_image,
)
from patchmatch.ops.homography import resize_homography
from patchmatch.pairs.points import rescale_points
from patchmatch.pairs.results import Matches
from patchmatch.pairs.verdict import is_flat, model_inliers, model_name, overlap_kind


def draw_pair(
    matches: Matches,
    images: tuple[np.ndarray, np.ndarray],
    sizes: Sequence[tuple[int, int]],
    *,
    max_lines: int,
    size: int,
    panorama_size: int,
) -> dict[str, np.ndarray]:
    """Draw the matches, and the aligned images or, in a scene with depth, epipolar lines.

    Args:
        matches: Matches in pixels of images of ``sizes``.
        images: (H, W, 3) uint8 each, at any size.
        sizes: Height and width of each image in whose pixels the matches are.
        max_lines: Number of inliers and of outliers to draw at most.
        size: Longest side of the drawings of matches and of epipolar lines.
        panorama_size: Longest side of the panorama.

    Returns:
        Images by the names of their files: ``homography_matches``; in a flat scene ``warped``,
        ``checkerboard`` and, if the homography permits one, ``panorama``; else ``epipolar_lines``.
    """
    image0, image1 = images
    size0, size1 = (image.shape[:2] for image in images)
    points0 = rescale_points(matches.keypoints0.double(), sizes[0], size0).numpy()
    points1 = rescale_points(matches.keypoints1.double(), sizes[1], size1).numpy()
    to_original0 = resize_homography((size0[0], size0[1]), sizes[0]).numpy()
    to_image1 = resize_homography(sizes[1], (size1[0], size1[1])).numpy()
    inliers = model_inliers(matches)
    drawn = {
        "homography_matches": draw_matches(
            image0, image1, points0, points1, inliers, max_lines, size, _caption(matches)
        )
    }
    if is_flat(matches) and matches.homography is not None:
        homography = to_image1 @ matches.homography.numpy() @ to_original0
        drawn["warped"] = warp_image(image0, homography, (size1[0], size1[1]))
        drawn["checkerboard"] = draw_checkerboard(image0, image1, homography)
        panorama = draw_panorama(image0, image1, homography, panorama_size)
        if panorama is not None:
            drawn["panorama"] = panorama
    elif matches.fundamental is not None:
        fundamental = np.linalg.inv(to_image1).T @ matches.fundamental.numpy() @ to_original0
        drawn["epipolar_lines"] = draw_epipolar_lines(
            image0, image1, points0[inliers], points1[inliers], fundamental, size=size
        )
    return drawn


def _caption(matches: Matches) -> str:
    """Return the text below the drawn matches."""
    kind, name = overlap_kind(matches), model_name(matches)
    if kind in ("no_homography", "no_epipolar"):
        return f"{counted(len(matches), 'matches')}, no {name}"
    count = model_inliers(matches).sum()
    text = f"{count} of {len(matches)} matches are inliers of the {name} (green)"
    return f"{text}; doubtful" if kind == "doubtful" else text
