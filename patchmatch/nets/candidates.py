"""Which displacements a block considers, and which of them differ."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from patchmatch.ops import EIGHT, FOUR, neighbours

NEAR, FEW = 1.0, 0.05  # pixels from the median, and the share of blocks that must be so near
APART = 0.5  # pixels, in x or in y: candidates that are nearer are the same one


def offer(candidates: Float[Tensor, "B R C K 2"], level: int) -> Float[Tensor, "B R C _ 2"]:
    """Return the candidates of each block: its own, no motion at all, its neighbours' best.

    Above the frame itself the median of all blocks comes before the neighbours.
    """
    best = candidates[..., 0, :]
    parts = [candidates, torch.zeros_like(candidates[..., :1, :])]
    if level:
        parts.append(common(candidates).expand(-1, *best.shape[1:3], -1, -1))
    parts.append(neighbours(best, EIGHT if level else FOUR))
    return torch.cat(parts, dim=-2)


def common(candidates: Float[Tensor, "B R C K 2"]) -> Float[Tensor, "B 1 1 1 2"]:
    """Return the median of the first candidates of all blocks, the lower one of two.

    It is none, 0, where hardly a block is near it: in frames of noise alone, it would be the one
    displacement but rest that all blocks consider, and could agree on.
    """
    first = candidates[..., 0, :].flatten(1, 2)
    ranked = first.sort(dim=1).values  # as ``median`` has no form in ONNX
    middle = ranked[:, (first.shape[1] - 1) // 2, None]
    near = ((first - middle).norm(dim=-1, keepdim=True) < NEAR).to(first).mean(dim=1, keepdim=True)
    return torch.where(near > FEW, middle, 0)[:, None, None]


def distinct_best(
    candidates: Float[Tensor, "B R C K 2"], logits: Float[Tensor, "B R C K"], count: int
) -> Float[Tensor, "B R C count 2"]:
    """Return the likeliest candidates, the best first, no two within half a pixel."""
    order = logits.detach().argsort(dim=-1, descending=True)
    return distinct(
        candidates.detach().gather(-2, order.unsqueeze(-1).expand_as(candidates)), count
    )


def distinct(ranked: Float[Tensor, "B R C K 2"], count: int) -> Float[Tensor, "B R C count 2"]:
    """Return the first candidates that are half a pixel apart, in order, repeated ones last."""
    first = fresh_first(repeated(ranked))[..., :count]
    return ranked.gather(-2, first.unsqueeze(-1).expand(*first.shape, 2))


def fresh_first(again: Bool[Tensor, "*N K"]) -> Int[Tensor, "*N K"]:
    """Return the order of candidates in which those that are ``repeated`` come last."""
    place = torch.arange(again.shape[-1], device=again.device)  # no two are sorted alike
    return (again * len(place) + place).argsort(dim=-1)


def repeated(ranked: Float[Tensor, "*N K 2"]) -> Bool[Tensor, "*N K"]:
    """Tell which candidates are nearer than half a pixel, in x and in y, to one before them."""
    apart = (ranked.unsqueeze(-2) - ranked.unsqueeze(-3)).abs().amax(dim=-1)
    count = ranked.shape[-2]
    before = torch.ones(count, count, dtype=torch.bool, device=ranked.device).tril(-1)
    return ((apart < APART) & before).any(dim=-1)
