"""Sparse matches from nearest-neighbour fields that are consistent in both directions."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.nnf.search import nearest_neighbours
from patchmatch.nnf.voting import consistent
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.results import Correspondences

NEIGHBOURHOOD = 9  # side in pixels of the square in which the flow should be smooth
SMOOTHNESS = 1.0  # pixels by which the flow of a neighbour may differ, in x and in y
MIN_CONTRAST = 4 / 255  # range of values in a patch; noise of 8-bit images stays below


class FieldMatcher(DetectorFreeMatcher):
    """Matches from nearest-neighbour fields (Barnes et al. 2009), for images of similar scale.

    Fields are searched in both directions, and pixels whose match leads back to them are kept. The
    score is the share of neighbours with the same flow; in each grid cell the pixel with the best
    score becomes a match. Images must have similar scale and orientation, such as video frames and
    stereo pairs.

    Args:
        patch_size: Side of a patch in pixels.
        preset: Accuracy of the search: fast, balanced or accurate.
        tolerance: Largest forward-backward error in pixels.
        cell: Side in pixels of the grid cells, each of which gives at most one match.
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size.
        min_score: Matches with a lower score are discarded.
        tile: Side in pixels of the tiles in which large pairs are matched; null matches any pair
            at once.
        options: Options of ``PairMatcher``.
    """

    predict_config = "config_match_field.yaml"

    def __init__(
        self,
        patch_size: int = 11,
        preset: str = "fast",
        tolerance: float = 1.0,
        cell: int = 4,
        max_size: int | None = 480,
        min_score: float = 0.5,
        tile: int | None = 640,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, min_score=min_score, tile=tile, **options)
        if not 3 <= patch_size <= 15:
            raise ValueError(f"patch_size must be from 3 to 15 pixels, got {patch_size}")
        if preset not in ("fast", "balanced", "accurate"):
            raise ValueError(f"preset must be fast, balanced or accurate, got {preset}")
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
        if cell < 1:
            raise ValueError(f"cell must be at least 1 pixel, got {cell}")
        self.patch_size, self.preset = patch_size, preset
        self.tolerance, self.cell = tolerance, cell

    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Search in both directions, and return the best consistent pixel of each grid cell."""
        normalized0, normalized1 = normalize_contrast(image0), normalize_contrast(image1)
        flow01, found01 = self._search(normalized0, normalized1, valid0, valid1)
        flow10, found10 = self._search(normalized1, normalized0, valid1, valid0)
        reliable = found01 & consistent(flow01, flow10, self.tolerance, found10)
        if valid0 is not None:
            reliable &= valid0
        reliable &= _textured(image0, self.patch_size)  # all blank patches look alike
        score = flow_smoothness(flow01.float(), reliable)
        y, x = _best_of_cells(score[0], reliable[0], self.cell).unbind(dim=1)
        points0 = torch.stack([x, y], dim=1).float()
        points1 = points0 + flow01[0, :, y, x].T.float()
        return Correspondences(points0=points0, points1=points1, score=score[0, y, x])

    def _search(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the flow (1, 2, H, W) and which pixels have a match (1, H, W)."""
        options = {"preset": self.preset, "valid0": valid0, "valid1": valid1, "seed": self.seed}
        *_, field = nearest_neighbours(image0, image1, self.patch_size, **options)
        return field.flow[:, 0], field.cost[:, 0].isfinite()


def flow_smoothness(flow: Tensor, reliable: Tensor) -> Tensor:
    """Return the share of neighbours with the same flow as each pixel, (B, H, W) in [0, 1].

    Args:
        flow: (B, 2, H, W) in pixels.
        reliable: (B, H, W) bool; other pixels have score 0 and do not support their neighbours.
    """
    radius = NEIGHBOURHOOD // 2
    padded = F.pad(flow.masked_fill(~reliable[:, None], torch.inf), [radius] * 4, value=torch.inf)
    height, width = flow.shape[-2:]
    count = torch.zeros_like(flow[:, 0])
    for dy in range(NEIGHBOURHOOD):
        for dx in range(NEIGHBOURHOOD):
            neighbour = padded[..., dy : dy + height, dx : dx + width]
            count += ((neighbour - flow).abs().amax(dim=1) <= SMOOTHNESS).float()
    itself = reliable.float()
    return (count - itself) / (NEIGHBOURHOOD**2 - 1) * itself


def _textured(image: Tensor, patch_size: int) -> Tensor:
    """Return which pixels (B, H, W) are centres of patches with texture."""
    contrast = F.max_pool2d(image, patch_size, 1, patch_size // 2)
    contrast = contrast + F.max_pool2d(-image, patch_size, 1, patch_size // 2)
    return contrast[:, 0, : image.shape[-2], : image.shape[-1]] > MIN_CONTRAST


def _best_of_cells(score: Tensor, reliable: Tensor, cell: int) -> Tensor:
    """Return y and x, (N, 2) long, of the best reliable pixel of each grid cell that has one."""
    height, width = score.shape
    below, right = -height % cell, -width % cell
    padded = F.pad(score.masked_fill(~reliable, -1), (0, right, 0, below), value=-1.0)
    best, index = F.max_pool2d(padded[None, None], cell, return_indices=True)
    index = index[best >= 0]
    columns = width + right
    return torch.stack([index // columns, index % columns], dim=1)
