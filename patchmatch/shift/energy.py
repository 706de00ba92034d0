"""Motion energy network: opponent energies of space-time kernels under nine shifts, classifier.

E. Adelson and J. Bergen, "Spatiotemporal energy models for the perception of motion", JOSA A 2(2),
1985: motion is orientation in (x, y, t), and the energy of a pair of kernels of opposite phase
measures it, whatever the phase of the pattern.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.shift.net import (
    CLASSES,
    BlockScores,
    FrameFeatures,
    ShiftNet,
    filter_frames,
    gaussian_kernels,
    make_gate,
    make_head,
    require_sizes,
    standardise,
)
from patchmatch.shift.ops import SHIFTS, overlap_moments, overlap_products

ENERGY_EPS = 5e-7  # of rounding to uint8 and less: an exact match of texture stands out
SIGMA = (0.2, 1.65)  # pixels: profiles at the start, from a single pixel to a smooth one


class EnergyNet(ShiftNet):
    """Opponent motion energies under the nine shifts, weighted by a gate.

    A 3D convolution of both frames with learned kernels of depth 2: for each shift and band an
    even kernel, which adds frame 0 to frame 1 moved back by the shift, and an odd one, which
    subtracts them. All kernels of a band have one spatial profile. The energy is the variance of
    the response in the block. Under the true shift the odd energy is that of the noise.

    The opponent energy of a shift is (even - odd) / (even + odd). A gate weights the bands by
    contrast and noise, and the likeliest shift is the one with the highest sum. A head adds the
    logit of ``larger`` only. A single frame does not reveal the shift, since both energies of a
    shift are equal without the other.

    Args:
        filters: Bands: spatial profiles.
        kernel: Side of a profile in pixels, odd. A kernel is two pixels wider.
        width: Channels of the hidden layers of gate and head.
    """

    def __init__(self, filters: int = 4, kernel: int = 7, width: int = 48) -> None:
        super().__init__()
        require_sizes(filters, kernel, width)
        self.profiles = nn.Parameter(gaussian_kernels(filters, kernel, SIGMA))
        # per band: mean and least log-residual of the shifts, log-energy
        self.gate_scale = nn.BatchNorm1d(3 * filters, affine=False)
        self.gate = make_gate(filters, width)
        # the same and nine log-residuals
        self.head_scale = nn.BatchNorm1d((len(SHIFTS) + 3) * filters, affine=False)
        self.head = make_head(filters, width, CLASSES - len(SHIFTS))

    def kernels(self) -> Float[Tensor, "9 2 C 2 K K"]:
        """Return the kernels by shift, phase (even, odd) and band; each has axes (t, y, x)."""
        frame0 = F.pad(self.profiles, (1, 1, 1, 1))
        kernels = []
        for dx, dy in SHIFTS:
            frame1 = F.pad(self.profiles, (1 + dx, 1 - dx, 1 + dy, 1 - dy))
            phases = [torch.stack([frame0, sign * frame1], dim=1) for sign in (1, -1)]
            kernels.append(torch.stack(phases))
        return torch.stack(kernels)

    def extract_features(
        self,
        frames: Float[Tensor, "B 1 T H W"],
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> FrameFeatures:
        """Return the bands and window statistics of each frame, the input of ``match``."""
        bands = filter_frames(frames, self.profiles[:, None])
        return FrameFeatures(bands, *overlap_moments(bands, block, stride, edges))

    def energies(
        self,
        frames0: FrameFeatures,
        frames1: FrameFeatures,
        block: int,
        stride: int,
        edges: bool = False,
    ) -> tuple[Float[Tensor, "9 B C T rows columns"], Float[Tensor, "9 B C T rows columns"]]:
        """Return the energies of the even and of the odd kernels in every block, by shift.

        A kernel applies its profile to frame 0 and, shifted, to frame 1. The responses are
        therefore sums and differences of two filtered frames, and the variances of these are
        sums of two variances and a covariance: the same numbers as from a convolution with
        ``kernels``, for a fraction of the time.
        """
        product = overlap_products(frames0.features, frames1.features, block, stride, edges)
        # the part of frame 1 is that of the opposite shift; SHIFTS in reverse order
        covariance = product - frames0.mean * frames1.mean.flip(0)
        total = frames0.variance + frames1.variance.flip(0)
        return (total + 2 * covariance).clamp_min(0), (total - 2 * covariance).clamp_min(0)

    def match(
        self,
        frames0: FrameFeatures,
        frames1: FrameFeatures,
        block: int = 26,
        stride: int = 13,
        edges: bool = False,
    ) -> BlockScores:
        """Compare ``frames0`` with ``frames1``, block by block."""
        even, odd = self.energies(frames0, frames1, block, stride, edges)
        energy = even + odd + 2 * ENERGY_EPS
        opponent, log_residual, log_energy = (  # (B, T, rows, columns, 9, C)
            x.permute(1, 3, 4, 5, 0, 2).contiguous()
            for x in (
                (even - odd) / energy,
                ((odd + ENERGY_EPS) / energy).log(),
                energy.log(),
            )
        )
        mean = log_residual.mean(dim=-2)  # (..., C)
        relative = log_residual - mean.unsqueeze(-2)
        statistics = torch.cat([mean, relative.amin(dim=-2), log_energy.mean(dim=-2)], dim=-1)
        weights = 4 * self.gate(standardise(self.gate_scale, statistics)).float().unsqueeze(-2)
        of_opponent, of_residual = weights.chunk(2, dim=-1)  # (..., 1, C)
        score = (of_opponent * opponent - of_residual * log_residual).sum(dim=-1)  # (..., 9)
        score = score - score.mean(dim=-1, keepdim=True)
        larger = self.head(
            standardise(self.head_scale, torch.cat([relative.flatten(-2), statistics], dim=-1))
        )
        logits = torch.cat([score, larger.float()], dim=-1).movedim(-1, 1)
        return BlockScores(logits, odd, (even + odd) / 2)
