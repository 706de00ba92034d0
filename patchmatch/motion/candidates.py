"""Candidate displacements of each block, without duplicates."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.motion.neighbours import EIGHT, FOUR, neighbours

DOMINANT_DISTANCE = 1.0  # pixels from the dominant displacement
MIN_DOMINANT_SHARE = 0.05  # of the blocks within that distance, for a dominant displacement
# Candidates whose dx and dy both differ by less, in pixels, are duplicates:
DUPLICATE_DISTANCE = 0.15
EXACT_DISTANCE = 0.1  # if one of them is zero or dominant motion
VOTING_DISTANCE = 0.5  # among the candidates of a vote
RUNNER_UP_DISTANCE = 0.75  # pixels between the best candidate and the runner-up, at least
RUNNER_UP_MARGIN = 5.0  # difference of their logits, at most


class Proposals(NamedTuple):
    """Candidate displacements of all blocks, in pixels of a level.

    Attributes:
        candidates: (B, R, C, K, 2); the first of each block is zero motion.
        unique: (B, R, C, K) bool, True for the first candidates, False for duplicates, which
            follow them.
        dominant: (B, 2), the displacement that most blocks share.
    """

    candidates: Float[Tensor, "B R C K 2"]
    unique: Bool[Tensor, "B R C K"]
    dominant: Float[Tensor, "B 2"]


def propose(
    candidates: Float[Tensor, "B R C _ 2"], level: int, count: int | None = None
) -> Proposals:
    """Return the candidates of each block on a level (propagation of PatchMatch).

    In this order: zero motion, the dominant motion (not at full resolution), the own candidates,
    and the best candidate of each neighbour.

    Args:
        candidates: In pixels of the level, the best first.
        level: Pyramid level, 0 for full resolution.
        count: Largest number of candidates of a block; None for all.
    """
    best, dominant = candidates[..., 0, :], dominant_motion(candidates)
    exact = [torch.zeros_like(candidates[..., :1, :])]
    if level:
        exact.append(dominant[:, None, None, None].expand_as(exact[0]))
    around = neighbours(best, EIGHT if level else FOUR)
    proposed = torch.cat([*exact, candidates, around], dim=-2)
    limits = proposed.new_full((proposed.shape[-2],), DUPLICATE_DISTANCE)
    limits[: len(exact)] = EXACT_DISTANCE
    is_duplicate = duplicates(proposed, torch.minimum(limits[:, None], limits))
    return Proposals(*unique_first(proposed, is_duplicate, count), dominant)


def dominant_motion(candidates: Float[Tensor, "B R C K 2"]) -> Float[Tensor, "B 2"]:
    """Return the median of the first candidates of all blocks, the lower one of two.

    It is 0 if few blocks are near it: in a pair of noise images it would be the only nonzero
    displacement that all blocks consider, and on which they could agree.
    """
    first = candidates[..., 0, :].flatten(1, 2)
    ranked = first.sort(dim=1).values  # ``median`` cannot be exported to ONNX
    middle = ranked[:, (first.shape[1] - 1) // 2, None]
    near = (first - middle).norm(dim=-1, keepdim=True) < DOMINANT_DISTANCE
    share = near.to(first).mean(dim=1, keepdim=True)
    return torch.where(share > MIN_DOMINANT_SHARE, middle, 0)[:, 0]


def most_probable(
    candidates: Float[Tensor, "B R C K 2"], logits: Float[Tensor, "B R C K"]
) -> Float[Tensor, "B R C 1 2"]:
    """Return the candidate of each block with the highest logit."""
    first = logits.argmax(dim=-1)[..., None, None]
    return candidates.gather(-2, first.expand(*first.shape[:-1], 2))


def top2(
    candidates: Float[Tensor, "B R C K 2"], logits: Float[Tensor, "B R C K"]
) -> Float[Tensor, "B R C 2 2"]:
    """Return the best candidate of each block and the runner-up.

    The runner-up is the best of those that differ from the first: in a block on a motion boundary
    both may be right. Without a probable one, the best candidate is repeated.
    """
    best = most_probable(candidates, logits)
    near = (candidates - best).norm(dim=-1) <= RUNNER_UP_DISTANCE
    others = logits.masked_fill(near, -torch.inf)
    margin = logits.amax(dim=-1) - others.amax(dim=-1)
    is_improbable = (margin > RUNNER_UP_MARGIN)[..., None, None]
    runner_up = torch.where(is_improbable, best, most_probable(candidates, others))
    return torch.cat([best, runner_up], dim=-2)


def unique_first(
    ranked: Float[Tensor, "*N K 2"], is_duplicate: Bool[Tensor, "*N K"], count: int | None = None
) -> tuple[Float[Tensor, "*N M 2"], Bool[Tensor, "*N M"]]:
    """Return the first ``count`` candidates, duplicates last, and which of them are unique."""
    index = torch.arange(is_duplicate.shape[-1], device=is_duplicate.device)
    order = (is_duplicate * len(index) + index).argsort(dim=-1)[..., :count]
    sorted_candidates = ranked.gather(-2, order.unsqueeze(-1).expand(*order.shape, 2))
    return sorted_candidates, ~is_duplicate.gather(-1, order)


def duplicates(
    ranked: Float[Tensor, "*N K 2"], limit: Float[Tensor, "K K"] | float
) -> Bool[Tensor, "*N K"]:
    """Return which candidates differ by less than ``limit``, in x and y, from an earlier one."""
    difference = (ranked.unsqueeze(-2) - ranked.unsqueeze(-3)).abs().amax(dim=-1)
    count = ranked.shape[-2]
    earlier = torch.ones(count, count, dtype=torch.bool, device=ranked.device).tril(-1)
    return ((difference < limit) & earlier).any(dim=-1)
