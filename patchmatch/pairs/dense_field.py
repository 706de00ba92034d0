"""From dense to sparse: places of a nearest-neighbour field that agree both ways."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.nnf.search import nearest_neighbours
from patchmatch.nnf.voting import consistent
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.pairs.detector_free import JointMatcher
from patchmatch.pairs.matcher import Found

NEIGHBOURHOOD = 9  # pixels a side in which the flow should be about the same
SAME = 1.0  # pixels by which flows of neighbours may differ


class FieldMatcher(JointMatcher):
    """Matches out of nearest-neighbour fields (Barnes et al. 2009), searched both ways.

    A pixel counts if its match leads back to it; the score is the share of its neighbours that
    have moved alike, and of each square the pixel with the best score is kept. It is for pictures
    that differ little in scale and orientation: film frames, stereo pairs.

    Args:
        patch_size: Side of a patch in pixels.
        preset: How thoroughly to search: fast, balanced or accurate.
        tolerance: Pixels by which a match that is followed there and back may miss its start.
        cell: Side in pixels of the squares of which each gives one match at most.
        max_size: Pixels to which the longest side of each image is reduced inside; null keeps
            every pixel.
        min_score: Matches that score less are left out.
        tile: Side in pixels of what is matched at once; null matches any pair at once.
        options: Of ``PairMatcher``.
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
            raise ValueError(f"patch_size must lie between 3 and 15 pixels, got {patch_size}")
        if preset not in ("fast", "balanced", "accurate"):
            raise ValueError(f"preset must be fast, balanced or accurate, got {preset}")
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
        if cell < 1:
            raise ValueError(f"cell must be at least 1 pixel, got {cell}")
        self.patch_size, self.preset = patch_size, preset
        self.tolerance, self.cell = tolerance, cell

    def find_at_once(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Search both ways and keep what agrees, one place of each square."""
        even0, even1 = normalize_contrast(image0), normalize_contrast(image1)
        flow01, found01 = self._search(even0, even1, valid0, valid1)
        flow10, found10 = self._search(even1, even0, valid1, valid0)
        agree = found01 & consistent(flow01, flow10, self.tolerance, found10)
        if valid0 is not None:
            agree &= valid0
        # a blank patch is like any other blank patch
        agree &= _textured(image0, self.patch_size)
        score = alike(flow01.float(), agree)
        places = _best_of_cells(score[0], agree[0], self.cell)
        y, x = places.unbind(dim=1)
        points0 = torch.stack([x, y], dim=1).float()
        points1 = points0 + flow01[0, :, y, x].T.float()
        return Found(points0, points1, score[0, y, x])

    def _search(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the last flow, (1, 2, H, W), and which pixels found any, (1, H, W)."""
        options = {"preset": self.preset, "valid0": valid0, "valid1": valid1, "seed": self.seed}
        *_, field = nearest_neighbours(image0, image1, self.patch_size, **options)
        return field.flow[:, 0], field.cost[:, 0].isfinite()


def alike(flow: Tensor, agree: Tensor) -> Tensor:
    """Return for each pixel which share of its neighbours has moved as it has, (B, H, W).

    Args:
        flow: (B, 2, H, W) in pixels.
        agree: (B, H, W) bool, whose flow can be believed; of the others none counts as alike.
    """
    reach = NEIGHBOURHOOD // 2
    padded = F.pad(flow.masked_fill(~agree[:, None], torch.inf), [reach] * 4, value=torch.inf)
    height, width = flow.shape[-2:]
    count = torch.zeros_like(flow[:, 0])
    for dy in range(NEIGHBOURHOOD):
        for dx in range(NEIGHBOURHOOD):
            other = padded[..., dy : dy + height, dx : dx + width]
            count += ((other - flow).abs().amax(dim=1) <= SAME).float()
    own = agree.float()
    return (count - own) / (NEIGHBOURHOOD**2 - 1) * own


def _textured(image: Tensor, patch_size: int) -> Tensor:
    """Return which pixels (B, H, W) lie in patches that are more than noise of eight bits."""
    spread = F.max_pool2d(image, patch_size, 1, patch_size // 2)
    spread = spread + F.max_pool2d(-image, patch_size, 1, patch_size // 2)
    return spread[:, 0, : image.shape[-2], : image.shape[-1]] > 4 / 255


def _best_of_cells(score: Tensor, agree: Tensor, cell: int) -> Tensor:
    """Return y and x, (N, 2) long, of the best pixel of each square that has one that agrees."""
    height, width = score.shape
    below, beside = -height % cell, -width % cell
    ranked = F.pad(score.masked_fill(~agree, -1), (0, beside, 0, below), value=-1.0)
    best, index = F.max_pool2d(ranked[None, None], cell, return_indices=True)
    index = index[best >= 0]
    across = width + beside
    return torch.stack([index // across, index % across], dim=1)
