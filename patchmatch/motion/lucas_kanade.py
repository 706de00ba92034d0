"""Lucas-Kanade registration step, from sums over subwindows."""

import torch
from jaxtyping import Float
from torch import Tensor

DAMPING = 1e-3  # of sums of squared gradients: without texture there is no step
LONGEST = 1.0  # pixels of a step, in x or in y
NOTHING, PLENTY = 1.2, 1.5  # gradients in units of the noise's: none to follow, and enough


def registration_step(
    tensor: Float[Tensor, "*#N C 3"],
    mismatch: Float[Tensor, "*#N C 2"],
    weights: Float[Tensor, "*#N C"],
    noise: Float[Tensor, "*#N C"] | None = None,
    damping: float = DAMPING,
    longest: float = LONGEST,
) -> Float[Tensor, "*N 2"]:
    """Return by how much a displacement should change, by weighted least squares.

    It is the inverse compositional form (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV
    2004): the gradients are those of frame 0 and stay the same from step to step.

    Args:
        tensor: Means over each cell of the products of gradients: xx, xy, yy.
        mismatch: Means over each cell of gradient times (frame 1 there - frame 0), in x and y.
        weights: How far each cell is trusted, at least 0.
        noise: What noise alone adds to xx + yy in each cell. Where the gradients are little more,
            there is nothing to follow, and no step.
        damping: Added to xx and yy: without texture there is no step.
        longest: Pixels; a step is no longer in x or in y.
    """
    xx, xy, yy = (weights.unsqueeze(-1) * tensor).sum(dim=-2).unbind(dim=-1)
    x, y = (weights.unsqueeze(-1) * mismatch).sum(dim=-2).unbind(dim=-1)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    step = torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / determinant.unsqueeze(-1)
    if noise is not None:
        loudness = (xx + yy) / ((weights * noise).sum(dim=-1) + 1e-9)
        step = step * ((loudness - NOTHING) / (PLENTY - NOTHING)).clamp(0, 1).unsqueeze(-1)
    return -step.clamp(-longest, longest)


def geman_mcclure(squared: Tensor, scale: Tensor | float) -> Tensor:
    """Return the weights of Geman and McClure's robust estimator, a quarter at the scale.

    Args:
        squared: Squared residuals.
        scale: Residual at which the weight is a quarter.
    """
    return (1 + squared / scale**2) ** -2
