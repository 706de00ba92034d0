"""Regions of a mask divided among the tracks that they may belong to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.memory import Mask
from patchmatch.objects.regions import label_regions
from patchmatch.objects.tracks import Box, Track

NEAR, NEAR_PIXELS = 1.35, 6.0  # half sides of the expected box, and pixels: what may belong to it
MIN_INSIDE = 0.1  # share of a region, or of a thing, that must lie in the expected box
MIN_PART = 0.25  # share of a region that may be another thing
NECK = 0.5  # of the largest thickness: a thinner neck divides a region
MIN_NECK_PART = 0.3  # smaller thick part over the larger one, if a neck divides them


@dataclass
class Piece:
    """Pixels of one region that belong to the same thing.

    Attributes:
        x: (N,) columns.
        y: (N,) rows.
        sharers: Numbers of the tracks that share the region; empty if it is of one.
        free: Which sides of the box (x0, y0, x1, y1) are sides of the region as well.
    """

    x: NDArray[np.intp]
    y: NDArray[np.intp]
    sharers: tuple[int, ...] = ()
    free: NDArray[np.bool_] = field(default_factory=lambda: np.ones(4, bool))

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def box(self) -> Box:
        """Its box, (4,) xyxy, half-open."""
        return np.array(
            [self.x.min(), self.y.min(), self.x.max() + 1, self.y.max() + 1], np.float64
        )


def bounding_box(pieces: Sequence[Piece]) -> Box:
    """Return the box around several pieces."""
    boxes = np.stack([piece.box for piece in pieces])
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def divide_regions(
    mask: Mask, tracks: Sequence[Track], min_area: int
) -> tuple[dict[int, list[Piece]], list[Piece]]:
    """Divide the connected regions of a mask among tracks.

    A pixel belongs to the track whose expected box it is in, or nearest to, measured in half sides
    of the box. What is too far from all of them is new.

    Args:
        mask: (H, W), 255 where something moves.
        tracks: The tracks, with their expected boxes.
        min_area: Pixels of the smallest new thing.

    Returns:
        The pieces of each track, by its number; and the pieces that belong to none.
    """
    labels, stats = label_regions(mask)
    given: dict[int, list[Piece]] = {}
    new: list[Piece] = []
    for label in range(1, len(stats)):
        x0, y0, width, height, area = stats[label]
        if area < min_area // 4:
            continue
        y, x = np.nonzero(labels[y0 : y0 + height, x0 : x0 + width] == label)
        _divide(Piece(x + x0, y + y0), tracks, min_area, given, new)
    return given, new


def _divide(
    region: Piece,
    tracks: Sequence[Track],
    min_area: int,
    given: dict[int, list[Piece]],
    new: list[Piece],
) -> None:
    near = [(t, d) for t in tracks if (d := _distance(region, t)) is not None]
    if not near:
        new.append(region)
        return
    distances = np.stack([d for _, d in near])
    owner, outside = distances.argmin(axis=0), distances.min(axis=0) > NEAR
    if len(near) == 1 and (outside.mean() < MIN_PART or near[0][0].hits <= 2):
        outside[:] = False
    is_shared = len(near) > 1 or bool(outside.any())
    sharers = tuple(t.number for t, _ in near) if is_shared else ()
    for index, (track, _) in enumerate(near):
        mine = (owner == index) & ~outside
        if mine.any():
            piece = Piece(region.x[mine], region.y[mine], sharers)
            if is_shared:
                piece.free = np.abs(piece.box - region.box) <= 1
            given.setdefault(track.number, []).append(piece)
    if outside.sum() >= min_area:
        rest = Piece(region.x[outside], region.y[outside], sharers)
        new += [part for part in connected_pieces(rest) if len(part) >= min_area]


def _distance(region: Piece, track: Track) -> NDArray[np.float64] | None:
    """Return the distance of every pixel from an expected box in half sides; None if far."""
    box = track.expected
    half = np.maximum((box[2:] - box[:2]) / 2, 1)
    center = (box[:2] + box[2:]) / 2
    low, high = region.box[:2], region.box[2:]
    if (low > center + NEAR * half).any() or (high < center - NEAR * half).any():
        return None
    from_x, from_y = np.abs(region.x - center[0]) / half[0], np.abs(region.y - center[1]) / half[1]
    extra = NEAR_PIXELS / half
    distance = np.maximum(from_x - extra[0], from_y - extra[1])
    inside = int((np.maximum(from_x, from_y) < 1).sum())
    is_near = inside >= MIN_INSIDE * min(len(region), max(track.area, 1))
    is_near |= float((distance < NEAR - extra.max()).mean()) > 0.5
    return distance if is_near else None


def connected_pieces(piece: Piece) -> list[Piece]:
    """Return the connected parts of a piece."""
    image, x0, y0 = _image(piece)
    labels, stats = label_regions(image)
    at = labels[piece.y - y0, piece.x - x0]
    return [Piece(piece.x[at == k], piece.y[at == k], piece.sharers) for k in range(1, len(stats))]


def divide_at_neck(piece: Piece) -> list[Piece]:
    """Return two pieces if two thick parts are connected by a thin neck, else the piece itself."""
    image, x0, y0 = _image(piece)
    thickness = cv2.distanceTransform(image, cv2.DIST_L2, 3)
    thick = (thickness > NECK * thickness.max()).astype(np.uint8)
    labels, stats = label_regions(thick)
    if len(stats) <= 2:
        return [piece]
    first, second = (np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:2] + 1).tolist()
    areas = stats[:, cv2.CC_STAT_AREA]
    if areas[second] < MIN_NECK_PART * areas[first]:
        return [piece]
    away = [
        cv2.distanceTransform((labels != k).astype(np.uint8), cv2.DIST_L2, 3)
        for k in (first, second)
    ]
    nearer = (away[0] <= away[1])[piece.y - y0, piece.x - x0]
    return [Piece(piece.x[side], piece.y[side], piece.sharers) for side in (nearer, ~nearer)]


def _image(piece: Piece) -> tuple[Mask, int, int]:
    """Return a mask of a piece with a margin of one pixel, and x and y of its corner."""
    x0, y0, x1, y1 = piece.box.astype(int).tolist()
    image = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.uint8)
    image[piece.y - y0 + 1, piece.x - x0 + 1] = 255
    return image, x0 - 1, y0 - 1
