"""Drawing of image pairs: matches as lines, panorama and checkerboard."""

import math

import cv2
import numpy as np

from patchmatch.draw.text import draw_text, text_size
from patchmatch.io import to_rgb_uint8

# Distinguishable with color blindness (palette of Okabe and Ito).
INLIER, OUTLIER = (0, 190, 150), (240, 90, 20)
_LARGE_ERROR = 5.0  # pixels: the error whose colour is that of an outlier
_SUBPIXEL = 4  # bits of OpenCV's fixed-point coordinates
_GAP = 8  # pixels between the two images
_MAX_AREA_RATIO = 20.0  # of a panorama to the sum of both images
_MIN_WEIGHT = 1e-3  # of a pixel at the border of its image


def draw_matches(
    image0: np.ndarray,
    image1: np.ndarray,
    keypoints0: np.ndarray,
    keypoints1: np.ndarray,
    inliers: np.ndarray | None = None,
    max_lines: int = 150,
    size: int = 1600,
    caption: str | None = None,
    errors: np.ndarray | None = None,
) -> np.ndarray:
    """Draw matches as lines between two images, side by side or stacked.

    Inliers are bluish green with dots at their ends, outliers are orange with crosses. If there are
    more than ``max_lines``, the drawn ones are spread over the image. With ``errors``, the colour
    of each line is between green, without error, and orange, 5 pixels and more.

    Args:
        image0: An image as from ``read_image``.
        image1: The other image.
        keypoints0: (N, 2), x and y in image 0, best matches first.
        keypoints1: (N, 2), matched keypoints in image 1.
        inliers: (N,) bool; None without a model, then all lines are orange.
        max_lines: Maximum number of inliers and of outliers to draw.
        size: Maximum of the longer side of the two images together; larger ones are shrunk.
        caption: Text below; None for the numbers of matches and inliers.
        errors: (N,), error of each match in pixels, which replaces the inliers; None for those.

    Returns:
        ``(H, W, 3)`` uint8 with a line of text below.
    """
    images = [to_rgb_uint8(image) for image in (image0, image1)]
    is_inlier = np.zeros(len(keypoints0), bool) if inliers is None else np.asarray(inliers, bool)
    heights, widths = zip(*(image.shape[:2] for image in images), strict=True)
    stacked = sum(widths) > 3 * max(heights)
    across, down = (max(widths), sum(heights)) if stacked else (sum(widths), max(heights))
    scale = min(1.0, size / max(across, down))
    small = [resized(image, scale) for image in images]
    x1, y1 = (0, small[0].shape[0] + _GAP) if stacked else (small[0].shape[1] + _GAP, 0)
    height = max(small[0].shape[0], y1 + small[1].shape[0])
    width = max(small[0].shape[1], x1 + small[1].shape[1])
    text = f"{is_inlier.sum()} of {len(is_inlier)} matches are inliers (green)"
    text = text if caption is None else caption
    text_width, text_height = text_size(text, 0.5)
    canvas = np.full((height + text_height + 10, max(width, text_width + 8), 3), 255, np.uint8)
    canvas[: small[0].shape[0], : small[0].shape[1]] = small[0]
    canvas[y1 : y1 + small[1].shape[0], x1 : x1 + small[1].shape[1]] = small[1]
    ends0 = (np.asarray(keypoints0, float).reshape(-1, 2) + 0.5) * scale - 0.5
    ends1 = (np.asarray(keypoints1, float).reshape(-1, 2) + 0.5) * scale - 0.5 + [x1, y1]
    if errors is not None:
        shares = np.clip(np.asarray(errors, float) / _LARGE_ERROR, 0, 1)[:, None]
        colors = (1 - shares) * np.array(INLIER) + shares * np.array(OUTLIER)
        chosen = spread_points(ends0, np.arange(len(ends0)), max_lines)
        for i in sorted(chosen, key=lambda i: -shares[i, 0]):  # accurate ones on top
            r, g, b = colors[i].astype(int).tolist()
            _draw_line(canvas, ends0[i], ends1[i], (r, g, b), dot=True)
    kinds = () if errors is not None else ((False, OUTLIER), (True, INLIER))
    for kind, color in kinds:
        for i in spread_points(ends0, np.flatnonzero(is_inlier == kind), max_lines):
            _draw_line(canvas, ends0[i], ends1[i], color, dot=kind)
    draw_text(canvas, 4, height + 5, text, (0, 0, 0), 0.5)
    return canvas


def draw_panorama(
    image0: np.ndarray, image1: np.ndarray, homography: np.ndarray, size: int = 4096
) -> np.ndarray | None:
    """Warp image 0 into the frame of image 1 and blend both.

    A pixel is weighted by its distance from the border of its image, so no seam is visible. The
    mean brightness of image 0 is adjusted to image 1 in the overlap.

    Args:
        image0: An image as from ``read_image``.
        image1: The other image.
        homography: (3, 3), from image 0 to image 1.
        size: Maximum of the longer side of the panorama; a larger one is shrunk.

    Returns:
        ``(H, W, 3)`` uint8, black outside both images; None if the homography maps a line of image
        0 to infinity, or enlarges the area more than 20 times.
    """
    images = [to_rgb_uint8(image) for image in (image0, image1)]
    box = _canvas(images[0], images[1], homography)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    scale = min(1.0, size / max(x1 - x0, y1 - y0))
    shape = max(1, math.ceil((x1 - x0) * scale)), max(1, math.ceil((y1 - y0) * scale))
    # Scaling is relative to the corner of the top-left pixel, not to its centre.
    to_canvas = np.array(
        [[scale, 0, -x0 * scale - 0.5], [0, scale, -y0 * scale - 0.5], [0, 0, 1.0]]
    )
    layers, weights = [], []
    for image, matrix in zip(images, (to_canvas @ homography, to_canvas), strict=True):
        weight = cv2.distanceTransform(_padded_mask(image), cv2.DIST_L2, 3)[1:-1, 1:-1]
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        layers.append(
            cv2.warpPerspective(image.astype(np.float32), matrix, shape, flags=interpolation)
        )
        warped = cv2.warpPerspective(weight, matrix, shape)
        weights.append(np.where(warped > 0, np.maximum(warped, _MIN_WEIGHT), 0))
    both = (weights[0] > 1) & (weights[1] > 1)
    if both.sum() > 100:
        brightness = [float(layer[both].mean()) for layer in layers]
        layers[0] *= np.clip(brightness[1] / max(brightness[0], 1), 0.5, 2)
    total = np.maximum(weights[0] + weights[1], 1e-6)[..., None]
    blended = (layers[0] * weights[0][..., None] + layers[1] * weights[1][..., None]) / total
    return blended.round().clip(0, 255).astype(np.uint8)


