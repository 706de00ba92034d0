"""Whether two images are aligned by a homography, measured on the images themselves."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.homography import resize_homography, warp_points
from patchmatch.ops.sampling import warp_by_homography

MIN_ALIGNED = 0.35  # share of aligned cells, see docs/benchmarks.md
SIDE = 320  # pixels to which the longer side of the overlap is downscaled
CELL = 16  # pixels: side of a cell
SEARCH, NEAR = 8, 2  # pixels: displacements that are tried, and those that count as aligned
MIN_CORRELATION = 0.3
MIN_STD = 0.01  # of the pixels of a cell, in [0, 1]: flatter cells are ignored
STD_FLOOR = 0.05  # added in quadrature after contrast normalisation, whose floor is
CONTRAST_FLOOR = 0.02
COVERED = 0.99  # coverage of a warped pixel that lies inside image 1
LATTICE = 33  # points along each side of image 0 that locate the overlap


def aligned_fraction(
    image0: Float[Tensor, "1 1 H W"],
    image1: Float[Tensor, "1 1 H1 W1"],
    homography: Float[Tensor, "3 3"],
    valid0: Bool[Tensor, "1 H W"] | None = None,
    valid1: Bool[Tensor, "1 H1 W1"] | None = None,
) -> float | None:
    """Return the share of cells of the overlap in which a homography aligns two images.

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

    Returns:
        The share in [0, 1] of the cells with texture in both images; None without such cells.
    """
    grids = _overlap(_with_mask(image0, valid0), _with_mask(image1, valid1), homography)
    if grids is None:
        return None
    overlap0, overlap1, inside = grids
    window = CELL + 2 * SEARCH
    if min(overlap0.shape[-2:]) < window:
        return None
    textured = F.unfold(inside, window, stride=CELL)[0].amin(dim=0) > 0  # (N,)
    for image in (overlap0, overlap1):
        textured = textured & (_cells(image).std(dim=1) > MIN_STD)
    if not textured.any():
        return None
    overlap0, overlap1 = (normalize_contrast(i, CONTRAST_FLOOR) for i in (overlap0, overlap1))
    cells = _cells(overlap0)[textured]  # (N, CELL CELL)
    windows = F.unfold(overlap1, window, stride=CELL)[0].T[textured]
    correlation = _correlation(cells.unflatten(1, (CELL, CELL)), windows.unflatten(1, (window, -1)))
    near = correlation[:, SEARCH - NEAR :, SEARCH - NEAR :][:, : 2 * NEAR + 1, : 2 * NEAR + 1]
    outside = torch.ones_like(correlation[0], dtype=torch.bool)
    outside[SEARCH - NEAR - 1 : SEARCH + NEAR + 2, SEARCH - NEAR - 1 : SEARCH + NEAR + 2] = False
    best = near.amax(dim=(1, 2))
    aligned = (best > correlation[:, outside].amax(dim=1)) & (best > MIN_CORRELATION)
    return float(aligned.float().mean())


def _with_mask(image: Tensor, valid: Tensor | None) -> Float[Tensor, "1 2 H W"]:
    """Return an image and its mask as two channels."""
    mask = torch.ones_like(image) if valid is None else valid[:, None].to(image)
    return torch.cat([image, mask], dim=1)


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


def _overlap(
    image0: Float[Tensor, "1 2 H W"],
    image1: Float[Tensor, "1 2 H1 W1"],
    homography: Float[Tensor, "3 3"],
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return image 0, the warped image 1 and the valid pixels in the box of the overlap.

    All are (1, 1, h, w), at the resolution of the coarser image in the overlap and at most
    ``SIDE`` pixels a side. Returns None without overlap.
    """
    size0, size1 = _size(image0), _size(image1)
    homography = homography.double().cpu()
    y, x = (torch.linspace(0, side - 1, LATTICE, dtype=torch.float64) for side in size0)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
    points1, last = warp_points(homography, points), homography.new_tensor([size1[1], size1[0]])
    depth = points @ homography[2, :2] + homography[2, 2]
    inside = ((points1 >= -0.5) & (points1 <= last - 0.5)).all(dim=1)
    inside &= depth * depth.median() > 0  # points beyond infinity appear mirrored
    if not inside.any():
        return None
    low, high = points[inside].amin(dim=0), points[inside].amax(dim=0)
    magnification = (homography.det() / depth[inside] ** 3).abs().sqrt().median().item()
    if not 0 < magnification < math.inf:
        return None
    scale0 = min(1.0, SIDE / float((high - low).amax() + 1), magnification)
    small0, small1 = _scaled(image0, scale0), _scaled(image1, min(1.0, scale0 / magnification))
    to_small0 = resize_homography(size0, _size(small0))
    to_small1 = resize_homography(size1, _size(small1))
    corners = warp_points(to_small0, torch.stack([low, high]))
    left, top = corners[0].floor().clamp_min(0).int().tolist()
    right, bottom = (corners[1].ceil() + 1).int().tolist()
    overlap0 = small0[..., top:bottom, left:right]
    to_overlap = homography.new_tensor([[1, 0, left], [0, 1, top], [0, 0, 1]])
    matrix = to_small1 @ homography @ to_small0.inverse() @ to_overlap
    warped, coverage = warp_by_homography(small1, matrix[None], *overlap0.shape[-2:])
    valid = torch.cat([coverage, warped[:, 1:], overlap0[:, 1:]], dim=1).amin(dim=1, keepdim=True)
    return overlap0[:, :1], warped[:, :1], (valid > COVERED).to(warped)


def _scaled(image: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
