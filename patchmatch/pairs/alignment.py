"""Whether two images are aligned by a homography, measured on the images themselves."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.sampling import warp_by_homography
from patchmatch.pairs.overlap import crop_overlap

MIN_ALIGNED = 0.35  # share of aligned cells, see docs/benchmarks.md
SIDE = 320  # pixels to which the longer side of the overlap is downscaled
CELL = 16  # pixels: side of a cell
SEARCH, NEAR = 8, 2  # pixels: displacements that are tried, and those that count as aligned
MIN_CORRELATION = 0.3
MIN_STD = 0.01  # of the pixels of a cell, in [0, 1]: flatter cells are ignored
STD_FLOOR = 0.05  # added in quadrature after contrast normalisation, whose floor is
CONTRAST_FLOOR = 0.02
COVERED = 0.99  # coverage of a warped pixel that lies inside image 1


@dataclass(frozen=True)
class Alignment:
    """Number of cells with texture in the overlap of two images, and of those that are aligned."""

    aligned: int = 0
    textured: int = 0

    @property
    def fraction(self) -> float | None:
        """Share of the cells that are aligned; None without cells."""
        return self.aligned / self.textured if self.textured else None


def aligned_fraction(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    valid0: Bool[Tensor, "1 H W"] | None = None,
    valid1: Bool[Tensor, "1 H1 W1"] | None = None,
) -> float | None:
    """Return the share of cells of the overlap in which a homography aligns two images.

    See ``count_aligned_cells``; None without cells that have texture in both images.
    """
    return count_aligned_cells(image0, image1, homography, valid0, valid1).fraction


def count_aligned_cells(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    valid0: Bool[Tensor, "1 H W"] | None = None,
    valid1: Bool[Tensor, "1 H1 W1"] | None = None,
) -> Alignment:
    """Return in how many cells of the overlap a homography aligns two images.

    Image 1 is warped onto image 0, and both are divided into cells. A cell is aligned if the
    normalised correlation of the two images is higher within two pixels of the homography than at
    all larger displacements up to eight pixels. Unrelated images, and images with a repeating
    texture that fits several displacements as well, have few aligned cells.

    Args:
        image0: Gray, in [0, 1].
        image1: Gray, in [0, 1].
        homography: Maps points of image 0 to image 1.
        valid0: Pixels of image 0 that count; None for all.
        valid1: The same for image 1.
    """
    overlap = crop_overlap(image0, image1, homography, SIDE, valid0, valid1)
    if overlap is None:
        return Alignment()
    overlap0, inside0 = overlap.image0.split(1, dim=1)
    size, matrix = overlap0.shape[-2:], overlap.homography[None]
    warped, coverage = warp_by_homography(overlap.image1, matrix, *size)
    overlap1, inside1 = warped.split(1, dim=1)
    covered = torch.cat([coverage, inside1, inside0], dim=1).amin(dim=1, keepdim=True) > COVERED
    inside = covered.to(warped)
    window = CELL + 2 * SEARCH
    if min(size) < window:
        return Alignment()
    textured = F.unfold(inside, window, stride=CELL)[0].amin(dim=0) > 0  # (N,)
    for image in (overlap0, overlap1):
        textured = textured & (_cells(image).std(dim=1) > MIN_STD)
    if not textured.any():
        return Alignment()
    overlap0, overlap1 = (normalize_contrast(i, CONTRAST_FLOOR) for i in (overlap0, overlap1))
    cells = _cells(overlap0)[textured]  # (N, CELL CELL)
    windows = F.unfold(overlap1, window, stride=CELL)[0].T[textured]
    correlation = _correlation(cells.unflatten(1, (CELL, CELL)), windows.unflatten(1, (window, -1)))
    near = correlation[:, SEARCH - NEAR :, SEARCH - NEAR :][:, : 2 * NEAR + 1, : 2 * NEAR + 1]
    outside = torch.ones_like(correlation[0], dtype=torch.bool)
    outside[SEARCH - NEAR - 1 : SEARCH + NEAR + 2, SEARCH - NEAR - 1 : SEARCH + NEAR + 2] = False
    best = near.amax(dim=(1, 2))
    aligned = (best > correlation[:, outside].amax(dim=1)) & (best > MIN_CORRELATION)
    return Alignment(int(aligned.sum()), int(textured.sum()))


def _cells(image: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "N P"]:
    """Return the cells whose windows of displacements lie inside the image, row by row."""
    inner = image[..., SEARCH:-SEARCH, SEARCH:-SEARCH]
    return F.unfold(inner, CELL, stride=CELL)[0].T


def _correlation(
    cells: Float[Tensor, "N C C"], windows: Float[Tensor, "N S S"]
) -> Float[Tensor, "N D D"]:
    """Return the normalised correlation of each cell at all displacements in its window."""
    cells = cells - cells.mean(dim=(1, 2), keepdim=True)
    covariance = F.conv2d(windows[None], cells[:, None], groups=len(cells))[0] / CELL**2
    mean, square = (F.avg_pool2d(values[None], CELL, 1)[0] for values in (windows, windows**2))
    variance0 = cells.square().mean(dim=(1, 2))[:, None, None] + STD_FLOOR**2
    variance1 = (square - mean**2).clamp_min(0) + STD_FLOOR**2
    return covariance / (variance0 * variance1).sqrt()
