"""Ground truth and losses of LoFTR's coarse and fine stage (Sun et al. 2021, section 3.5)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al. 2017)
NO_MATCH = -1  # of a cell without a true match
MIN_VARIANCE = 1e-3  # in squares of half a window: limits the weight of a fine match
TIE = 1e-6  # pixels per cell: of two cells at the same distance, the first is the match


def true_matches(
    flow: Float[Tensor, "B 2 H W"], valid: Bool[Tensor, "B H W"], stride: int
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N 2"]]:
    """Return the true match of each coarse cell of image 0; cell (x, y) is at pixel stride (x, y).

    A cell matches the cell of image 1 that is nearest to its corresponding point. Where several
    cells of image 0 have the same nearest cell, the closest one matches, so that no cell matches
    twice.

    Args:
        flow: Displacement from image 0 to image 1, which have the same size.
        valid: Pixels of image 0 that are visible in image 1.
        stride: Pixels between adjacent cells.

    Returns:
        The index of the matching cell of image 1, row by row, or ``NO_MATCH``; and the
        corresponding point of each cell, x and y in pixels of image 1.
    """
    height, width = flow.shape[-2:]
    rows, columns = -(-height // stride), -(-width // stride)
    y, x = torch.meshgrid(
        torch.arange(rows, device=flow.device), torch.arange(columns, device=flow.device),
        indexing="ij",
    )  # fmt: skip
    points0 = stride * torch.stack([x, y], dim=-1).flatten(0, 1).to(flow)  # (N, 2)
    points1 = points0 + flow[:, :, ::stride, ::stride].flatten(2).mT  # (B, N, 2)
    points1 = points1.nan_to_num(-1e6, -1e6, -1e6)
    nearest = (points1 / stride).round()
    distance = (points1 - stride * nearest).norm(dim=2)
    limits = nearest.new_tensor([columns, rows])
    known = valid[:, ::stride, ::stride].flatten(1) & ((nearest >= 0) & (nearest < limits)).all(2)
    column, row = nearest.clamp(torch.zeros_like(limits), limits - 1).long().unbind(dim=2)
    cell = row * columns + column  # (B, N)
    distance = distance.double() + TIE * torch.arange(distance.shape[1], device=distance.device)
    distance = distance.masked_fill(~known, torch.inf)
    closest = torch.full_like(distance, torch.inf).scatter_reduce(1, cell, distance, "amin")
    known = known & (distance <= closest.gather(1, cell))
    return cell.masked_fill(~known, NO_MATCH), points1


def coarse_loss(
    scores: Float[Tensor, "B N M"],
    matches: Int[Tensor, "B N"],
    alpha: float = ALPHA,
    gamma: float = GAMMA,
) -> Float[Tensor, ""]:
    """Return the focal loss of the dual-softmax probabilities of the true matches.

    The mean of -alpha (1 - p)^gamma log p over all true matches of the batch; p is the product of
    the softmax over image 1 and over image 0. Zero without true matches.

    Args:
        scores: Similarity of the cells of image 0 and of image 1, divided by the temperature.
        matches: Index of the matching cell of image 1, or ``NO_MATCH``.
        alpha: Weight of the loss.
        gamma: Exponent that reduces the weight of confident matches; 0 is the negative
            log-likelihood.
    """
    known = matches != NO_MATCH
    index = matches.clamp_min(0)
    true_scores = scores.gather(2, index[..., None])[..., 0]  # (B, N)
    log_norm0, log_norm1 = scores.logsumexp(dim=2), scores.logsumexp(dim=1)
    log_p = (2 * true_scores - log_norm0 - log_norm1.gather(1, index)).clamp_max(0)[known]
    loss = -alpha * (1 - log_p.exp()).clamp_min(1e-6) ** gamma * log_p
    return loss.sum() / known.sum().clamp_min(1)


def fine_loss(
    expected: Float[Tensor, "M 2"], variance: Float[Tensor, "M"], target: Float[Tensor, "M 2"]
) -> Float[Tensor, ""]:
    """Return the squared error of the expected positions, weighted by their inverse variances.

    The weights have the mean one and carry no gradient. Targets outside the window are ignored.

    Args:
        expected: Expectation of the heatmap in the window, x and y; the border is at -1 and 1.
        variance: Total variance of the heatmap, in the same unit squared.
        target: The true position in the same unit.
    """
    inside = (target.abs() <= 1).all(dim=1)
    weight = 1 / variance.detach()[inside].clamp_min(MIN_VARIANCE)
    weight = weight / weight.mean()
    error = (expected - target)[inside].square().sum(dim=1)
    return (weight * error).sum() / inside.sum().clamp_min(1)
