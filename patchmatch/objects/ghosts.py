"""Ghosts: regions that differ from the memory because a thing left, not because one came."""

import cv2
import numpy as np

from patchmatch.objects.memory import Array

WINDOW = 11  # pixels of half the resolution around a pixel in which the contour is compared
MIN_SHARE = 0.6  # of the edges along the contour that are in the memory and not in the frame
FLOOR = 8.0  # gray levels of a gradient that noise may cause


def edge_strength(planes: Array) -> Array:
    """Return the largest gradient of the colors at half the resolution, (H / 2, W / 2) float32."""
    height, width = planes.shape[1:]
    size = (max(1, width // 2), max(1, height // 2))
    strongest = np.zeros(size[::-1], np.float32)
    for plane in planes:
        half = cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        dx, dy = (cv2.Sobel(half, cv2.CV_32F, 1 - i, i, scale=0.25) for i in (0, 1))
        strongest = cv2.max(strongest, cv2.magnitude(dx, dy))
    return strongest


def ghost_share(mask: Array, frame_edges: Array, memory_edges: Array) -> Array:
    """Return how far the contour of a mask is an edge of the memory rather than of the frame.

    A thing in front of the background has edges at its contour in the frame. Where a thing has
    left, these edges are in the memory only (as in Cucchiara et al. 2003, who test for motion).

    Args:
        mask: (H, W), 255 where the frame differs from the memory.
        frame_edges: ``edge_strength`` of the frame.
        memory_edges: ``edge_strength`` of the background.

    Returns:
        (H, W) float32 from 0, a thing, to 1, a ghost; 0.5 where no contour is near.
    """
    small = cv2.resize(mask, frame_edges.shape[::-1], interpolation=cv2.INTER_NEAREST)
    element = np.ones((3, 3), np.uint8)
    inside = cv2.subtract(cv2.dilate(small, element), cv2.erode(small, element)) > 0
    sums = []
    for edges in (memory_edges, frame_edges):
        on_contour = np.where(inside, np.maximum(edges - FLOOR, 0), np.float32(0))
        sums.append(cv2.blur(on_contour, (WINDOW, WINDOW)) + np.float32(0.01))
    share = sums[0] / (sums[0] + sums[1])
    return cv2.resize(share, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
