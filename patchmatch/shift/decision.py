"""From the numbers of a network to an answer for every block of a frame pair."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchmatch.frames.results import Kind
from patchmatch.shift.ops import LARGER, SHIFTS, STILL

#: Length in pixels of the displacement of each class, 2 for ``larger``.
LENGTHS = torch.tensor([math.hypot(dx, dy) for dx, dy in SHIFTS] + [2.0])
ROUND_OFF = 2e-6  # variance: what float32 leaves of the energy of a flat area
FITTED_BELOW = 0.05  # residual over total variance of a block that a shift explains
FITTED_SHARE = 0.05  # of the blocks: fewer of them do not estimate the noise
FLAT_QUANTILE = 0.05  # of the least residuals, if no shift explains the scene
NOISE_FLOOR = 1.5e-5  # variance per feature map: about 1 gray level of 255, as from compression
NOISE_CEILING = 4.4e-3  # variance per feature map: white noise of about 7 gray levels per frame
EXCESS_WEIGHT = 0.25  # added share of the length, per factor of ten


class Evidence(NamedTuple):
    """The share of a probability that a ratio of residuals supports: a logistic curve.

    Attributes:
        ratio: At which the share is halfway between ``low`` and ``high``.
        steepness: Per factor of e.
        low: Share for low ratios.
        high: Share for high ratios.
    """

    ratio: float
    steepness: float
    low: float
    high: float

    def __call__(self, ratio: Tensor) -> Tensor:
        """Return the share for each ratio."""
        logit = self.steepness * (ratio.clamp_min(1e-6) / self.ratio).log()
        return self.low + (self.high - self.low) * torch.sigmoid(logit)


# Maximum likelihood on generated frame pairs, by dev/calibrate_shift_matcher.py; but the ratio of
# a shift is 0.4 instead of 0.25, above what the noise of a block explains by chance.
TEMPERATURE = 1.48  # of the logits of blocks of frames
LARGER_EVIDENCE = Evidence(4.3, 7.5, 0.18, 0.99)  # least residual of the nine shifts over noise
SHIFT_EVIDENCE = Evidence(0.4, 5.5, 0.25, 0.94)  # residual that a shift explains over noise


def decide(probability: Float[Tensor, "N 10"]) -> tuple[Float[Tensor, "N 2"], Int[Tensor, "N"]]:
    """Return the likeliest of the nine shifts as dx, dy, and the kind.

    Ties with zero motion give zero motion.

    Args:
        probability: Of the nine ``SHIFTS`` and of ``larger``.
    """
    still = probability[:, STILL]
    shift, label = probability[:, :LARGER].argmax(dim=1), probability.argmax(dim=1)
    shift[still >= probability[:, :LARGER].amax(dim=1)] = STILL
    label[still >= probability.amax(dim=1)] = STILL
    displacement = torch.tensor(SHIFTS, dtype=torch.float32)[shift]
    kind = torch.full_like(label, Kind.ONE_PIXEL)
    kind[label == STILL] = Kind.STILL
    kind[label == LARGER] = Kind.LARGER
    return displacement, kind


def noise_variance(
    residual: Float[Tensor, "9 C N"], total: Float[Tensor, "9 C N"]
) -> Float[Tensor, "C"]:
    """Estimate the noise in the difference of two frames from all of their blocks.

    Where one of the nine shifts explains a textured block, what it leaves is noise: the median
    over such blocks. If too few blocks are explained, as when the camera moves by more than a
    pixel, a low quantile of the least residuals, that of flat blocks.

    Args:
        residual: Variance of the difference under each shift, for C feature maps and N blocks.
        total: Sum of the variances of both frames.

    Returns:
        Variance per feature map, for gray levels from 0 to 1.
    """
    least = residual.amin(dim=0)  # (C, N)
    fitted = (residual / total.clamp_min(ROUND_OFF)).amax(dim=1).amin(dim=0) < FITTED_BELOW  # (N,)
    # a block of one constant level shows neither texture nor noise
    fitted &= (FITTED_BELOW * total[STILL] > NOISE_FLOOR).all(dim=0)
    constant = (total[STILL] < ROUND_OFF).all(dim=0)
    of_fitted = least.masked_fill(~fitted, torch.nan).nanquantile(0.5, dim=1)
    of_flat = least.masked_fill(constant, torch.nan).nanquantile(FLAT_QUANTILE, dim=1)
    enough = fitted.float().mean() > FITTED_SHARE  # stays on the device
    noise = torch.where(enough, of_fitted, of_flat).nan_to_num(0.0)
    return noise.clamp(NOISE_FLOOR, NOISE_CEILING)


def discount_noise(
    probability: Float[Tensor, "N 10"],
    residual: Float[Tensor, "9 C N"],
    noise: Float[Tensor, "C"],
    larger_evidence: Evidence = LARGER_EVIDENCE,
    shift_evidence: Evidence = SHIFT_EVIDENCE,
) -> Float[Tensor, "N 10"]:
    """Remove the probability of changes that the noise of the frames explains as well.

    A network sees one block and takes flickering noise on a wall for new content. ``larger`` keeps
    its probability where the residual exceeds the noise under each of the nine shifts; what is
    removed goes to these in proportion. A shift keeps its probability where it explains a part of
    the residual that is not small beside the noise; what is removed goes to still.

    Args:
        probability: Of the nine ``SHIFTS`` and of ``larger``.
        residual: Variance of the difference under each shift, for C feature maps.
        noise: Variance of the noise per feature map, see ``noise_variance``.
        larger_evidence: By the least residual of the nine shifts, over the noise.
        shift_evidence: By how much lower the residual is than without a shift, over the noise.
    """
    over_noise = (residual / noise[:, None]).amax(dim=1)  # (9, N)
    explained = ((residual[STILL] - residual) / noise[:, None]).amax(dim=1).T  # (N, 9)
    keep_larger = larger_evidence(over_noise.amin(dim=0))  # (N,)
    keep_shift = shift_evidence(explained)  # (N, 9)
    shifts, larger = probability[:, :LARGER], probability[:, LARGER:]
    share = shifts / shifts.sum(dim=1, keepdim=True).clamp_min(1e-30)
    kept = larger * keep_larger[:, None]
    shifts = shifts + (larger - kept) * share
    moved = shifts * keep_shift
    moved[:, STILL] = 0
    moved[:, STILL] = (1 - kept[:, 0] - moved.sum(dim=1)).clamp_min(0)
    return torch.cat([moved, kept], dim=1)


def ranking_length(
    probability: Float[Tensor, "N 10"],
    residual: Float[Tensor, "9 C N"],
    noise: Float[Tensor, "C"],
) -> Float[Tensor, "N"]:
    """Return how much a block has changed, in pixels; it ranks beyond the search of one pixel.

    The expected length of the displacement, 2 for ``larger``, increased by a quarter for each
    factor of ten between the least residual of the nine shifts and the noise. The arguments are
    those of ``discount_noise``.
    """
    excess = (residual / noise[:, None]).amax(dim=1).amin(dim=0)  # (N,)
    expected = probability @ LENGTHS.to(probability)
    return expected * (1 + EXCESS_WEIGHT * excess.clamp_min(1).log10())
