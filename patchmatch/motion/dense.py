"""Flow of every pixel from the motion of blocks.

1. **Choice.** Every pixel chooses among the displacements of its block and the four beside it, and
   their bilinear interpolation, by the difference of the frames. The differences of each candidate
   are averaged along the edges of frame 0 by a guided filter, so that the outlines of the flow
   follow those of the image: cost-volume filtering (Hosni et al., PAMI 2013), with the fast
   guided filter (He and Sun, 2015). A median filter removes single pixels.
2. **Refinement.** A variational method with robust data and smoothness terms (Brox et al., ECCV
   2004), as implemented in OpenCV, refines the flow to subpixel precision.

Both compare images of local contrast normalisation, so that gain and offset have no effect. The
choice runs in bands and the refinement in strips of rows: memory grows with the area of the
frame only by the results and a few images.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.core.process import in_threads, threads_for_compiled_loops

BLOCK = 16  # pixels: side of the blocks
RADIUS = 4  # pixels: radius of the guided filter, even because it runs at half resolution
EDGE_VARIANCE = 1e-3  # of gray levels in [0, 1]: edges of more contrast are kept
LEVELS = 40.0  # gray levels per local standard deviation, of the images that are compared
CLIP = np.uint8(40)  # gray levels: larger differences count no more
MEDIAN = 5  # pixels: side of the median filter
ITERATIONS = 4  # of the refinement
BAND = 256  # rows of a band, a multiple of the block
MARGIN = 16  # rows around a band that the filters reach, a multiple of the block
STRIP_PIXELS = 2**20  # of a strip of the refinement
OVERLAP = 32  # rows around a strip whose refinement is discarded
_NEIGHBOURS = (1, 1), (0, 1), (1, 0), (1, 2), (2, 1)  # row and column of a block in 3x3 blocks

Task = Callable[[slice], None]


class FramePair(NamedTuple):
    """Two frames as they are compared, and the motion of their blocks.

    Attributes:
        image0: (H, W) uint8, frame 0 with local contrast normalisation.
        image1: (H, W) uint8, frame 1 likewise.
        guide: (H, W) float32, frame 0 in [0, 1].
        blocks: (R, C, 2) float32, displacement of every whole block of ``BLOCK`` pixels.
    """

    image0: np.ndarray
    image1: np.ndarray
    guide: np.ndarray
    blocks: np.ndarray


def to_levels(normalised: np.ndarray) -> np.ndarray:
    """Return an image of local contrast normalisation, (H, W), in gray levels of uint8."""
    return cv2.convertScaleAbs(np.clip(normalised * LEVELS + 128, 0, 255))


def dense_flow(pair: FramePair) -> np.ndarray:
    """Return the flow of every pixel from frame 0 to frame 1, (H, W, 2) float32.

    Args:
        pair: The frames, of at least one block, and the motion of their blocks.
    """
    height, width = pair.image0.shape
    flow = np.empty((height, width, 2), np.float32)
    padded = pair._replace(image0=_pad(pair.image0), guide=_pad(pair.guide))
    blocks = pad_grid(pair.blocks, *padded.image0.shape)

    def choose(rows: slice) -> None:
        around = slice(max(rows.start - MARGIN, 0), min(rows.stop + MARGIN, len(padded.image0)))
        chosen = _choose(padded, blocks, around)
        chosen = cv2.medianBlur(chosen, MEDIAN)[rows.start - around.start :]
        flow[rows] = chosen[: rows.stop - rows.start, :width]

    for_bands(choose, height)
    return _refine(pair, flow)


def for_bands(task: Task, height: int) -> None:
    """Call ``task`` with the rows of each band, in the threads of compiled loops."""
    bands = [slice(top, min(top + BAND, height)) for top in range(0, height, BAND)]
    with threads_for_compiled_loops():  # also where the network runs on a GPU
        in_threads(task, bands)


def pad_grid(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Extend values of blocks (R, C, N) over a frame, and by one block around it.

    Args:
        values: Value of every whole block.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
    """
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    below, right = rows + 1 - values.shape[0], columns + 1 - values.shape[1]
    return np.pad(values, ((1, below), (1, right), (0, 0)), "edge")


def interpolate_grid(values: np.ndarray) -> np.ndarray:
    """Interpolate padded values of blocks, as from ``pad_grid``, between the block centres."""
    width, height = values.shape[1] * BLOCK, values.shape[0] * BLOCK
    return cv2.resize(values, (width, height))[BLOCK:-BLOCK, BLOCK:-BLOCK]


