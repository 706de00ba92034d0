"""Tensor operations of the scorer: features of candidates, and message passing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.motion.candidates import Offered
from patchmatch.motion.neighbours import neighbours

SMALLEST_TRUST = 0.1  # added to the neighbours': where nobody is trusted, nobody is heard


def cell_votes(
    residual: Float[Tensor, "B R C K cells"],
    fresh: Bool[Tensor, "B R C K"],
    texture: Float[Tensor, "B R C cells"],
    noise: Float[Tensor, "B R C cells"],
    shares: Float[Tensor, " cells"],
    weight: Float[Tensor, "H 4"],
    bias: Float[Tensor, " H"],
) -> Float[Tensor, "B R C K H"]:
    """Return the means of a layer of rectified units over the cells.

    Args:
        residual: As ``Matching`` tells it.
        fresh: Which candidates are judged.
        texture: As ``Matching`` has it.
        noise: Likewise.
        shares: What each cell counts.
        weight: What the units make of a residual, of how far it is above the least one of those
            that are judged, of the texture and of the noise.
        bias: Of the units.
    """
    least = residual.masked_fill(~fresh.unsqueeze(-1), torch.inf).amin(dim=-2, keepdim=True)
    known = torch.stack([texture, noise], dim=-1) @ weight[:, 2:].T + bias  # (B, R, C, cells, H)
    seen = torch.stack([residual, residual - least], dim=-1) @ weight[:, :2].T
    return shares @ (seen + known.unsqueeze(-3)).relu()


def regard(
    offered: Offered,
    residual: Tensor,
    texture: Tensor,
    noise: Tensor,
    shares: Tensor,
    level: int,
) -> Tensor:
    """Return what a whole block knows of each candidate, (B, R, C, K, 5).

    Means of the residuals, the texture and the noise, and log(1 + length), in pixels of the
    frame, of the displacement and of its difference to the common one.

    Args:
        offered: The candidates.
        residual: (B, R, C, K, cells).
        texture: (B, R, C, cells), as ``Matching`` has it.
        noise: (B, R, C, cells), likewise.
        shares: (cells,), what each of them counts.
        level: Level of the pyramid.
    """
    both = offered.candidates, offered.candidates - offered.common[:, None, None, None]
    lengths = [(c.norm(dim=-1) * 2**level).log1p() for c in both]
    means = [(x @ shares).unsqueeze(-1).expand_as(lengths[0]) for x in (texture, noise)]
    return torch.stack([residual @ shares, *means, *lengths], dim=-1)


class Messages:
    """What the four neighbours say to each candidate.

    Args:
        candidates: (B, R, C, K, 2).
        trust: (B, R, C, 1), how far each block is trusted.
        reaches: M distances at which a displacement counts a half.
    """

    def __init__(self, candidates: Tensor, trust: Tensor, reaches: tuple[float, ...]) -> None:
        self.reaches = len(reaches)
        self.near = agreement(candidates, reaches)  # (B, R, C, M K, 4 K)
        trusts = neighbours(trust)  # (B, R, C, 4, 1)
        self.shares = trusts / (trusts.sum(dim=-2, keepdim=True) + SMALLEST_TRUST)

    def support(self, logits: Tensor) -> Tensor:
        """Return how much is believed near each candidate, (B, R, C, K, 2 M).

        Args:
            logits: (B, R, C, K), of each block's probabilities.

        Returns:
            For every reach by trusted neighbours, and by all of them alike.
        """
        believed = neighbours(logits.softmax(dim=-1))  # (B, R, C, 4, K)
        both = torch.stack([believed * self.shares, believed / 4], dim=-1).flatten(3, 4)
        found = (self.near @ both).unflatten(3, (self.reaches, -1))  # (B, R, C, M, K, 2)
        return found.transpose(3, 4).flatten(4)


def agreement(candidates: Tensor, reaches: tuple[float, ...]) -> Tensor:
    """Return how near each candidate is to each of the four neighbours', (M K, 4 K) a block.

    One for equal displacements, a half for those one of M reaches apart.
    """
    around = neighbours(candidates.flatten(3)).unflatten(-1, candidates.shape[-2:])
    around = around.flatten(3, 4)  # (B, R, C, 4 K, 2)
    x, y = (candidates.unsqueeze(-2) - around.unsqueeze(-3)).unbind(dim=-1)
    squared = x * x + y * y  # (B, R, C, K, 4 K)
    return torch.cat([(1 + squared / reach**2).reciprocal() for reach in reaches], dim=-2)
