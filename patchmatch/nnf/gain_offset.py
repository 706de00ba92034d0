"""Brightness differences between two images: gain and offset of each channel."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from patchmatch.nnf.grid import flow_targets, gather_pixels

WINDOW = 7  # pixels: side of the windows whose means are compared, which suppresses noise
DARK, BRIGHT = 0.03, 0.97  # beyond these levels a sensor is assumed to be saturated
MAX_SATURATED = 0.1  # largest fraction of saturated pixels in a window
MIN_SPREAD = 2e-3  # lower bound of the estimated spread of the residuals
ITERATIONS = 15
MIN_EXPLAINED = 0.8  # fraction of the variance that gain and offset must explain
MAX_DEVIATION = 0.3  # largest relative deviation of a channel's gain from the median of channels
# Wrong matches alone reduce the residual a little, so the reduction must be larger than that.
MAX_RESIDUAL = 0.6  # median residual after correction, relative to the one before
GAIN_PRIOR = 1e-4  # variance in brightness below which the initial gain dominates


class GainOffset(NamedTuple):
    """The map of each channel from image 0 to image 1: gain * image0 + offset."""

    gain: Float[Tensor, "B C"]
    offset: Float[Tensor, "B C"]


def estimate_gain_offset(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> GainOffset:
    """Estimate gain and offset from matches, many of which may be wrong.

    Iteratively reweighted least squares with the weights of Geman and McClure (1987), initialised
    with the median ratio. The estimate is the identity where gain and offset explain too little of
    the difference. A channel whose gain differs too much from the other channels gets the median.

    Args:
        image0: In [0, 1].
        image1: In [0, 1].
        flow: The match of each pixel of image 0; matches outside image 1 are ignored.
        valid: Pixels to include; None for all.
    """
    height1, width1 = image1.shape[-2:]
    y, x = flow_targets(flow)  # (B, H, W)
    inside = (x >= 0) & (x < width1) & (y >= 0) & (y < height1)
    inside = (inside if valid is None else inside & valid).flatten(1)[:, None]  # (B, 1, N)
    targets = y.clamp(0, height1 - 1) * width1 + x.clamp(0, width1 - 1)
    mean0, unsaturated0 = (m.flatten(2) for m in _window_means(image0))  # (B, C, N)
    mean1, unsaturated1 = (
        gather_pixels(m, targets).flatten(2) for m in _window_means(image1)
    )  # (B, C, N)
    included = inside & unsaturated0 & unsaturated1
    log_ratio = (mean1.clamp_min(DARK) / mean0.clamp_min(DARK)).log()
    initial = _masked_median(log_ratio, included).exp().nan_to_num(1.0)[..., None]  # (B, C, 1)
    gain, offset, accepted = _robust_line(mean0, mean1, included, initial)
    median, channel = gain.median(dim=1, keepdim=True)  # (B, 1, 1)
    deviates = ~((gain - median).abs() < MAX_DEVIATION * median)
    gain = torch.where(deviates, median, gain)
    offset = torch.where(deviates, offset.gather(1, channel), offset)
    before, after = (
        _masked_median(residual.abs(), included).nansum(dim=1)  # (B,)
        for residual in (mean1 - mean0, mean1 - gain * mean0 - offset)
    )
    accepted &= (after < MAX_RESIDUAL * before)[:, None, None]
    return GainOffset(
        gain=torch.where(accepted, gain, 1.0)[..., 0],
        offset=torch.where(accepted, offset, 0.0)[..., 0],
    )


def apply_gain_offset(
    image: Float[Tensor, "B C H W"], gain_offset: GainOffset
) -> Float[Tensor, "B C H W"]:
    """Return gain * image + offset, clamped to [0, 1] as by a sensor."""
    gain, offset = (values[..., None, None] for values in gain_offset)  # each (B, C, 1, 1)
    return (image * gain + offset).clamp(0, 1)


def _robust_line(
    x: Tensor, y: Tensor, included: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return slope and intercept of y over x, (B, C, N), and whether they explain y, (B, C, 1)."""
    weight, mean_y, intercept, covariance, variance = included, y[..., :1], 0 * slope, slope, slope
    for _ in range(ITERATIONS):
        residual = y - slope * x - intercept
        spread = 1.4826 * _masked_median(residual.abs(), included)[..., None].clamp_min(MIN_SPREAD)
        weight = (1 + (residual / spread).square()).square().reciprocal() * included
        total = weight.sum(dim=2, keepdim=True).clamp_min(1e-6)
        mean_x, mean_y = ((weight * v).sum(dim=2, keepdim=True) / total for v in (x, y))
        covariance = (weight * (x - mean_x) * (y - mean_y)).sum(dim=2, keepdim=True)
        variance = (weight * (x - mean_x).square()).sum(dim=2, keepdim=True)
        slope = (covariance + GAIN_PRIOR * total * slope) / (variance + GAIN_PRIOR * total)
        intercept = mean_y - slope * mean_x
    variance_y = (weight * (y - mean_y).square()).sum(dim=2, keepdim=True)
    return slope, intercept, covariance.square() > MIN_EXPLAINED * variance * variance_y


def _window_means(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the window around every pixel, and where it is not saturated.

    The border of the image is replicated.
    """
    padded = F.pad(image, (WINDOW // 2,) * 4, mode="replicate")
    saturated = ((padded < DARK) | (padded > BRIGHT)).to(image)
    unsaturated = F.avg_pool2d(saturated, WINDOW, stride=1) < MAX_SATURATED
    return F.avg_pool2d(padded, WINDOW, stride=1), unsaturated


def _masked_median(values: Tensor, included: Tensor) -> Tensor:
    """Return the median over the included values of (B, C, N), (B, C); NaN without any."""
    return values.masked_fill(~included, torch.nan).nanmedian(dim=2).values
