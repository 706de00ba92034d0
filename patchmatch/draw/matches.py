"""Matches of two pictures: lines between them, and one laid over the other."""

import math

import cv2
import numpy as np

from patchmatch.draw.text import text_size, write
from patchmatch.io import to_rgb_uint8

# told apart by people who do not see red and green as well (Okabe and Ito), and by their shape
INLIER, OUTLIER = (0, 190, 150), (240, 90, 20)
_SUBPIXEL = 4  # bits of OpenCV's fixed-point coordinates
_GAP = 8  # pixels between the two pictures
_LARGEST = 20.0  # times the area of both pictures that a panorama may take
_EDGE = 1e-3  # least weight of a pixel beside the edge of its picture


def draw_matches(
    picture0: np.ndarray,
    picture1: np.ndarray,
    keypoints0: np.ndarray,
    keypoints1: np.ndarray,
    inliers: np.ndarray | None = None,
    max_lines: int = 150,
    size: int = 1600,
) -> np.ndarray:
    """Draw matches as lines between two pictures side by side, or one above the other.

    Matches that agree with the homography are bluish green and end in dots, the others are orange
    and end in crosses. Where there are too many to be told apart, those drawn are spread over the
    picture, the best of each part.

    Args:
        picture0: As ``read_image`` returns it.
        picture1: The same.
        keypoints0: (N, 2), x and y in picture 0, the best first.
        keypoints1: (N, 2), the partners in picture 1.
        inliers: (N,) bool, which agree; None where there is no homography, then all are orange.
        max_lines: Lines of each kind to draw at most.
        size: Longest side in pixels to which the pictures are reduced together.

    Returns:
        ``(H, W, 3)`` uint8 with a line of text below.
    """
    pictures = [to_rgb_uint8(picture) for picture in (picture0, picture1)]
    agree = np.zeros(len(keypoints0), bool) if inliers is None else np.asarray(inliers, bool)
    heights, widths = zip(*(picture.shape[:2] for picture in pictures), strict=True)
    stacked = sum(widths) > 3 * max(heights)
    across, down = (max(widths), sum(heights)) if stacked else (sum(widths), max(heights))
    scale = min(1.0, size / max(across, down))
    small = [_resized(picture, scale) for picture in pictures]
    x1, y1 = (0, small[0].shape[0] + _GAP) if stacked else (small[0].shape[1] + _GAP, 0)
    height = max(small[0].shape[0], y1 + small[1].shape[0])
    width = max(small[0].shape[1], x1 + small[1].shape[1])
    text = f"{len(agree)} matches, no homography"
    if inliers is not None:
        text = f"{agree.sum()} of {len(agree)} matches agree (green); the others are orange"
    text_width, text_height = text_size(text, 0.5)
    paper = np.full((height + text_height + 10, max(width, text_width + 8), 3), 255, np.uint8)
    paper[: small[0].shape[0], : small[0].shape[1]] = small[0]
    paper[y1 : y1 + small[1].shape[0], x1 : x1 + small[1].shape[1]] = small[1]
    ends0 = (np.asarray(keypoints0, float).reshape(-1, 2) + 0.5) * scale - 0.5
    ends1 = (np.asarray(keypoints1, float).reshape(-1, 2) + 0.5) * scale - 0.5 + [x1, y1]
    for kind, color in ((False, OUTLIER), (True, INLIER)):
        chosen = _spread(ends0, np.flatnonzero(agree == kind), max_lines)
        for i in chosen:
            _line(paper, ends0[i], ends1[i], color, dot=kind)
    write(paper, 4, height + 5, text, (0, 0, 0), 0.5)
    return paper


def draw_panorama(
    picture0: np.ndarray, picture1: np.ndarray, homography: np.ndarray, size: int = 4096
) -> np.ndarray | None:
    """Lay picture 0 into the frame of picture 1, on a canvas that holds both, blended.

    Each pixel is weighted by how far it lies from the edge of its picture, so no seam shows;
    picture 0 is made as bright as picture 1 where both overlap.

    Args:
        picture0: As ``read_image`` returns it.
        picture1: The same.
        homography: (3, 3), from picture 0 to picture 1.
        size: Longest side in pixels to which the panorama is reduced.

    Returns:
        ``(H, W, 3)`` uint8, black where neither is; None where the homography would tear picture 0
        apart or enlarge it beyond measure.
    """
    pictures = [to_rgb_uint8(picture) for picture in (picture0, picture1)]
    box = _canvas(pictures[0], pictures[1], homography)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    scale = min(1.0, size / max(x1 - x0, y1 - y0))
    shape = max(1, math.ceil((x1 - x0) * scale)), max(1, math.ceil((y1 - y0) * scale))
    # the corner of the canvas's top-left pixel, not its centre, is where scaling starts
    place = np.array([[scale, 0, -x0 * scale - 0.5], [0, scale, -y0 * scale - 0.5], [0, 0, 1.0]])
    layers, weights = [], []
    for picture, matrix in zip(pictures, (place @ homography, place), strict=True):
        weight = cv2.distanceTransform(_framed(picture), cv2.DIST_L2, 3)[1:-1, 1:-1]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        layers.append(cv2.warpPerspective(picture.astype(np.float32), matrix, shape, flags=how))
        warped = cv2.warpPerspective(weight, matrix, shape)
        weights.append(np.where(warped > 0, np.maximum(warped, _EDGE), 0))
    both = (weights[0] > 1) & (weights[1] > 1)
    if both.sum() > 100:
        brightness = [float(layer[both].mean()) for layer in layers]
        layers[0] *= np.clip(brightness[1] / max(brightness[0], 1), 0.5, 2)
    total = np.maximum(weights[0] + weights[1], 1e-6)[..., None]
    blended = (layers[0] * weights[0][..., None] + layers[1] * weights[1][..., None]) / total
    return blended.round().clip(0, 255).astype(np.uint8)


