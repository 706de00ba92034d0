"""Motion of the camera, fitted robustly to the displacements of the blocks."""

import torch
from jaxtyping import Float
from torch import Tensor


def camera_motion(
    points: Float[Tensor, "N 2"],
    displacement: Float[Tensor, "N 2"],
    weights: Float[Tensor, " N"],
    steps: int = 30,
) -> Float[Tensor, "N 2"]:
    """Return an affine motion fitted to the displacements of most of the scene.

    Iteratively reweighted least squares minimise the absolute deviations, so that independently
    moving objects hardly influence the fit. Fewer than six points determine a translation only.

    Args:
        points: Where each displacement was measured, x and y in pixels.
        displacement: dx and dy in pixels.
        weights: Weight of each displacement, at least 0.
        steps: Number of iterations.

    Returns:
        Motion of the camera at each point, dx and dy in pixels.
    """
    if not len(points):
        return torch.zeros_like(displacement)
    centred = (points - points.mean(dim=0)) / points.std(dim=0, correction=0).clamp_min(1)
    design = torch.cat([torch.ones_like(centred[:, :1]), centred], dim=1).double()  # (N, 3)
    if len(points) < 6:
        design = design[:, :1]
    target, share = displacement.double(), weights.double()
    fitted = torch.zeros_like(target)
    damping = 1e-6 * torch.eye(design.shape[1], dtype=torch.double, device=design.device)
    for _ in range(steps):
        weighted = design * share[:, None]
        solution = torch.linalg.solve(weighted.T @ design + damping, weighted.T @ target)
        fitted = design @ solution
        share = weights / ((target - fitted).norm(dim=1) + 0.05)
    return fitted.to(displacement.dtype)
