"""Drawing of epipolar lines."""

import cv2
import numpy as np

from patchmatch.draw.matches import resized, spread_points
from patchmatch.io import to_rgb_uint8

_GAP = 8  # pixels between the two images


def draw_epipolar_lines(
    image0: np.ndarray,
    image1: np.ndarray,
    keypoints0: np.ndarray,
    keypoints1: np.ndarray,
    fundamental: np.ndarray,
    max_lines: int = 30,
    size: int = 1600,
) -> np.ndarray:
    """Draw matched points in both images, each on the epipolar line of its partner.

    A match and its two lines have one color. The lines of a correct fundamental matrix pass
    through the points.

    Args:
        image0: An image as from ``read_image``.
        image1: The other image.
        keypoints0: (N, 2), x and y in image 0, best matches first.
        keypoints1: (N, 2), matched keypoints in image 1.
        fundamental: (3, 3), maps points of image 0 to lines of image 1.
        max_lines: Maximum number of matches to draw; the drawn ones are spread over the image.
        size: Maximum of the longer side of the two images together; larger ones are shrunk.

    Returns:
        ``(H, W, 3)`` uint8, the images side by side.
    """
    images = [to_rgb_uint8(image) for image in (image0, image1)]
    points = [np.asarray(keypoints, float).reshape(-1, 2) for keypoints in (keypoints0, keypoints1)]
    width, height = sum(i.shape[1] for i in images), max(i.shape[0] for i in images)
    scale = min(1.0, size / max(width, height))
    chosen = spread_points(points[0], np.arange(len(points[0])), max_lines)
    hues = np.linspace(0, 180, max(1, len(chosen)), endpoint=False).astype(np.uint8)
    colors = cv2.cvtColor(np.dstack([hues, np.full_like(hues, 255), np.full_like(hues, 255)])[:1],
                          cv2.COLOR_HSV2RGB)[0]  # fmt: skip
    panels = []
    matrices = (fundamental.T, fundamental)  # lines in image 0 of points in image 1, and reverse
    for image, own, other, matrix in zip(images, points, reversed(points), matrices, strict=True):
        panel = np.ascontiguousarray(resized(image, scale))
        lines = np.c_[other[chosen], np.ones(len(chosen))] @ matrix.T  # (N, 3)
        for line, point, color in zip(lines, own[chosen], colors.tolist(), strict=False):
            _draw_line(panel, line, scale, color)
            centre = tuple(np.rint((point + 0.5) * scale - 0.5).astype(int).tolist())
            cv2.circle(panel, centre, 4, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(panel, centre, 3, color, -1, cv2.LINE_AA)
        panels.append(panel)
    canvas = np.full(
        (max(p.shape[0] for p in panels), sum(p.shape[1] for p in panels) + _GAP, 3), 255, np.uint8
    )
    canvas[: panels[0].shape[0], : panels[0].shape[1]] = panels[0]
    canvas[: panels[1].shape[0], panels[0].shape[1] + _GAP :] = panels[1]
    return canvas


def _draw_line(panel: np.ndarray, line: np.ndarray, scale: float, color: list[int]) -> None:
    """Draw a line a x + b y + c = 0, given in pixels before scaling, across a panel in place."""
    a, b, c = line
    if not np.isfinite(line).all() or np.hypot(a, b) == 0:
        return
    height, width = panel.shape[:2]
    foot = -c * np.array([a, b]) / (a * a + b * b)  # the point of the line closest to the origin
    direction = np.array([-b, a]) / np.hypot(a, b)
    reach = np.hypot(*foot) + (height + width) / scale
    ends = [(foot + sign * reach * direction + 0.5) * scale - 0.5 for sign in (-1, 1)]
    if max(np.abs(end).max() for end in ends) < 2**24:
        start, end = (tuple(np.rint(e).astype(int).tolist()) for e in ends)
        cv2.line(panel, start, end, color, 1, cv2.LINE_AA)
