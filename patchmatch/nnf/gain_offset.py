"""How much brighter or darker one image is than another of the same things."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

WINDOW = 7  # pixels: side of the windows whose means are compared, so that noise counts little
DARK, BRIGHT = 0.03, 0.97  # beyond, a sensor is cut off and tells nothing of the light
FEW = 0.1  # share of the pixels of a window that may be cut off
FINEST = 2e-3  # a difference that no estimate of the spread goes below
STEPS = 15
CORRELATED = 0.8  # share of the variance that the light must explain, or else it is not believed
ALIKE = 0.3  # share by which the gain of a channel may differ from the median of the channels
WORTH = 0.6  # of the median difference, what it must leave at most: wrong matches feign a small one
PRIOR = 1e-4  # variance in brightness below which a gain cannot be told


class Light(NamedTuple):
    """What makes image 0 as bright as image 1, channel by channel: gain * image0 + offset."""

    gain: Float[Tensor, "B C"]
    offset: Float[Tensor, "B C"]


def estimate_gain_offset(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Light:
    """Estimate the light from matches, many of which may be wrong.

    Regression by least squares with weights that fall with the residual (Geman and McClure, 1987),
    begun at the median ratio. Where that explains little, the light is taken to be the same: a
    light that differs by less than the matches do cannot be told from their faults. A channel whose
    gain is unlike the others' is given that of the median.

    Args:
        image0: In [0, 1].
        image1: In [0, 1].
        flow: Where each pixel of image 0 was found; matches outside of image 1 do not count.
        valid: The pixels that count; None for all.
    """
    height1, width1 = image1.shape[-2:]
    x = torch.arange(flow.shape[-1], device=flow.device) + flow[:, 0]  # (B, H, W)
    y = torch.arange(flow.shape[-2], device=flow.device)[:, None] + flow[:, 1]
    counts = (x >= 0) & (x < width1) & (y >= 0) & (y < height1)
    counts = (counts if valid is None else counts & valid).flatten(1)[:, None]  # (B, 1, N)
    place = (y.clamp(0, height1 - 1) * width1 + x.clamp(0, width1 - 1)).flatten(1)  # (B, N)
    place = place[:, None].expand(-1, image1.shape[1], -1)  # (B, C, N)
    seen0, told0 = (m.flatten(2) for m in _means(image0))  # (B, C, N)
    seen1, told1 = (m.flatten(2).gather(2, place) for m in _means(image1))
    told = counts & told0 & told1
    ratio = (seen1.clamp_min(DARK) / seen0.clamp_min(DARK)).log()
    start = _median(ratio, told).exp().nan_to_num(1.0)[..., None]  # (B, C, 1)
    gain, offset, sure = _robust_line(seen0, seen1, told, start)
    middle, which = gain.median(dim=1, keepdim=True)  # (B, 1, 1)
    odd = ~((gain - middle).abs() < ALIKE * middle)
    gain = torch.where(odd, middle, gain)
    offset = torch.where(odd, offset.gather(1, which), offset)
    apart = _median((seen1 - gain * seen0 - offset).abs(), told).nansum(dim=1)  # (B,)
    sure &= (apart < WORTH * _median((seen1 - seen0).abs(), told).nansum(dim=1))[:, None, None]
    return Light(torch.where(sure, gain, 1.0)[..., 0], torch.where(sure, offset, 0.0)[..., 0])


def apply_gain_offset(image: Float[Tensor, "B C H W"], light: Light) -> Float[Tensor, "B C H W"]:
    """Return an image under the light of another, cut off at black and white as a sensor is."""
    return (image * light.gain[..., None, None] + light.offset[..., None, None]).clamp(0, 1)


def _robust_line(
    x: Tensor, y: Tensor, counts: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return slope and intercept of y over x, (B, C, N), and whether they explain y, (B, C, 1)."""
    weight, mean_y, intercept, covariance, variance = counts, y[..., :1], 0 * slope, slope, slope
    for _ in range(STEPS):
        apart = y - slope * x - intercept
        spread = 1.4826 * _median(apart.abs(), counts)[..., None].clamp_min(FINEST)
        weight = (1 + (apart / spread).square()).square().reciprocal() * counts
        total = weight.sum(dim=2, keepdim=True).clamp_min(1e-6)
        mean_x, mean_y = ((weight * v).sum(dim=2, keepdim=True) / total for v in (x, y))
        covariance = (weight * (x - mean_x) * (y - mean_y)).sum(dim=2, keepdim=True)
        variance = (weight * (x - mean_x).square()).sum(dim=2, keepdim=True)
        slope = (covariance + PRIOR * total * slope) / (variance + PRIOR * total)
        intercept = mean_y - slope * mean_x
    of_y = (weight * (y - mean_y).square()).sum(dim=2, keepdim=True)
    return slope, intercept, covariance.square() > CORRELATED * variance * of_y


def _means(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the window around every pixel, and where a sensor could tell it.

    Beyond the border the image goes on as it ends.
    """
    padded = F.pad(image, (WINDOW // 2,) * 4, mode="replicate")
    cut_off = ((padded < DARK) | (padded > BRIGHT)).to(image)
    told = F.avg_pool2d(cut_off, WINDOW, stride=1) < FEW
    return F.avg_pool2d(padded, WINDOW, stride=1), told


def _median(values: Tensor, counts: Tensor) -> Tensor:
    """Return the median of those of (B, C, N) that count, (B, C); nan without any."""
    return values.masked_fill(~counts, torch.nan).nanmedian(dim=2).values