def warp_image(image0: np.ndarray, homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warp image 0 into the frame of image 1.

    Args:
        image0: An image as from ``read_image``.
        homography: (3, 3), from image 0 to image 1.
        size: Height and width of image 1.

    Returns:
        ``(H, W, 3)`` uint8, black outside image 0.
    """
    return cv2.warpPerspective(to_rgb_uint8(image0), homography, size[::-1])


def draw_checkerboard(
    image0: np.ndarray, image1: np.ndarray, homography: np.ndarray, squares: int = 10
) -> np.ndarray:
    """Replace every other square of image 1 by the warped image 0.

    Edges continue across squares where the images are aligned. Outside image 0, image 1 is kept.

    Args:
        image0: An image as from ``read_image``.
        image1: The other image.
        homography: (3, 3), from image 0 to image 1.
        squares: Number of squares along the longer side.

    Returns:
        ``(H, W, 3)`` uint8, of the size of image 1.
    """
    board = to_rgb_uint8(image1)
    height, width = board.shape[:2]
    warped = warp_image(image0, homography, (height, width))
    inside = np.full(image0.shape[:2], 255, np.uint8)
    inside = cv2.warpPerspective(inside, homography, (width, height), flags=cv2.INTER_NEAREST)
    side = max(1, math.ceil(max(height, width) / squares))
    odd = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2 == 1
    replaced = odd & (inside > 0)
    board[replaced] = warped[replaced]
    return board


def _canvas(
    image0: np.ndarray, image1: np.ndarray, homography: np.ndarray
) -> tuple[float, float, float, float] | None:
    """Return the bounding box of both images in the frame of image 1; None if it is too large."""
    (height0, width0), (height1, width1) = image0.shape[:2], image1.shape[:2]
    corners = np.array(
        [[x, y, 1] for y in (-0.5, height0 - 0.5) for x in (-0.5, width0 - 0.5)], dtype=float
    )
    warped = corners @ np.asarray(homography, float).T
    if not np.isfinite(warped).all() or warped[:, 2].min() * warped[:, 2].max() <= 0:
        return None  # a line of image 0 is mapped to infinity
    warped = warped[:, :2] / warped[:, 2:]
    x0, y0 = np.minimum(warped.min(axis=0), -0.5)
    x1, y1 = np.maximum(warped.max(axis=0), [width1 - 0.5, height1 - 0.5])
    if (x1 - x0) * (y1 - y0) > _MAX_AREA_RATIO * (height0 * width0 + height1 * width1):
        return None
    return float(x0), float(y0), float(x1), float(y1)


def _padded_mask(image: np.ndarray) -> np.ndarray:
    """Return (H + 2, W + 2) uint8: 1 inside the image, 0 in a border of one pixel."""
    return np.pad(np.ones(image.shape[:2], np.uint8), 1)


def spread_points(points: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """Select at most ``count`` points that are spread over the image.

    The first point of each grid cell is selected, then evenly spaced ones of the others.

    Args:
        points: (N, 2), x and y.
        chosen: Indices of the points to select from, best first.
        count: Maximum number of points.

    Returns:
        Indices of the selected points.
    """
    if len(chosen) <= count:
        return chosen
    candidates = points[chosen]
    extent = np.ptp(candidates, axis=0) + 1
    side = math.sqrt(extent[0] * extent[1] / count)
    cells = ((candidates - candidates.min(axis=0)) // side).astype(int)
    _, first = np.unique(cells, axis=0, return_index=True)
    rest = np.setdiff1d(np.arange(len(chosen)), first)
    missing = max(0, count - len(first))
    more = rest[np.linspace(0, len(rest) - 1, missing).astype(int)]
    return chosen[np.sort(np.r_[np.sort(first)[:count], more])]


def _draw_line(
    canvas: np.ndarray, end0: np.ndarray, end1: np.ndarray, color: tuple[int, int, int], dot: bool
) -> None:
    """Draw a line with markers at its ends, in place."""
    ends = [tuple(np.rint(end * 2**_SUBPIXEL).astype(int).tolist()) for end in (end0, end1)]
    cv2.line(canvas, ends[0], ends[1], color, 1, cv2.LINE_AA, _SUBPIXEL)
    for end in (end0, end1):
        x, y = (round(float(value)) for value in end)
        if dot:
            cv2.circle(canvas, (x, y), 3, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(canvas, (x, y), 2, color, -1, cv2.LINE_AA)
        else:
            cv2.drawMarker(canvas, (x, y), color, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """Return an image shrunk by a factor of at most one."""
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
