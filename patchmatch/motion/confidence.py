"""Features that predict the confidence of a displacement and the visibility of a block."""

import torch
from jaxtyping import Float
from torch import Tensor

from patchmatch.motion.neighbours import EIGHT, neighbours

EVIDENCE = 13  # features of each block


def match_evidence(
    displacement: Float[Tensor, "B R C 2"],
    residual: Float[Tensor, "B R C subwindows"],
    zero_residual: Float[Tensor, "B R C subwindows"],
    texture: Float[Tensor, "B R C subwindows"],
    noise: Float[Tensor, "B R C subwindows"],
    candidates: Float[Tensor, "B R C K 2"],
    probability: Float[Tensor, "B R C K"],
) -> Float[Tensor, "B R C 10"]:
    """Return features of the residual of a block and of the agreement on its displacement.

    Args:
        displacement: Displacement of each block in pixels.
        residual: Residual of the displacement in each subwindow.
        zero_residual: Residual of zero motion.
        texture: ``Matching.texture``.
        noise: ``Matching.noise``.
        candidates: Candidates of the last vote.
        probability: Their shares of the votes.
    """
    spread = (candidates - displacement.unsqueeze(-2)).norm(dim=-1)
    difference = (neighbours(displacement) - displacement.unsqueeze(-2)).norm(dim=-1)
    columns = [
        residual.mean(dim=-1), residual.amax(dim=-1), residual.amin(dim=-1),
        (zero_residual - residual).mean(dim=-1), noise.mean(dim=-1),
        texture.mean(dim=-1), texture.amax(dim=-1),
        (probability * spread).sum(dim=-1).log1p(),
        (probability * (spread < 1)).sum(dim=-1),
        difference.mean(dim=-1).log1p(),
    ]  # fmt: skip
    return torch.stack(columns, dim=-1)


def position_evidence(
    displacement: Float[Tensor, "B R C 2"],
    residual: Float[Tensor, "B R C subwindows"],
    block: int,
    height: int,
    width: int,
) -> Float[Tensor, "B R C 3"]:
    """Return features of the position of each block in frame 1, for its visibility.

    The share of the block that is inside the frame, the largest share that one of the eight
    neighbours covers, and the largest product of a share with the difference of the mean
    residuals: of two blocks that cover each other, that with the larger residual is occluded.

    Args:
        displacement: Displacement of each block in pixels.
        residual: Residual of the displacement in each subwindow.
        block: Side of a block in pixels.
        height: Height of the frame.
        width: Width of the frame.
    """
    rows, columns = displacement.shape[1:3]
    across, down = (  # ONNX requires equal types
        block * torch.arange(count, device=displacement.device).to(displacement)
        for count in (columns, rows)
    )
    x, y = across.expand(rows, columns), down[:, None].expand(rows, columns)
    # The last blocks end at the border; their overlap with others there is no occlusion.
    left = x.clamp_max(width - block) + displacement[..., 0]
    top = y.clamp_max(height - block) + displacement[..., 1]
    across = ((left + block).clamp_max(width) - left.clamp_min(0)).clamp_min(0)
    down = ((top + block).clamp_max(height) - top.clamp_min(0)).clamp_min(0)
    left, top = (x + displacement[..., 0]), (y + displacement[..., 1])
    mean = residual.mean(dim=-1)
    values = torch.stack([left, top, mean, x.expand_as(left), y.expand_as(left)], dim=-1)
    others, values = neighbours(values, EIGHT), values.unsqueeze(-2)
    shared = (1 - (others - values)[..., :2].abs() / block).clamp_min(0).prod(dim=-1)
    is_itself = (others[..., 3:] == values[..., 3:]).all(dim=-1)  # replicated border
    shared = shared.masked_fill(is_itself, 0)
    better = shared * (values[..., 2] - others[..., 2])
    inside = across * down / block**2
    return torch.stack([inside, shared.amax(dim=-1), better.amax(dim=-1).clamp_min(0)], dim=-1)
