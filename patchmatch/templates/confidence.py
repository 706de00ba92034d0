"""The probability that a template is at the best location of a search."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.templates.features import NormalizedSceneFeatures

_SMALL_SHARE = 0.01  # added to shares of votes, so that their logarithm is finite
_TOP = 0.9  # quantile of the qualities of the template features


class Regression(NamedTuple):
    """A logistic regression: intercept, and coefficients by their names in ``Evidence``."""

    intercept: float
    coefficients: dict[str, float]


REGRESSIONS = {
    # Features of networks: fitted to generated scenes by dev/fit_template_score.py (intercept
    # 6.56), and shifted so that on real pairs at most 3% of absent templates reach 0.5.
    "network": Regression(
        7.71, {"votes": 3.50, "size": 0.56, "similarity": 1.74, "top_quality": 4.14}
    ),
    # Handcrafted features: fitted to real pairs. A fit to generated scenes is no better there and
    # misses second instances of an object.
    "crop": Regression(8.43, {"votes": 3.29, "size": 2.94, "quality": 2.38, "box_quality": 4.72}),
    "surrounded": Regression(
        2.58, {"votes": 1.86, "size": 1.22, "quality": 2.37, "box_quality": 0.19}
    ),
    # Scores other than QATM, whose qualities have another range.
    "votes": Regression(4.61, {"votes": 4.81, "size": 1.1}),
}


class Evidence(NamedTuple):
    """What is known of the best location of a search.

    Attributes:
        votes: Logarithm of the share of votes for it.
        size: Logarithm of the number of features of the template.
        similarity: Mean cosine of the features of the template and those of the scene where the
            box puts them, within one cell.
        quality: Mean log quality of the best matches of the features of the template.
        top_quality: Log quality that a tenth of these matches reach.
        box_quality: Mean log quality of the scene in the box.
    """

    votes: float
    size: float
    similarity: float
    quality: float
    top_quality: float
    box_quality: float


def gather_evidence(
    votes: float, similarity: float, quality: Tensor, box_quality: float
) -> Evidence:
    """Return the evidence of a location.

    Args:
        votes: Share of the votes.
        similarity: See ``aligned_similarity``.
        quality: (T,) log quality of the best match of each feature of the template.
        box_quality: Mean log quality of the scene in the box.
    """
    return Evidence(
        votes=math.log(votes + _SMALL_SHARE),
        size=math.log(len(quality)),
        similarity=similarity,
        quality=quality.mean().item(),
        top_quality=quality.quantile(_TOP).item(),
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


def regression_of(features: str, is_qatm: bool, is_surrounded: bool) -> str:
    """Return the name of the regression of a search.

    Args:
        features: Kind of features, network or handcrafted.
        is_qatm: Whether the scores are those of QATM.
        is_surrounded: Whether the surroundings of the template are known.
    """
    if not is_qatm:
        return "votes"
    if features == "network":
        return features
    return "surrounded" if is_surrounded else "crop"


def probability(evidence: Evidence, regression: str, num_poses: int = 1) -> float:
    """Return the probability that the template is at the location.

    Args:
        evidence: The evidence of the location.
        regression: A name in ``REGRESSIONS``.
        num_poses: Number of poses searched for the template; each can cause a false alarm.
    """
    logit, coefficients = REGRESSIONS[regression]
    logit += sum(value * getattr(evidence, name) for name, value in coefficients.items())
    logit -= math.log(num_poses)  # the odds are shared by all poses
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))
