"""Losses of Patch2Pix (Zhou et al. 2021, section 3.4): epipolar distance and classification."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.sampling import bilinear_sample

CLS_DTHRES = (50.0, 5.0)  # square pixels of the Sampson distance: a match is an inlier
EPI_DTHRES = (50.0, 5.0)  # square pixels: a match trains the displacement
CLS_WEIGHT = 2.0  # of the classification; the paper has 10 with square pixels for the distance
SOFTNESS = 0.25  # pixels above which the loss of a distance is about linear
MIN_GRADIENT = 1e-12  # square pixels: a line without direction has no distance


def sampson_distance(
    fundamental: Float[Tensor, "*B 3 3"],
    points0: Float[Tensor, "*B N 2"],
    points1: Float[Tensor, "*B N 2"],
) -> Float[Tensor, "*B N"]:
    """Return the Sampson distance of matches in square pixels (Hartley and Zisserman, 11.4.3).

    It approximates the squared distance by which both points must move to lie on the epipolar
    lines of each other.

    Args:
        fundamental: F with x1 F x0 = 0, of any scale, in the precision of the result.
        points0: x and y in pixels of image 0.
        points1: x and y in pixels of image 1.
    """
    ones = torch.ones_like(points0[..., :1])
    rays0, rays1 = (torch.cat([points, ones], dim=-1) for points in (points0, points1))
    lines1, lines0 = rays0 @ fundamental.mT, rays1 @ fundamental
    residual = (rays1 * lines1).sum(dim=-1)
    gradient = lines1[..., :2].square().sum(dim=-1) + lines0[..., :2].square().sum(dim=-1)
    return residual.square() / gradient.clamp_min(MIN_GRADIENT)


def epipolar_distance(
    fundamental: Float[Tensor, "B 3 3"],
    pair: Int[Tensor, "M"],
    points0: Float[Tensor, "M 2"],
    points1: Float[Tensor, "M 2"],
) -> Float[Tensor, "M"]:
    """Return the Sampson distances of the matches of several pairs in square pixels, in float32.

    Args:
        fundamental: F of each pair.
        pair: Index of the pair of each match.
        points0: x and y in pixels of image 0.
        points1: x and y in pixels of image 1.
    """
    ends = (points[:, None].double() for points in (points0, points1))
    return sampson_distance(fundamental.double()[pair], *ends)[:, 0].float()


def true_error(
    flow: Float[Tensor, "B 2 H W"],
    valid: Bool[Tensor, "B H W"],
    pair: Int[Tensor, "M"],
    points0: Float[Tensor, "M 2"],
    points1: Float[Tensor, "M 2"],
) -> Float[Tensor, "M"]:
    """Return the distances in pixels from the true correspondences; NaN where there are none."""
    errors = points0.new_full((len(points0),), float("nan"))
    for index in range(len(flow)):
        rows = (pair == index).nonzero()[:, 0]
        ends = points0[rows][None]
        known = bilinear_sample(valid[index][None, None].float(), ends, "zeros")[0, 0] > 0.999
        truth = ends[0] + bilinear_sample(flow[index][None], ends)[0].mT
        error = (truth - points1[rows]).norm(dim=1)
        errors[rows] = torch.where(known, error, torch.full_like(error, float("nan")))
    return errors


def geometric_loss(
    distance: Float[Tensor, "N"], before: Float[Tensor, "N"], limit: float
) -> Float[Tensor, ""]:
    """Return the mean distance of refined matches that were near the truth before.

    The paper averages the squared distances. The loss here is sqrt(s^2 + squared distance) - s with
    s = ``SOFTNESS``, which is linear above s: parts of a pixel count, and proposals that are near
    their line by chance, whose patches may show nothing in common, do not dominate.

    Args:
        distance: Squared distance of the refined matches in square pixels, infinite where unknown.
        before: The same before the refinement.
        limit: Matches with a larger squared distance before, and unknown ones, do not count.
    """
    chosen = (before < limit) & distance.isfinite()
    losses = (SOFTNESS**2 + distance).sqrt() - SOFTNESS
    return losses.where(chosen, losses.new_zeros(())).sum() / chosen.sum().clamp_min(1)


def inlier_loss(logits: Float[Tensor, "N"], inlier: Bool[Tensor, "N"]) -> Float[Tensor, ""]:
    """Return the binary cross entropy of the confidences; inliers and outliers weigh the same.

    Args:
        logits: Confidence before the sigmoid.
        inlier: The truth; one class may be empty.
    """
    target = inlier.to(logits)
    share = target.mean().clamp(0.05, 0.95)
    weight = torch.where(inlier, 0.5 / share, 0.5 / (1 - share))
    return F.binary_cross_entropy_with_logits(logits, target, weight)
