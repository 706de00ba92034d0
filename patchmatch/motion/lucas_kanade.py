"""Lucas-Kanade registration step, from sums over subwindows."""

import torch
from jaxtyping import Float
from torch import Tensor

DAMPING = 1e-3  # added to the sums of squared gradients
MAX_STEP = 1.0  # pixels, in x or y
MIN_SNR, FULL_SNR = 1.2, 1.5  # squared gradients over those of noise: no step, and a full one


def registration_step(
    structure_tensor: Float[Tensor, "*#N C 3"],
    gradient_residual: Float[Tensor, "*#N C 2"],
    weights: Float[Tensor, "*#N C"],
    noise: Float[Tensor, "*#N C"] | None = None,
    damping: float = DAMPING,
    max_step: float = MAX_STEP,
) -> Float[Tensor, "*N 2"]:
    """Return the update of a displacement, by weighted least squares.

    This is the inverse compositional form (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV
    2004): the gradients are those of frame 0 and stay the same from step to step.

    Args:
        structure_tensor: Means of the gradient products xx, xy, yy over each subwindow.
        gradient_residual: Means of gradient times (warped frame 1 - frame 0) over each subwindow,
            in x and y.
        weights: Weight of each subwindow, at least 0.
        noise: Contribution of noise to xx + yy in each subwindow. The step vanishes where the
            gradients are hardly larger.
        damping: Added to xx and yy, so that there is no step without texture.
        max_step: Largest step in x and y, in pixels.
    """
    xx, xy, yy = (weights.unsqueeze(-1) * structure_tensor).sum(dim=-2).unbind(dim=-1)
    x, y = (weights.unsqueeze(-1) * gradient_residual).sum(dim=-2).unbind(dim=-1)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    step = torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / determinant.unsqueeze(-1)
    if noise is not None:
        snr = (xx + yy) / ((weights * noise).sum(dim=-1) + 1e-9)
        step = step * ((snr - MIN_SNR) / (FULL_SNR - MIN_SNR)).clamp(0, 1).unsqueeze(-1)
    return -step.clamp(-max_step, max_step)


def geman_mcclure(squared: Tensor, scale: Tensor | float) -> Tensor:
    """Return the weights of Geman and McClure's robust estimator, a quarter at the scale.

    Args:
        squared: Squared residuals.
        scale: Residual at which the weight is a quarter.
    """
    return (1 + squared / scale**2) ** -2
