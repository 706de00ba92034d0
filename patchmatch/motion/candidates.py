"""Candidate displacements of each block, without duplicates."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.motion.neighbours import EIGHT, FOUR, neighbours

NEARBY, FEW = 1.0, 0.05  # pixels from the median, and the share of blocks that must be so near
# pixels, in x or in y: nearer than that, two displacements are the same one
SAME = 0.15  # to a block that considers both
EXACT = 0.1  # if one of them is rest or the common one, which are exact where they are right
APART = 0.5  # among answers that are voted for
RIVAL = 0.75  # pixels from the likeliest candidate: one farther off may be its rival
UNLIKELY = 5.0  # by how much its logit may be lower


class Offered(NamedTuple):
    """What blocks consider, in pixels of a level.

    Attributes:
        candidates: (B, R, C, K, 2), the first one of each block is rest.
        fresh: (B, R, C, K) bool, which are judged: the first ones. The others repeat one of them.
        common: (B, 2), the displacement that most blocks share.
    """

    candidates: Float[Tensor, "B R C K 2"]
    fresh: Bool[Tensor, "B R C K"]
    common: Float[Tensor, "B 2"]


def offer(candidates: Float[Tensor, "B R C _ 2"], level: int, count: int | None = None) -> Offered:
    """Return what each block considers.

    That is no motion at all, above the frame itself the common one, its own candidates and the
    neighbours' best, in this order.

    Args:
        candidates: In pixels of the level, the best first.
        level: Level of the pyramid.
        count: How many at most, or None for all.
    """
    best, everywhere = candidates[..., 0, :], common(candidates)
    exact = [torch.zeros_like(candidates[..., :1, :])]
    if level:
        exact.append(everywhere[:, None, None, None].expand_as(exact[0]))
    around = neighbours(best, EIGHT if level else FOUR)
    offered = torch.cat([*exact, candidates, around], dim=-2)
    limits = offered.new_full((offered.shape[-2],), SAME)
    limits[: len(exact)] = EXACT
    again = repeated(offered, torch.minimum(limits[:, None], limits))
    return Offered(*fresh_first(offered, again, count), everywhere)


def common(candidates: Float[Tensor, "B R C K 2"]) -> Float[Tensor, "B 2"]:
    """Return the median of the first candidates of all blocks, the lower one of two.

    It is none, 0, where hardly a block is near it: in frames of noise alone, it would be the one
    displacement but rest that all blocks consider, and could agree on.
    """
    first = candidates[..., 0, :].flatten(1, 2)
    ranked = first.sort(dim=1).values  # as ``median`` has no form in ONNX
    middle = ranked[:, (first.shape[1] - 1) // 2, None]
    near = (first - middle).norm(dim=-1, keepdim=True) < NEARBY
    share = near.to(first).mean(dim=1, keepdim=True)
    return torch.where(share > FEW, middle, 0)[:, 0]


def likeliest(
    candidates: Float[Tensor, "B R C K 2"], logits: Float[Tensor, "B R C K"]
) -> Float[Tensor, "B R C 1 2"]:
    """Return the likeliest candidate of each block."""
    first = logits.argmax(dim=-1)[..., None, None]
    return candidates.gather(-2, first.expand(*first.shape[:-1], 2))


def with_rival(
    candidates: Float[Tensor, "B R C K 2"], logits: Float[Tensor, "B R C K"]
) -> Float[Tensor, "B R C 2 2"]:
    """Return the likeliest candidate of each block and the likeliest of those apart from it.

    That one is its rival: where a block is of two things that move, both are right. The first one
    stands there again where no other is likely.
    """
    best = likeliest(candidates, logits)
    near = (candidates - best).norm(dim=-1) <= RIVAL
    others = logits.masked_fill(near, -torch.inf)
    behind = logits.amax(dim=-1) - others.amax(dim=-1)
    rival = torch.where((behind > UNLIKELY)[..., None, None], best, likeliest(candidates, others))
    return torch.cat([best, rival], dim=-2)


def fresh_first(
    ranked: Float[Tensor, "*N K 2"], again: Bool[Tensor, "*N K"], count: int | None = None
) -> tuple[Float[Tensor, "*N M 2"], Bool[Tensor, "*N M"]]:
    """Return the first ones, those last that are there ``again``, and which are not."""
    place = torch.arange(again.shape[-1], device=again.device)  # no two are sorted alike
    order = (again * len(place) + place).argsort(dim=-1)[..., :count]
    return ranked.gather(-2, order.unsqueeze(-1).expand(*order.shape, 2)), ~again.gather(-1, order)


def repeated(
    ranked: Float[Tensor, "*N K 2"], limit: Float[Tensor, "K K"] | float
) -> Bool[Tensor, "*N K"]:
    """Tell which candidates are nearer than a limit, in x and in y, to one before them."""
    apart = (ranked.unsqueeze(-2) - ranked.unsqueeze(-3)).abs().amax(dim=-1)
    count = ranked.shape[-2]
    before = torch.ones(count, count, dtype=torch.bool, device=ranked.device).tril(-1)
    return ((apart < limit) & before).any(dim=-1)
