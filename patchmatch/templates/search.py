"""Where a template lies in a scene, while places are taken one after the other."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from patchmatch.templates.features import DescribedScene, DescribedTemplate
from patchmatch.templates.hough import box_mean, cast_votes, fit_scaled_shift
from patchmatch.templates.qatm import Matched, Scores, best_matches

BLUR = 0.12  # of the votes, in sizes of the template
REACH = 0.3  # of the matches that refine a detection, in sizes of the template
LIMITS = (0.7, 1.4)  # of the size of what matched, in sizes of the template
_LEAST_VOTES = 1e-3  # so that places without votes are still told apart
# Logistic regression, dev/benchmark_templates.py: of 1, the log share of votes, the log number of
# features, the mean log quality of the template and that of the box.
_CONFIDENCE = (8.43, 3.29, 2.94, 2.38, 4.72)
_CONFIDENCE_BY_VOTES = (4.61, 4.81, 1.1)


class Winner(NamedTuple):
    """The best place of a template at one scale and rotation."""

    box: Tensor  #: (4,) xyxy in pixels
    score: float
    heatmap: Tensor  #: (rows, columns) of the scene's cells
    rotation: float  #: degrees, as in ``describe_template``


class Search:
    """The search for one template, as long as places are free.

    Args:
        scene: Where to search.
        template: What to search for.
        scores: Of all features of the scene with all of the template.
        is_qatm: Whether they are those of qatm.
        adapt_size: Whether the size of a box follows what matched.
        poses: Number of such searches for a template: each is one more chance to be wrong.
    """

    def __init__(
        self,
        scene: DescribedScene,
        template: DescribedTemplate,
        scores: Scores,
        is_qatm: bool,
        adapt_size: bool,
        poses: int = 1,
    ) -> None:
        self.scene, self.template, self.scores = scene, template, scores
        self.is_qatm, self.adapt_size, self.poses = is_qatm, adapt_size, poses
        self._before: Matched | None = None

    def locate(self, free: Tensor) -> Winner:
        """Return the best place among the cells that are free, (rows, columns) bool."""
        matched = self._before = best_matches(self.scores, free.flatten(), self._before)
        template, stride, columns = self.template, self.scene.stride, self.scene.grid[1]
        place = matched.place
        places = torch.stack([place % columns, place // columns], dim=1).to(template.offsets)
        height, width = (side / stride for side in template.size)
        extent = template.extent / stride
        votes = cast_votes(places - template.offsets, self.scene.grid, max(1.0, BLUR * extent))
        quality = matched.scene.view(self.scene.grid)
        quality = quality.where(free, quality[free].amin())
        shrink = extent / math.sqrt(height * width)  # of a turned template's box to its area
        size = (max(1, round(shrink * height)), max(1, round(shrink * width)))
        quality = box_mean(quality, size)
        total = quality + 0.5 * (votes + _LEAST_VOTES).log()
        total = total.masked_fill(~free, -math.inf)
        row, column = divmod(int(total.argmax()), columns)
        start = places.new_tensor([column, row])
        fit = fit_scaled_shift(
            places, template.offsets, start, max(2.0, REACH * extent),
            limits=LIMITS if self.adapt_size else (1.0, 1.0),
        )  # fmt: skip
        score = self._confidence(votes[row, column], quality[row, column], matched)
        centre = (fit.centre + 0.5) * stride
        half = centre.new_tensor([template.size[1], template.size[0]]) * fit.scale / 2
        box = torch.cat([centre - half, centre + half])
        return Winner(box, score, votes.sqrt().cpu(), template.rotation)

    def _confidence(self, votes: Tensor, quality: Tensor, matched: Matched) -> float:
        """Return how probably the template is at the best place, by logistic regression."""
        count = math.log(len(matched.template))
        seen = [1.0, math.log(votes.item() + 0.01), count]
        if self.is_qatm:
            seen += [matched.template.mean().item(), quality.item()]
        weights = _CONFIDENCE if self.is_qatm else _CONFIDENCE_BY_VOTES
        evidence = sum(w * value for w, value in zip(weights, seen, strict=True))
        evidence -= math.log(self.poses)  # the odds that a given one is right
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, evidence))))
