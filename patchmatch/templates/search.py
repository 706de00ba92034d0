"""Search for a template in a scene, one detection after the other."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from patchmatch.templates.confidence import (
    aligned_similarity,
    gather_evidence,
    probability,
    regression_of,
)
from patchmatch.templates.features import NormalizedSceneFeatures
from patchmatch.templates.hough import box_mean, fit_centre_and_scale, fit_sides, hough_voting
from patchmatch.templates.qatm import BestMatches, PairScores, best_matches
from patchmatch.templates.template_features import TemplateFeatures

VOTE_SIGMA = 0.12  # of the Hough accumulator, in sizes of the template
FIT_RADIUS = 0.3  # of the matches that refine a detection, in sizes of the template
SCALE_LIMITS = (0.7, 1.4)  # of a detection, relative to the template
MIN_SIZE_AGREEMENT = 0.7  # of the sizes of a box and of its matches; below, the score decreases
_MIN_SHARE = 1e-3  # added to the share of votes, so that its logarithm is finite


class Location(NamedTuple):
    """The best location of a template in one pose."""

    box: Tensor  #: (4,) xyxy in pixels
    score: float  #: probability that the template is there, in the size of the box
    heatmap: Tensor  #: (rows, columns) of the cells of the scene
    scale: float  #: size of the object divided by that of the template
    rotation: float  #: degrees, counter-clockwise


class TemplateSearch:
    """Search for one template in one pose, repeated while detections suppress cells.

    Args:
        features: Features of the scene.
        template: Features of the template.
        scores: Scores of all pairs of their features. Those of the surroundings of the template
            only take part in the normalisation of the scores.
        is_qatm: Whether these are QATM scores.
        adapt_size: Whether to fit the size of the box to the matches.
        num_poses: Number of poses searched for the template; each can cause a false alarm.
    """

    def __init__(
        self,
        features: NormalizedSceneFeatures,
        template: TemplateFeatures,
        scores: PairScores,
        is_qatm: bool,
        adapt_size: bool,
        num_poses: int = 1,
    ) -> None:
        self.features, self.template, self.scores = features, template, scores
        self.scene, self.adapt_size, self.num_poses = features.scene, adapt_size, num_poses
        is_surrounded = template.num_object < len(template.maps[0])
        self.regression = regression_of(self.scene.kind, is_qatm, is_surrounded)
        self.object_features = scores.template[: template.num_object]
        self._matches: BestMatches | None = None

    def locate(self, unsuppressed: Tensor) -> Location:
        """Return the best location.

        Args:
            unsuppressed: (rows, columns) bool, the cells that may match and hold the centre.
        """
        matches = best_matches(
            self.scores, unsuppressed.flatten(), self._matches, self.template.num_object
        )
        self._matches = matches
        template, stride, columns = self.template, self.scene.stride, self.scene.grid[1]
        index = matches.scene_index
        positions = torch.stack([index % columns, index // columns], dim=1).to(template.offsets)
        height, width = (side / stride for side in template.size)
        extent = template.extent / stride
        sigma = max(1.0, VOTE_SIGMA * extent)
        votes = hough_voting(positions - template.offsets, self.scene.grid, sigma)
        quality = matches.scene_score.view(self.scene.grid)
        quality = quality.where(unsuppressed, quality[unsuppressed].amin())
        # The box of a rotated template is larger than its area.
        shrink = extent / math.sqrt(height * width)
        size = (max(1, round(shrink * height)), max(1, round(shrink * width)))
        quality = box_mean(quality, size)
        total = quality + 0.5 * (votes + _MIN_SHARE).log()
        total = total.masked_fill(~unsuppressed, -math.inf)
        row, column = divmod(int(total.argmax()), columns)
        radius = max(2.0, FIT_RADIUS * extent)
        centre, scale = fit_centre_and_scale(
            positions, template.offsets, positions.new_tensor([column, row]), radius,
            scale_limits=SCALE_LIMITS if self.adapt_size else (1.0, 1.0),
        )  # fmt: skip
        places = centre + scale * template.offsets
        # The intersection over union of the box and of a box of the size that the matches imply.
        sides = fit_sides(positions, template.offsets, centre, radius)
        agreement = torch.minimum(sides / scale, scale / sides).prod().item()
        evidence = gather_evidence(
            votes[row, column].item(),
            aligned_similarity(self.object_features, places, self.features),
            matches.template_score,
            quality[row, column].item(),
        )
        score = probability(evidence, self.regression, self.num_poses)
        score *= min(1.0, agreement / MIN_SIZE_AGREEMENT)
        centre = (centre + 0.5) * stride
        half = centre.new_tensor([template.size[1], template.size[0]]) * scale / 2
        box = torch.cat([centre - half, centre + half])
        heatmap = votes.sqrt().cpu()
        return Location(box, score, heatmap, template.scale * float(scale), template.rotation)
