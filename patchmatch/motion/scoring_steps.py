"""Tensor operations of the hypothesis scorer: features of candidates, and message passing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.motion.candidates import Proposals
from patchmatch.motion.neighbours import neighbours

MIN_TRUST = 0.1  # added to the sum of trust weights; messages vanish if all of them are zero


def subwindow_features(
    residual: Float[Tensor, "B R C K subwindows"],
    unique: Bool[Tensor, "B R C K"],
    texture: Float[Tensor, "B R C subwindows"],
    noise: Float[Tensor, "B R C subwindows"],
    subwindow_weights: Float[Tensor, " subwindows"],
    weight: Float[Tensor, "H 4"],
    bias: Float[Tensor, " H"],
) -> Float[Tensor, "B R C K H"]:
    """Return a linear layer with ReLU of each subwindow, averaged over the subwindows.

    Args:
        residual: Residual of each candidate, from ``Matching.residual``.
        unique: Candidates that are scored.
        texture: ``Matching.texture``.
        noise: ``Matching.noise``.
        subwindow_weights: Weights of the average.
        weight: Weights of the residual, of its difference to the least residual of the scored
            candidates, of texture and of noise.
        bias: Biases of the layer.
    """
    least = residual.masked_fill(~unique.unsqueeze(-1), torch.inf).amin(dim=-2, keepdim=True)
    of_subwindow = torch.stack([texture, noise], dim=-1) @ weight[:, 2:].T + bias
    of_candidate = torch.stack([residual, residual - least], dim=-1) @ weight[:, :2].T
    return subwindow_weights @ (of_candidate + of_subwindow.unsqueeze(-3)).relu()


def candidate_features(
    proposals: Proposals,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    subwindow_weights: Tensor,
    level: int,
) -> Tensor:
    """Return features of each candidate, averaged over its window, (B, R, C, K, 5).

    Means of residual, texture and noise, and log(1 + length) of the displacement and of its
    difference to the dominant motion, in pixels of the frame.

    Args:
        proposals: The candidates.
        residual: (B, R, C, K, subwindows), from ``Matching.residual``.
        texture: (B, R, C, subwindows).
        noise: (B, R, C, subwindows).
        subwindow_weights: (subwindows,), weights of the means.
        level: Pyramid level.
    """
    both = proposals.candidates, proposals.candidates - proposals.dominant[:, None, None, None]
    lengths = [(c.norm(dim=-1) * 2**level).log1p() for c in both]
    means = [(x @ subwindow_weights).unsqueeze(-1).expand_as(lengths[0]) for x in (texture, noise)]
    return torch.stack([residual @ subwindow_weights, *means, *lengths], dim=-1)


class Messages:
    """Messages from the four neighbours of a block to each of its candidates.

    Args:
        candidates: (B, R, C, K, 2).
        trust: (B, R, C, 1), trust weight of each block, in [0, 1].
        scales: M distances in pixels at which the agreement of two displacements is a half.
    """

    def __init__(self, candidates: Tensor, trust: Tensor, scales: tuple[float, ...]) -> None:
        self.scales = len(scales)
        self.agreement = agreement(candidates, scales)  # (B, R, C, M K, 4 K)
        trusts = neighbours(trust)  # (B, R, C, 4, 1)
        self.shares = trusts / (trusts.sum(dim=-2, keepdim=True) + MIN_TRUST)

    def support(self, logits: Tensor) -> Tensor:
        """Return the probability that neighbours give to displacements near each candidate.

        Args:
            logits: (B, R, C, K) of the candidates of all blocks.

        Returns:
            (B, R, C, K, 2 M), for each scale weighted by trust, and unweighted.
        """
        belief = neighbours(logits.softmax(dim=-1))  # (B, R, C, 4, K)
        both = torch.stack([belief * self.shares, belief / 4], dim=-1).flatten(3, 4)
        found = (self.agreement @ both).unflatten(3, (self.scales, -1))  # (B, R, C, M, K, 2)
        return found.transpose(3, 4).flatten(4)


def agreement(candidates: Tensor, scales: tuple[float, ...]) -> Tensor:
    """Return the agreement of each candidate with those of the four neighbours, (M K, 4 K).

    It is 1 for equal displacements and a half for a difference of one of the M scales.
    """
    around = neighbours(candidates.flatten(3)).unflatten(-1, candidates.shape[-2:])
    around = around.flatten(3, 4)  # (B, R, C, 4 K, 2)
    x, y = (candidates.unsqueeze(-2) - around.unsqueeze(-3)).unbind(dim=-1)
    squared = x * x + y * y  # (B, R, C, K, 4 K)
    return torch.cat([(1 + squared / scale**2).reciprocal() for scale in scales], dim=-2)
