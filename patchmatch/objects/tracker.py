"""Things followed from frame to frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from patchmatch.objects.carried_memory import carry_planes
from patchmatch.objects.displacement import displacement
from patchmatch.objects.memory import Planes
from patchmatch.objects.pieces import (
    MIN_PART,
    Piece,
    bounding_box,
    divide_at_neck,
    divide_regions,
)
from patchmatch.objects.segmentation import Segmentation
from patchmatch.objects.tracks import YOUNG, Track

ACTIVE = 2  # frames without being seen after which a track no longer claims what it expects
MIN_SEEN = 0.15  # of its usual area: with less, a thing is hidden
SPLIT_FRAMES = 3  # for which a part must be apart from the rest
MAX_OVERLAP = 0.3  # of its width: a part that overlaps the rest less is beside it
MIN_STACK_GAP = 0.35  # of its height: a part above or below must be so far from the rest
APART = 3  # frames alone after which a thing that touches another one is not a part of it
SMALL_PART = 0.4  # of the area of a thing, up to which another one at its side is a part of it
MIN_STEP = 1.0  # pixels per frame of a thing that surely moves
MAX_REST = 0.8  # share of the pixels of its parts that may be at rest; else it left them behind
POINTS = 256  # of a thing that are matched between frames
RADIUS, RADIUS_SHARE, FIRST_RADIUS = 4, 0.5, 10  # pixels, of the velocity; of a new track
MAX_JUMP = 1.2  # half diagonals and pixels per frame that a thing may have moved while hidden
MAX_GROWTH = 1.0  # logarithm of the ratio of the sides of a thing before and after being hidden


class Tracker:
    """Links the regions of every frame with those before.

    Args:
        min_area: Pixels of the smallest thing.
        max_missed: Frames for which a hidden thing is remembered.

    Attributes:
        tracks: The things, hidden ones included.
        labels: (H, W) int32: the number of the track at each pixel, 0 for none.
    """

    def __init__(self, min_area: int, max_missed: int) -> None:
        self.min_area, self.max_missed = min_area, max_missed
        self.tracks: list[Track] = []
        self.labels = np.zeros((0, 0), np.int32)
        self._count = 0
        self._before: Planes | None = None
        self._random = np.random.default_rng(0)

    def restart(self) -> None:
        """End all tracks; numbers go on."""
        self.tracks, self._before = [], None

    def __call__(
        self, frame: Segmentation, camera: NDArray[np.float64] | None = None
    ) -> list[Track]:
        """Return the tracks that are seen in the next frame.

        Args:
            frame: The pixels of things in it.
            camera: (3, 3), takes points of the frame before to this one; None if it stands still.
        """
        self._match(frame.planes, camera)
        active = [track for track in self.tracks if track.missed <= ACTIVE]
        given, new = divide_regions(frame.mask, active, self.min_area)
        self.labels = np.zeros(frame.mask.shape, np.int32)
        self._apart: set[int] = set()  # identities of pieces that were split off
        for track in self.tracks:
            pieces = given.get(track.number, [])
            enough = max(self.min_area // 4, MIN_SEEN * track.area)
            if sum(map(len, pieces)) >= enough:
                self._see(track, self._split(track, pieces, new), frame)
            else:
                track.miss()
        self._absorb(given)
        self._begin([piece for piece in new if len(piece) >= self.min_area], frame)
        self.tracks = [track for track in self.tracks if self._goes_on(track, frame.mask.shape)]
        return [track for track in self.tracks if not track.missed]

    def _match(self, planes: Planes, camera: NDArray[np.float64] | None) -> None:
        """Find the displacement of each thing since the frame before."""
        before, self._before = self._before, planes
        if camera is not None:
            for track in self.tracks:
                track.carry(camera)
            if before is not None:
                before = carry_planes(before, camera)
        for track in self.tracks:
            track.motion = None
            if before is not None and track.points is not None and not track.missed:
                speed = float(np.abs(track.velocity).max())
                radius = int(RADIUS + RADIUS_SHARE * speed) if track.hits > 2 else FIRST_RADIUS
                radius = min(radius, 2 * FIRST_RADIUS)
                track.motion = displacement(before, planes, track.points, track.velocity, radius)

    def _see(self, track: Track, pieces: Sequence[Piece], frame: Segmentation) -> None:
        largest, box = max(map(len, pieces)), track.expected
        moves = float(np.hypot(*track.step)) > MIN_STEP
        kept = []
        for piece in pieces:
            if len(piece) < MIN_PART * largest:
                # It would stretch the box, if it is outside or was left behind.
                rests = moves and frame.rests[piece.y, piece.x].mean() > MAX_REST
                if rests or not _is_inside(piece, box):
                    self.labels[piece.y, piece.x] = track.number
                    continue
            kept.append(piece)
        pieces = kept
        free = None
        if any(piece.sharers for piece in pieces):
            boxes = np.stack([piece.box for piece in pieces])
            extreme = [*boxes[:, :2].argmin(axis=0), *boxes[:, 2:].argmax(axis=0)]
            free = np.array([pieces[which].free[side] for side, which in enumerate(extreme)])
        track.see(bounding_box(pieces), sum(map(len, pieces)), frame.mask.shape, free)
        self._sample(track, pieces, frame)

    def _sample(self, track: Track, pieces: Sequence[Piece], frame: Segmentation) -> None:
        x = np.concatenate([piece.x for piece in pieces])
        y = np.concatenate([piece.y for piece in pieces])
        self.labels[y, x] = track.number
        track.strength, track.visible = float(frame.strength[y, x].mean()), len(x)
        if len(x) > POINTS:
            chosen = self._random.choice(len(x), POINTS, replace=False)
            x, y = x[chosen], y[chosen]
        track.points = np.stack([x, y], axis=1)

    def _split(self, track: Track, pieces: list[Piece], new: list[Piece]) -> list[Piece]:
        """Return the pieces of a track, without a part that has been apart for some frames."""
        parts = pieces
        if len(pieces) == 1 and not pieces[0].sharers and len(pieces[0]) > 4 * self.min_area:
            parts = divide_at_neck(pieces[0])
        parts = sorted(parts, key=len, reverse=True)
        total = sum(map(len, parts))
        apart = len(parts) > 1 and len(parts[1]) >= max(MIN_PART * total, self.min_area)
        if apart and len(pieces) > 1:
            gap, sides = _gap(parts[0], parts[1])
            apart = gap[0] > -MAX_OVERLAP * sides[0] or gap[1] > MIN_STACK_GAP * sides[1]
        track.parted = track.parted + 1 if apart else max(0, track.parted - 1)
        if track.parted < SPLIT_FRAMES:
            return pieces
        self._apart.add(id(parts[1]))
        new.append(parts[1])
        track.parted, track.hits = 0, min(track.hits, YOUNG - 1)  # its box follows at once
        track.alone = max(track.alone, APART)
        return [part for part in parts if part is not parts[1]]

    def _absorb(self, given: dict[int, list[Piece]]) -> None:
        """End tracks that are parts of others: small, new or entering, never alone for long."""
        tracks = {track.number: track for track in self.tracks}
        for track in sorted(self.tracks, key=lambda track: track.hits):
            numbers = {n for piece in given.get(track.number, ()) for n in piece.sharers}
            others = [tracks[n] for n in numbers - {track.number} if n in tracks]
            others = [other for other in others if not other.missed]
            if track.missed or not others:
                continue
            whole = max(others, key=lambda other: other.area)
            is_small = track.area < SMALL_PART * whole.area
            is_part = is_small and bool(
                ((track.center > whole.box[:2]) & (track.center < whole.box[2:])).all()
            )
            track.inside = track.inside + 1 if is_part else 0
            both_enter = track.enters and whole.enters  # the frame has shown parts of one thing
            if (
                not both_enter
                and track.inside < APART
                and (
                    track.alone >= APART
                    or whole.hits < track.hits
                    or (whole.hits >= YOUNG and not is_small)
                )
            ):
                continue
            del tracks[track.number]
            self.labels[self.labels == track.number] = whole.number
            if both_enter or whole.hits < YOUNG:
                low = np.minimum(whole.box[:2], track.box[:2])
                high = np.maximum(whole.box[2:], track.box[2:])
                whole.box, whole.area = np.concatenate([low, high]), whole.area + track.area
        self.tracks = list(tracks.values())

    def _begin(self, new: list[Piece], frame: Segmentation) -> None:
        """Find hidden things again in new regions, and begin tracks with the others."""
        lost = [track for track in self.tracks if track.missed]
        found: dict[int, Track] = {}
        if lost and new:
            cost = np.array([[_change(track, piece) for piece in new] for track in lost])
            rows, columns = linear_sum_assignment(np.minimum(cost, 1e6))
            for row, column in zip(rows, columns, strict=True):
                if np.isfinite(cost[row, column]):
                    found[int(column)] = lost[row]
        for index, piece in enumerate(new):
            track = found.get(index)
            if track is None:
                self._count += 1
                track = Track(self._count, piece.box, len(piece))
                track.alone = APART if id(piece) in self._apart else 0
                track.touch_border(frame.mask.shape)
                self.tracks.append(track)
            else:
                track.box, track.motion, track.missed = piece.box, None, 0
                track.velocity = track.velocity / 2
                track.hits = max(track.hits, YOUNG + 1)
            self._sample(track, [piece], frame)

    def _goes_on(self, track: Track, shape: tuple[int, ...]) -> bool:
        if track.missed > (self.max_missed if track.hits > YOUNG and track.moved else 1):
            return False
        x0, y0, x1, y1 = track.box
        return x1 > 2 and y1 > 2 and x0 < shape[1] - 2 and y0 < shape[0] - 2


def _is_inside(piece: Piece, box: NDArray[np.float64]) -> bool:
    center = (piece.box[:2] + piece.box[2:]) / 2
    return bool(((center > box[:2]) & (center < box[2:])).all())


def _gap(first: Piece, second: Piece) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gap between two boxes in x and y, negative if they overlap; the shorter sides."""
    box0, box1 = first.box, second.box
    gap = np.maximum(box0[:2], box1[:2]) - np.minimum(box0[2:], box1[2:])
    return gap, np.minimum(box0[2:] - box0[:2], box1[2:] - box1[:2])


def _change(track: Track, piece: Piece) -> float:
    """Return how unlikely a region is a thing that was hidden; infinite if it cannot be."""
    box = piece.box
    jump = float(np.hypot(*((box[:2] + box[2:]) / 2 - track.center)))
    jump /= float(np.hypot(*track.size)) / 2 + 1.5 * track.missed
    growth = float(np.abs(np.log((box[2:] - box[:2]) / track.size)).max())
    return jump + growth / 2 if jump < MAX_JUMP and growth < MAX_GROWTH else np.inf
