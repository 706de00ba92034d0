"""Features that predict the confidence of a displacement and the visibility of a block."""

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.motion.neighbours import EIGHT, neighbours

EVIDENCE = 13  # numbers for each block


def answer_evidence(
    answer: Float[Tensor, "B R C 2"],
    residual: Float[Tensor, "B R C cells"],
    at_rest: Float[Tensor, "B R C cells"],
    texture: Float[Tensor, "B R C cells"],
    noise: Float[Tensor, "B R C cells"],
    offered: Float[Tensor, "B R C K 2"],
    probability: Float[Tensor, "B R C K"],
) -> Float[Tensor, "B R C 10"]:
    """Return what speaks for an answer: how well it fits, and how sure and how common it is.

    Args:
        answer: What was settled on.
        residual: What is left under it in each cell.
        at_rest: What is left without motion.
        texture: As ``Matching`` has it.
        noise: Likewise.
        offered: Among what was chosen.
        probability: That each is right.
    """
    spread = (offered - answer.unsqueeze(-2)).norm(dim=-1)
    columns = [
        residual.mean(dim=-1), residual.amax(dim=-1), residual.amin(dim=-1),
        (at_rest - residual).mean(dim=-1), noise.mean(dim=-1),
        texture.mean(dim=-1), texture.amax(dim=-1),
        (probability * spread).sum(dim=-1).log1p(),
        (probability * (spread < 1)).sum(dim=-1),
        (neighbours(answer) - answer.unsqueeze(-2)).norm(dim=-1).mean(dim=-1).log1p(),
    ]  # fmt: skip
    return torch.stack(columns, dim=-1)


def place_evidence(
    answer: Float[Tensor, "B R C 2"],
    residual: Float[Tensor, "B R C cells"],
    block: int,
    height: int,
    width: int,
) -> Float[Tensor, "B R C 3"]:
    """Return what speaks for the place in frame 1 to which an answer takes a block.

    How much of the block is inside the frame there, how much of it the one of eight neighbours
    covers that covers most, and by how much a neighbour that covers it fits better: one of the two
    is behind the other.

    Args:
        answer: What was settled on.
        residual: What is left under it in each cell.
        block: Side of a block in pixels.
        height: Of the frame.
        width: Of the frame.
    """
    rows, columns = answer.shape[1:3]
    across, down = (  # of one type with the answers, as ONNX wants it
        block * torch.arange(count, device=answer.device).to(answer) for count in (columns, rows)
    )
    x, y = across.expand(rows, columns), down[:, None].expand(rows, columns)
    # the last blocks end at the border; that they overlap others there covers nothing
    left = x.clamp_max(width - block) + answer[..., 0]
    top = y.clamp_max(height - block) + answer[..., 1]
    across = ((left + block).clamp_max(width) - left.clamp_min(0)).clamp_min(0)
    down = ((top + block).clamp_max(height) - top.clamp_min(0)).clamp_min(0)
    left, top = (x + answer[..., 0]), (y + answer[..., 1])
    mean = residual.mean(dim=-1)
    known = torch.stack([left, top, mean, x.expand_as(left), y.expand_as(left)], dim=-1)
    others, known = neighbours(known, EIGHT), known.unsqueeze(-2)
    shared = (1 - (others - known)[..., :2].abs() / block).clamp_min(0).prod(dim=-1)
    itself = (others[..., 3:] == known[..., 3:]).all(dim=-1)  # beyond the border
    shared = shared.masked_fill(itself, 0)
    better = shared * (known[..., 2] - others[..., 2])
    inside = across * down / block**2
    return torch.stack([inside, shared.amax(dim=-1), better.amax(dim=-1).clamp_min(0)], dim=-1)
