"""The probability that a template is at the best location of a search."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.templates.features import NormalizedSceneFeatures

_SMALL_SHARE = 0.01  # added to shares of votes, so that their logarithm is finite
_TOP = 0.9  # quantile of the qualities of the template features
#: Inputs of the logistic regressions, by their names in ``Evidence``. Scores other than QATM have
#: qualities of another range, which are not used.
INPUTS = {
    "crop": ("votes", "size", "similarity", "quality", "top_quality", "box_quality"),
    "surrounded": ("votes", "size", "similarity", "quality", "top_quality", "box_quality"),
    "votes": ("votes", "size", "similarity"),
}
# Intercept and coefficients, fitted by dev/fit_template_score.py to generated scenes.
_COEFFICIENTS = {
    "crop": (8.43, 3.29, 2.94, 0.0, 2.38, 0.0, 4.72),
    "surrounded": (2.58, 1.86, 1.22, 0.0, 2.37, 0.0, 0.19),
    "votes": (4.61, 4.81, 1.1, 0.0),
}


class Evidence(NamedTuple):
    """What a search tells about its best location.

    Attributes:
        votes: Logarithm of the share of votes for it.
        size: Logarithm of the number of features of the template.
        similarity: Mean cosine of the features of the template and those of the scene where the
            box puts them, within one cell.
        quality: Mean log quality of the best matches of the features of the template.
        top_quality: The quality that a tenth of these matches reaches.
        box_quality: Mean log quality of the scene in the box.
    """

    votes: float
    size: float
    similarity: float
    quality: float
    top_quality: float
    box_quality: float


def gather_evidence(
    votes: float, similarity: float, template_quality: Tensor, box_quality: float
) -> Evidence:
    """Return the evidence of a location.

    Args:
        votes: Share of the votes.
        similarity: See ``aligned_similarity``.
        template_quality: (T,) log quality of the best match of each feature of the template.
        box_quality: Mean log quality of the scene in the box.
    """
    return Evidence(
        votes=math.log(votes + _SMALL_SHARE),
        size=math.log(len(template_quality)),
        similarity=similarity,
        quality=template_quality.mean().item(),
        top_quality=template_quality.quantile(_TOP).item(),
        box_quality=box_quality,
    )


def aligned_similarity(
    template: Float[Tensor, "T D"], positions: Float[Tensor, "T 2"], scene: NormalizedSceneFeatures
) -> float:
    """Return the mean cosine of template features and those at their positions in a scene.

    Each template feature takes the best of the 3x3 cells around its position, so that the object
    may deform by a cell. Positions outside the scene take the nearest cells of it.

    Args:
        template: Features of length 1.
        positions: x and y of each in cells of the scene.
        scene: Features of the scene.
    """
    rows, columns = scene.scene.grid
    limits = positions.new_tensor([columns - 1, rows - 1])
    steps = positions.new_tensor([[dx, dy] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    cells = (positions.round() + steps[:, None]).clamp_min(0).minimum(limits).long()  # (9, T, 2)
    low, high = cells.amin(dim=(0, 1)), cells.amax(dim=(0, 1)) + 1
    features = scene.window(*low.tolist(), *high.tolist())  # (rows, columns, D)
    best = template.new_full((len(template),), -1.0)
    for step in cells - low:
        x, y = step.unbind(dim=1)
        best = torch.maximum(best, (features[y, x] * template).sum(dim=1))
    return best.mean().item()


def probability(evidence: Evidence, kind: str, num_poses: int = 1) -> float:
    """Return the probability that the template is at the location.

    Args:
        evidence: The evidence of the location.
        kind: crop or surrounded, by what is known of the template, for QATM scores; votes for
            other scores, whose qualities are not used.
        num_poses: Number of poses searched for the template; each can cause a false alarm.
    """
    values = (1.0, *(getattr(evidence, name) for name in INPUTS[kind]))
    logit = sum(c * value for c, value in zip(_COEFFICIENTS[kind], values, strict=True))
    logit -= math.log(num_poses)  # the odds are shared by all poses
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))
