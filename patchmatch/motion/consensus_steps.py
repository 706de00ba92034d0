"""Tensor operations of voting and of the regulariser."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.motion.candidates import VOTING_DISTANCE, duplicates, unique_first
from patchmatch.motion.lucas_kanade import geman_mcclure
from patchmatch.motion.neighbours import EIGHT, neighbours

ITERATIONS = 4  # of the regulariser
MIN_WEIGHT = 1e-4  # of the own displacement, where there is neither a data term nor a neighbour
LENGTH_PENALTY = 0.05  # factor of log(1 + length): without texture nothing moves
#: (row, column) in the 3x3 square around a block, opposite ones in pairs
OPPOSITE = ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (2, 2), (0, 2), (2, 0))


def voting_candidates(
    displacement: Float[Tensor, "B R C 2"], runner_up: Float[Tensor, "B R C 2"]
) -> tuple[Float[Tensor, "B R C 10 2"], Bool[Tensor, "B R C 10"], Float[Tensor, "B R C 2"]]:
    """Return the candidates of a vote: the own displacement, the neighbours' and the runner-up.

    Returns:
        The candidates, unique ones first, the others replaced by the own displacement; which are
        unique; and the runner-up where no neighbour has it, else the own displacement.
    """
    own = displacement.unsqueeze(-2)
    found = torch.cat([own, neighbours(displacement, EIGHT), runner_up.unsqueeze(-2)], dim=-2)
    is_duplicate = duplicates(found, VOTING_DISTANCE)
    unsupported = torch.where(is_duplicate[..., -1:], displacement, runner_up)
    candidates, unique = unique_first(found, is_duplicate)
    return torch.where(unique.unsqueeze(-1), candidates, own), unique, unsupported


def vote_shares(
    candidates: Tensor,
    unique: Tensor,
    unsupported: Tensor,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """Return the share of the subwindows that vote for each candidate, (B, R, C, K).

    Args:
        candidates: (B, R, C, K, 2), the own displacement first.
        unique: (B, R, C, K), candidates that receive votes, the first ones.
        unsupported: (B, R, C, 2), a runner-up that no neighbour has, else the own displacement.
        residual: (B, R, C, K, subwindows).
        texture: (B, R, C, subwindows), ``Matching.texture``.
        noise: (B, R, C, subwindows), ``Matching.noise``.
        formula: (4,), logarithms of sharpness, bonus of the own displacement, damping of the
            sharpness by noise, and penalty of an unsupported runner-up.
        layers: Network of the logit of a vote. Inputs: the residual, its difference to that of the
            own displacement, the same difference of the means over the block, texture, noise,
            and whether the candidate is the own displacement.
    """
    sharpness, bonus, noise_damping, runner_up_penalty = formula.exp().unbind()
    noise = noise.unsqueeze(-2).expand_as(residual)
    is_own = torch.zeros_like(residual)
    is_own[..., :1, :] = 1
    mean = residual.mean(dim=-1, keepdim=True)
    features = [
        residual,
        residual - residual[..., :1, :],
        (mean - mean[..., :1, :]).expand_as(residual),
        texture.unsqueeze(-2).expand_as(residual),
        noise,
        is_own,
    ]
    is_unsupported = (candidates == unsupported.unsqueeze(-2)).all(dim=-1)
    is_unsupported = is_unsupported & (candidates != candidates[..., :1, :]).any(dim=-1)
    penalty = LENGTH_PENALTY * candidates.norm(dim=-1).log1p().unsqueeze(-1)
    penalty = penalty + runner_up_penalty * is_unsupported.unsqueeze(-1)
    logits = bonus * is_own - sharpness / (1 + noise_damping * noise) * residual - penalty
    logits = logits + layers(torch.stack(features, dim=-1)).squeeze(-1)
    logits = logits.masked_fill(~unique.unsqueeze(-1), -torch.inf)
    return logits.softmax(dim=-2).mean(dim=-1)


def regularise(
    displacement: Float[Tensor, "B R C 2"],
    data_term: Float[Tensor, "B R C 3"],
    pairwise_weight: Float[Tensor, "B R C 2"],
    confidence: Float[Tensor, "B R C"],
    scale: Float[Tensor, " 2"],
) -> Float[Tensor, "B R C 2"]:
    """Smooth displacements by iteratively reweighted least squares.

    Args:
        displacement: In pixels.
        data_term: Symmetric matrix xx, xy, yy that holds a displacement at its value.
        pairwise_weight: Weights of a neighbour, and of the mean of two opposite neighbours.
        confidence: Of each block; the weight of a mean is multiplied by both confidences.
        scale: Pixels at which the weights of a neighbour and of a mean fall to a quarter.
    """
    around = _around(confidence.unsqueeze(-1))[..., 0]  # (B, R, C, 8), 0 beyond the border
    first_order = pairwise_weight[..., :1] * around[..., :4]
    second_order = pairwise_weight[..., 1:] * around[..., ::2] * around[..., 1::2]
    weight = torch.cat([first_order, second_order], dim=-1)
    scales = scale.repeat_interleave(4)
    found = displacement
    for _ in range(ITERATIONS):
        others = _around(found)
        means = (others[..., ::2, :] + others[..., 1::2, :]) / 2
        targets = torch.cat([others[..., :4, :], means], dim=-2)  # (B, R, C, 8, 2)
        squared = (targets - found.unsqueeze(-2)).square().sum(dim=-1)
        robust = weight * geman_mcclure(squared, scales)
        drawn = (robust.unsqueeze(-1) * (targets - displacement.unsqueeze(-2))).sum(dim=-2)
        found = displacement + _solve(data_term, robust.sum(dim=-1) + MIN_WEIGHT, drawn)
    return found


def _around(values: Float[Tensor, "B R C D"]) -> Float[Tensor, "B R C 8 D"]:
    rows, columns = values.shape[1:3]
    padded = F.pad(values, (0, 0, 1, 1, 1, 1))
    parts = [padded[:, r : r + rows, c : c + columns] for r, c in OPPOSITE]
    return torch.stack(parts, dim=-2)


def _solve(
    matrix: Float[Tensor, "*N 3"], diagonal: Float[Tensor, "*N"], right: Float[Tensor, "*N 2"]
) -> Float[Tensor, "*N 2"]:
    """Return x of (H + t I) x = r, for t above 0 and H without negative eigenvalues."""
    xx, xy, yy = matrix.unbind(dim=-1)
    # For a singular H and a small t, the determinant of the sum would be lost by rounding.
    determinant = (xx * yy - xy * xy).clamp_min(0) + diagonal * (xx + yy + diagonal)
    xx, yy = xx + diagonal, yy + diagonal
    x, y = right.unbind(dim=-1)
    return torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / determinant.unsqueeze(-1)