def draw_checkerboard(
    picture0: np.ndarray, picture1: np.ndarray, homography: np.ndarray, fields: int = 10
) -> np.ndarray:
    """Show picture 1 with every other square taken from picture 0, laid where it belongs.

    Edges that run on from square to square are aligned; where picture 0 does not reach, all is
    picture 1.

    Args:
        picture0: As ``read_image`` returns it.
        picture1: The same.
        homography: (3, 3), from picture 0 to picture 1.
        fields: Squares along the longer side.

    Returns:
        ``(H, W, 3)`` uint8, as large as picture 1.
    """
    board = to_rgb_uint8(picture1)
    height, width = board.shape[:2]
    picture = to_rgb_uint8(picture0)
    moved = cv2.warpPerspective(picture, homography, (width, height))
    there = np.full(picture.shape[:2], 255, np.uint8)
    there = cv2.warpPerspective(there, homography, (width, height), flags=cv2.INTER_NEAREST)
    side = max(1, math.ceil(max(height, width) / fields))
    odd = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2 == 1
    taken = odd & (there > 0)
    board[taken] = moved[taken]
    return board


def _canvas(
    picture0: np.ndarray, picture1: np.ndarray, homography: np.ndarray
) -> tuple[float, float, float, float] | None:
    """Return the box around both pictures in the frame of picture 1; None where it makes none."""
    (height0, width0), (height1, width1) = picture0.shape[:2], picture1.shape[:2]
    corners = np.array(
        [[x, y, 1] for y in (-0.5, height0 - 0.5) for x in (-0.5, width0 - 0.5)], dtype=float
    )
    moved = corners @ np.asarray(homography, float).T
    if not np.isfinite(moved).all() or moved[:, 2].min() * moved[:, 2].max() <= 0:
        return None  # a line through picture 0 goes to infinity
    moved = moved[:, :2] / moved[:, 2:]
    x0, y0 = np.minimum(moved.min(axis=0), -0.5)
    x1, y1 = np.maximum(moved.max(axis=0), [width1 - 0.5, height1 - 0.5])
    if (x1 - x0) * (y1 - y0) > _LARGEST * (height0 * width0 + height1 * width1):
        return None
    return float(x0), float(y0), float(x1), float(y1)


def _framed(picture: np.ndarray) -> np.ndarray:
    """Return (H + 2, W + 2) uint8, one inside the picture and zero around it."""
    return np.pad(np.ones(picture.shape[:2], np.uint8), 1)


def _spread(points: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of the chosen points, the first of each part of the picture.

    Where that leaves room, it is filled from all others alike: many may be equally good.
    """
    if len(chosen) <= count:
        return chosen
    places = points[chosen]
    extent = np.ptp(places, axis=0) + 1
    side = math.sqrt(extent[0] * extent[1] / count)
    cells = ((places - places.min(axis=0)) // side).astype(int)
    _, first = np.unique(cells, axis=0, return_index=True)
    rest = np.setdiff1d(np.arange(len(chosen)), first)
    room = max(0, count - len(first))
    more = rest[np.linspace(0, len(rest) - 1, room).astype(int)]
    return chosen[np.sort(np.r_[np.sort(first)[:count], more])]


def _line(
    paper: np.ndarray, end0: np.ndarray, end1: np.ndarray, color: tuple[int, int, int], dot: bool
) -> None:
    """Draw a line with its two ends, in place."""
    ends = [tuple(np.rint(end * 2**_SUBPIXEL).astype(int).tolist()) for end in (end0, end1)]
    cv2.line(paper, ends[0], ends[1], color, 1, cv2.LINE_AA, _SUBPIXEL)
    for end in (end0, end1):
        x, y = (round(float(value)) for value in end)
        if dot:
            cv2.circle(paper, (x, y), 3, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(paper, (x, y), 2, color, -1, cv2.LINE_AA)
        else:
            cv2.drawMarker(paper, (x, y), color, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
