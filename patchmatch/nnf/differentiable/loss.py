"""What a search for correspondences is to learn: to tell the truth from what it came upon."""

import torch
from torch import Tensor

from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet, Searched

FARTHEST = 8.0  # pixels: an error between pixels counts no more
LOST = 24.0  # pixels: a wrong decision counts no more
SURPRISE = 0.1  # what sharpness counts beside the error; more of it costs noise and blur
SHARPNESS = 4.0  # a particle one pixel farther from the truth is e^-4 times as right


def whole_patches(values: Tensor, patch_size: int) -> Tensor:
    """Return the part of (..., H, W) where the patches centred on it lie wholly inside."""
    before = patch_size // 2
    height, width = (side - patch_size + 1 for side in values.shape[-2:])
    return values[..., before : before + height, before : before + width]


def known_flow(flow: Tensor, valid: Tensor, patch_size: int) -> tuple[Tensor, Tensor]:
    """Return the true flow of whole patches, and where it leads to whole patches.

    Args:
        flow: (B, 2, H, W), both images of one size.
        valid: (B, H, W), where the flow is known.
        patch_size: Side of a patch in pixels.
    """
    truth = whole_patches(flow, patch_size)
    height, width = truth.shape[-2:]
    x = torch.arange(width, device=flow.device) + truth[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + truth[:, 1]
    lands = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return truth, lands & whole_patches(valid, patch_size)


def decision_loss(
    search: DifferentiablePatchMatchNet,
    features0: Tensor,
    features1: Tensor,
    searched: Searched,
    truth: Tensor,
    known: Tensor,
) -> Tensor:
    """Return the loss of an iteration: how wrong the particles are that it believes in.

    The particles that the search came upon are what the features must tell from the truth, which
    is judged among them; it does not go on with the search.

    Args:
        search: What searched.
        features0: Its features of image 0.
        features1: Its features of image 1.
        searched: What it found.
        truth: (B, 2, H, W), the true flow in pixels.
        known: (B, H, W), where it is known.
    """
    right = truth.round().long()[:, None]
    judged = torch.cat([searched.judged, right], dim=1)
    cost = torch.cat([searched.judged_cost, search.evaluation(features0, features1, right)], dim=1)
    log_probability = search.evaluation.log_probability(judged, cost)
    x, y = (judged - truth[:, None]).unbind(dim=2)
    error = (x * x + y * y).sqrt()  # much faster than a norm over an axis of two
    target = (-SHARPNESS * error).masked_fill(log_probability < -1e8, -1e9).softmax(dim=1)
    surprise = -(target * log_probability).sum(dim=1)
    expected = (log_probability.exp() * error.clamp_max(LOST)).sum(dim=1)
    return ((expected + SURPRISE * surprise) * known).sum() / known.sum().clamp_min(1)


def expectation_loss(answer: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return the mean error of answers between pixels, of those that are not lost altogether.

    Args:
        answer: (B, 2, H, W), flow in pixels.
        truth: (B, 2, H, W), the true flow.
        known: (B, H, W), where it is known.
    """
    apart = (answer - truth).square().sum(dim=1)
    near = known & (apart.detach() < FARTHEST)
    return (apart + 1e-4).sqrt()[near].sum() / near.sum().clamp_min(1)
