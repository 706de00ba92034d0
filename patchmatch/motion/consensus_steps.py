"""Tensor operations of voting and smoothing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.motion.candidates import APART, fresh_first, repeated
from patchmatch.motion.lucas_kanade import geman_mcclure
from patchmatch.motion.neighbours import EIGHT, neighbours

ROUNDS = 4  # in which answers are drawn together
TIED = 1e-4  # where nothing is seen and nobody is near, an answer stays what it was
PRICE = 0.05  # of the logarithm of a displacement: where nothing is seen, nothing moves
#: places in the 3x3 square around a block, opposite ones one after the other
OPPOSITE = ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (2, 2), (0, 2), (2, 0))


def answers_around(
    answer: Float[Tensor, "B R C 2"], rival: Float[Tensor, "B R C 2"]
) -> tuple[Float[Tensor, "B R C 10 2"], Bool[Tensor, "B R C 10"], Float[Tensor, "B R C 2"]]:
    """Return each block's answer, the neighbours' and its rival, and which repeat no other one.

    Those come first; the rest are the block's own once more. Last is the rival, where nobody else
    found it; elsewhere the block's own.
    """
    own = answer.unsqueeze(-2)
    offered = torch.cat([own, neighbours(answer, EIGHT), rival.unsqueeze(-2)], dim=-2)
    again = repeated(offered, APART)
    alone = torch.where(again[..., -1:], answer, rival)
    offered, fresh = fresh_first(offered, again)
    return torch.where(fresh.unsqueeze(-1), offered, own), fresh, alone


def ballot(
    offered: Tensor,
    fresh: Tensor,
    alone: Tensor,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    formula: Tensor,
    layers: nn.Sequential,
) -> Tensor:
    """Return the share of the cells' votes that each displacement gets, (B, R, C, K).

    Args:
        offered: (B, R, C, K, 2), the block's own first.
        fresh: (B, R, C, K), which of them may be voted for: the first ones.
        alone: (B, R, C, 2), a rival that only the block itself found, or its own answer.
        residual: (B, R, C, K, cells).
        texture: (B, R, C, cells), as ``Matching`` has it.
        noise: (B, R, C, cells), likewise.
        formula: (4,), logarithms of what a difference counts, of what the own answer gets on top,
            of by how much noise dulls the difference, and of what a rival is behind.
        layers: Network of a vote, of its residual, of how far that and the whole block's are above
            the own answer's, of texture and noise, and of whether it is the own one.
    """
    sharpness, bonus, dull, behind = formula.exp().unbind()
    noise = noise.unsqueeze(-2).expand_as(residual)
    own = torch.zeros_like(residual)
    own[..., :1, :] = 1
    whole = residual.mean(dim=-1, keepdim=True)
    seen = [
        residual,
        residual - residual[..., :1, :],
        (whole - whole[..., :1, :]).expand_as(residual),
        texture.unsqueeze(-2).expand_as(residual),
        noise,
        own,
    ]
    lone = (offered == alone.unsqueeze(-2)).all(dim=-1)
    lone = lone & (offered != offered[..., :1, :]).any(dim=-1)
    price = PRICE * offered.norm(dim=-1).log1p().unsqueeze(-1) + behind * lone.unsqueeze(-1)
    logits = bonus * own - sharpness / (1 + dull * noise) * residual - price
    logits = logits + layers(torch.stack(seen, dim=-1)).squeeze(-1)
    logits = logits.masked_fill(~fresh.unsqueeze(-1), -torch.inf)
    return logits.softmax(dim=-2).mean(dim=-1)


def draw_together(
    answer: Float[Tensor, "B R C 2"],
    held: Float[Tensor, "B R C 3"],
    firm: Float[Tensor, "B R C 2"],
    voice: Float[Tensor, "B R C"],
    reach: Float[Tensor, " 2"],
) -> Float[Tensor, "B R C 2"]:
    """Draw the answers of neighbours together.

    Args:
        answer: In pixels.
        held: By what an answer is held in its place: a symmetric matrix xx, xy, yy.
        firm: What a neighbour counts, and what lies between two opposite ones.
        voice: Of each block; between two it is their product.
        reach: Pixels at which a neighbour counts a quarter, and what lies between.
    """
    voices = _around(voice.unsqueeze(-1))[..., 0]  # (B, R, C, 8), none beyond the border
    loud = torch.cat(
        [firm[..., :1] * voices[..., :4], firm[..., 1:] * voices[..., ::2] * voices[..., 1::2]],
        dim=-1,
    )
    reaches = reach.repeat_interleave(4)
    found = answer
    for _ in range(ROUNDS):
        others = _around(found)
        between = (others[..., ::2, :] + others[..., 1::2, :]) / 2
        places = torch.cat([others[..., :4, :], between], dim=-2)  # (B, R, C, 8, 2)
        apart = (places - found.unsqueeze(-2)).square().sum(dim=-1)
        pull = loud * geman_mcclure(apart, reaches)
        drawn = (pull.unsqueeze(-1) * (places - answer.unsqueeze(-2))).sum(dim=-2)
        found = answer + _solved(held, pull.sum(dim=-1) + TIED, drawn)
    return found


def _around(values: Float[Tensor, "B R C D"]) -> Float[Tensor, "B R C 8 D"]:
    rows, columns = values.shape[1:3]
    padded = F.pad(values, (0, 0, 1, 1, 1, 1))
    parts = [padded[:, r : r + rows, c : c + columns] for r, c in OPPOSITE]
    return torch.stack(parts, dim=-2)


def _solved(
    held: Float[Tensor, "*N 3"], total: Float[Tensor, "*N"], right: Float[Tensor, "*N 2"]
) -> Float[Tensor, "*N 2"]:
    """Return x of (H + t I) x = r, for t above 0 and H without negative eigenvalues."""
    xx, xy, yy = held.unbind(dim=-1)
    # of an edge, beside which t is nothing, the determinant of the sum would be lost by rounding
    whole = (xx * yy - xy * xy).clamp_min(0) + total * (xx + yy + total)
    xx, yy = xx + total, yy + total
    x, y = right.unbind(dim=-1)
    return torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / whole.unsqueeze(-1)
