"""Training loss of the motion network."""

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion.coarse_to_fine import Motion, Scored

MIN_VISIBLE = 0.6  # visible share of a block above which its motion is supervised
CORRECT_WITHIN = 0.5  # pixels: errors of a correct displacement are below
MAX_ERROR = 8.0  # pixels: the loss clips larger errors


def motion_loss(motion: Motion, truth: Tensor, visible: Tensor) -> Tensor:
    """Return the training loss: errors of the displacement and of every decision before it.

    The scorer pays the expected error of its candidates, and each refinement step its own error.
    Dividing by the square root of the pixel size of a level gives the levels similar weight. The
    final displacement has the highest weight. Cross-entropies train the confidences.

    Args:
        motion: Output of ``MotionNet`` with ``trace=True``.
        truth: (B, R, C, 2), true displacement of each block in pixels.
        visible: (B, R, C), share of each block that is visible in frame 1.

    Raises:
        ValueError: If the motion has no trace.
    """
    if motion.trace is None:
        raise ValueError("motion has no trace of the decisions; call the network with trace=True")
    supervised = visible > MIN_VISIBLE
    loss = torch.zeros((), device=truth.device)
    for step in motion.trace:
        size = 2.0**step.level  # pixels of the frame in a pixel of the level
        if isinstance(step, Scored):
            error = (step.proposals.candidates.detach() * size - truth.unsqueeze(-2)).norm(dim=-1)
            clipped = error.clamp_max(4 * size) / size**0.5
            target = (
                (-4 * error / size).masked_fill(~step.proposals.unique, -torch.inf).softmax(dim=-1)
            )
            for number, logits in enumerate(step.logits, start=1):
                expected = (logits.softmax(dim=-1) * clipped).sum(dim=-1)
                cross_entropy = -(target * logits.log_softmax(dim=-1)).sum(dim=-1)
                weight = 1.0 if number == len(step.logits) else 0.3
                loss = loss + weight * _masked_mean(expected + 0.1 * cross_entropy, supervised)
        else:
            error = _smooth_norm(step.displacement[..., 0, :] * size - truth)
            loss = loss + _masked_mean(error.clamp_max(3 * size) / size**0.5, supervised)
    error = _smooth_norm(motion.displacement - truth)
    loss = loss + 3 * _masked_mean(error.clamp_max(MAX_ERROR), supervised)
    correct, matched = motion.confidence_logits.unbind(dim=-1)
    is_correct = (error.detach() < CORRECT_WITHIN).float()
    loss = loss + F.binary_cross_entropy_with_logits(correct, is_correct)
    return loss + F.binary_cross_entropy_with_logits(matched, (visible > 0.5).float())


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)


def _smooth_norm(vectors: Tensor) -> Tensor:
    """Return the lengths of vectors (..., 2), with a finite gradient at 0."""
    return (vectors.square().sum(dim=-1) + 1e-6).sqrt()
