"""Losses that train features through the search."""

import torch
from torch import Tensor

from patchmatch.nnf.differentiable.layers import MASKED_LOGIT
from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet, SearchState
from patchmatch.nnf.grid import crop_to_patches, flow_targets

MAX_SQUARED_ERROR = 8.0  # squared pixels: the subpixel loss ignores larger errors
MAX_ERROR = 24.0  # pixels: the candidate loss clamps the error of a particle to this
CROSS_ENTROPY_WEIGHT = 0.1  # larger weights made features more sensitive to noise and blur
SHARPNESS = 4.0  # the target probability falls by e^-4 per pixel of error


def patch_ground_truth(flow: Tensor, valid: Tensor, patch_size: int) -> tuple[Tensor, Tensor]:
    """Return the true flow of whole patches, and where it leads to whole patches.

    Args:
        flow: (B, 2, H, W), both images of one size.
        valid: (B, H, W), where the flow is known.
        patch_size: Side of a patch in pixels.
    """
    flow = crop_to_patches(flow, patch_size)
    height, width = flow.shape[-2:]
    y, x = flow_targets(flow)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return flow, inside & crop_to_patches(valid, patch_size)


def candidate_loss(
    search: DifferentiablePatchMatchNet,
    features0: Tensor,
    features1: Tensor,
    state: SearchState,
    true_flow: Tensor,
    valid: Tensor,
) -> Tensor:
    """Return the loss of an iteration: expected error and cross-entropy of all its candidates.

    The true offset is added to the candidates, but not to the particles of the search.

    Args:
        search: The network.
        features0: Its features of image 0.
        features1: Its features of image 1.
        state: Its state after the iteration.
        true_flow: (B, 2, H, W) in pixels.
        valid: (B, H, W), where the true flow is known.
    """
    rounded = true_flow.round().long()[:, None]
    true_cost = search.evaluation(features0, features1, rounded)
    candidates = torch.cat([state.evaluated, rounded], dim=1)
    cost = torch.cat([state.evaluated_cost, true_cost], dim=1)
    log_probability = search.evaluation.log_probability(candidates, cost)
    x, y = (candidates - true_flow[:, None]).unbind(dim=2)
    error = (x * x + y * y).sqrt()  # much faster than a norm over an axis of two
    is_duplicate = log_probability < MASKED_LOGIT / 10
    target = (-SHARPNESS * error).masked_fill(is_duplicate, MASKED_LOGIT).softmax(dim=1)
    cross_entropy = -(target * log_probability).sum(dim=1)
    expected_error = (log_probability.exp() * error.clamp_max(MAX_ERROR)).sum(dim=1)
    loss = expected_error + CROSS_ENTROPY_WEIGHT * cross_entropy  # (B, H, W)
    return (loss * valid).sum() / valid.sum().clamp_min(1)


def subpixel_loss(flow: Tensor, true_flow: Tensor, valid: Tensor) -> Tensor:
    """Return the mean error of a subpixel flow, without large errors.

    Args:
        flow: (B, 2, H, W) in pixels.
        true_flow: (B, 2, H, W) in pixels.
        valid: (B, H, W), where the true flow is known.
    """
    squared = (flow - true_flow).square().sum(dim=1)
    included = valid & (squared.detach() < MAX_SQUARED_ERROR)
    return (squared + 1e-4).sqrt()[included].sum() / included.sum().clamp_min(1)