def warp(image1: np.ndarray, flow: np.ndarray, top: int = 0) -> np.ndarray:
    """Resample frame 1 at the targets of a flow of the rows from ``top``, (h, W) uint8."""
    x = np.arange(flow.shape[1], dtype=np.float32)
    y = np.arange(top, top + len(flow), dtype=np.float32)
    return cv2.remap(
        image1, flow[..., 0] + x, flow[..., 1] + y[:, None],
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


class GuidedFilter:
    """Filter that averages along the edges of a guide, with coefficients at half resolution.

    Args:
        guide: (h, w) float32 with even sides.
    """

    def __init__(self, guide: np.ndarray) -> None:
        self.guide = guide
        self.half = _halve(guide)
        self.mean = _box(self.half)
        variance = _box(cv2.multiply(self.half, self.half)) - self.mean * self.mean
        self.weight = 1 / (variance.clip(0) + EDGE_VARIANCE)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the average of values (h, w) uint8, (h, w) float32."""
        half = _halve(values).astype(np.float32)
        mean = _box(half)
        slope = _box(cv2.multiply(self.half, half)) - cv2.multiply(self.mean, mean)
        slope = cv2.multiply(slope, self.weight)
        offset = mean - cv2.multiply(slope, self.mean)
        size = self.guide.shape[::-1]
        slope, offset = (cv2.resize(_box(part), size) for part in (slope, offset))
        return cv2.add(cv2.multiply(slope, self.guide), offset)


def residual(pair: FramePair, flow: np.ndarray, rows: slice) -> np.ndarray:
    """Return the filtered difference of the frames by a flow (H, W, 2), in gray levels.

    Args:
        pair: The frames.
        flow: The flow of all pixels.
        rows: The rows of a band to return, (h, W).
    """
    height, width = flow.shape[:2]
    around = slice(max(rows.start - MARGIN, 0), min(rows.stop + MARGIN, height))
    difference = cv2.absdiff(warp(pair.image1, flow[around], around.start), pair.image0[around])
    difference = _pad(np.minimum(difference, CLIP))
    filtered = GuidedFilter(_pad(pair.guide[around]))(difference)[rows.start - around.start :]
    return filtered[: rows.stop - rows.start, :width]


def _choose(padded: FramePair, blocks: np.ndarray, rows: slice) -> np.ndarray:
    """Return the flow of some rows, chosen among the motion of the blocks, (h, W, 2)."""
    image0, filtered = padded.image0[rows], GuidedFilter(padded.guide[rows])
    chosen = np.zeros((*image0.shape, 2), np.float32)
    lowest = np.full(image0.shape, np.inf, np.float32)
    for candidate in _candidates(blocks[rows.start // BLOCK : rows.stop // BLOCK + 2]):
        difference = cv2.absdiff(warp(padded.image1, candidate, rows.start), image0)
        cost = filtered(np.minimum(difference, CLIP))
        cv2.copyTo(candidate, cv2.compare(cost, lowest, cv2.CMP_LT), chosen)
        lowest = cv2.min(cost, lowest)
    return chosen


def _candidates(blocks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the candidates of the pixels of (R, C) blocks, from (R + 2, C + 2, 2) blocks."""
    yield interpolate_grid(blocks)
    height, width = ((side - 2) * BLOCK for side in blocks.shape[:2])
    constant = cv2.resize(
        blocks, (width + 2 * BLOCK, height + 2 * BLOCK), interpolation=cv2.INTER_NEAREST
    )
    for row, column in _NEIGHBOURS:
        y, x = row * BLOCK, column * BLOCK
        yield constant[y : y + height, x : x + width]


def _refine(pair: FramePair, flow: np.ndarray) -> np.ndarray:
    """Return the flow after variational refinement in strips of rows, (H, W, 2)."""
    height, width = flow.shape[:2]
    refined = np.empty_like(flow)
    variational = cv2.VariationalRefinement.create()
    variational.setFixedPointIterations(ITERATIONS)
    step = max(2 * OVERLAP, STRIP_PIXELS // width // 2 * 2)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        # The strip of frame 1 must contain the targets of all rows whose refinement is used.
        # It begins at an even row, because the solver updates a chessboard of pixels.
        reach = OVERLAP + 2 * math.ceil(np.abs(flow[top:bottom, :, 1]).max() / 2)
        around = slice(max(top - reach, 0), min(bottom + reach, height))
        strip = flow[around].copy()  # OpenCV changes it in place
        strip = variational.calc(pair.image0[around], pair.image1[around], strip)
        refined[top:bottom] = strip[top - around.start : bottom - around.start]
    return refined


def _pad(image: np.ndarray) -> np.ndarray:
    """Extend an image to multiples of ``BLOCK`` by its last row and column."""
    below, right = (-side % BLOCK for side in image.shape)
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)


def _halve(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _box(image: np.ndarray) -> np.ndarray:
    return cv2.blur(image, (RADIUS + 1, RADIUS + 1))
