"""Patch features for matching along rows, and their training loss.

The network is the fast architecture of MC-CNN (Zbontar and LeCun, "Stereo matching by training a
convolutional neural network to compare image patches", JMLR 2016): convolutions without pooling,
the same for both images, compared by the cosine. It is trained as in Luo et al., "Efficient deep
learning for stereo matching", CVPR 2016: cross-entropy over all disparities of a row.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops.luma import to_gray

WINDOW = 15  # pixels: side of the window of local contrast normalisation
UNIT = 127  # length of quantised features
NOISE = 0.02  # standard deviation below which an area counts as plain


class StereoFeatures(nn.Module):
    """Features of the patch around every pixel, of length one.

    Args:
        channels: Number of features of a pixel.
        layers: Number of 3x3 convolutions; the patch has the side 2 layers + 1.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        widths = [2] + [channels] * layers
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)
        )
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, image: Tensor) -> Tensor:
        """Return the features (B, C, H, W) of images (B, 1 or 3, H, W) in [0, 1]."""
        x = self.normalize(image)
        for convolution in self.convolutions[:-1]:
            x = F.relu(convolution(x))
        return F.normalize(self.convolutions[-1](x), dim=1)

    @staticmethod
    def normalize(image: Tensor) -> Tensor:
        """Return the gray image minus its local mean, in two contrasts, (B, 2, H, W)."""
        gray = to_gray(image)
        pad = [WINDOW // 2] * 4
        mode = "reflect" if min(gray.shape[-2:]) > WINDOW // 2 else "replicate"

        def mean(values: Tensor) -> Tensor:
            padded = F.pad(values, pad, mode=mode)
            return F.avg_pool2d(F.avg_pool2d(padded, (WINDOW, 1), 1), (1, WINDOW), 1)

        centred = gray - mean(gray)
        spread = (mean(gray.square()) - mean(gray).square()).clamp_min(0)
        local = centred / (spread + NOISE**2).sqrt()
        whole = centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + NOISE)
        return torch.cat([local, whole], dim=1)


def row_logits(
    features0: Tensor, features1: Tensor, sharpness: Tensor, max_disparity: int
) -> Tensor:
    """Return the logits (N, W, W) of all pairs of columns x0, x1 of N rows.

    Args:
        features0: (N, C, W) of rows of image 0.
        features1: (N, C, W) of the same rows of image 1.
        sharpness: Factor of the cosine.
        max_disparity: Pairs outside 0 <= x0 - x1 <= max_disparity have the logit -1e4.
    """
    columns = torch.arange(features0.shape[-1], device=features0.device)
    disparity = columns[:, None] - columns
    logits = sharpness * torch.einsum("ncx,ncz->nxz", features0, features1)
    outside = (disparity < 0) | (disparity > max_disparity)
    return logits.masked_fill(outside, -1e4)


def row_loss(logits: Tensor, disparity: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of the visible pixels and the share off by more than 2 pixels.

    Args:
        logits: (N, W, W) of ``row_logits``.
        disparity: (N, W) in pixels; a fraction divides the target between two columns.
        visible: (N, W) bool.
    """
    columns = torch.arange(logits.shape[-1], device=logits.device)
    target = columns - disparity  # (N, W) column in image 1
    low = target.floor().clamp(0, len(columns) - 1)
    part = (target - low).clamp(0, 1)
    below = low.long()
    above = (below + 1).clamp_max(len(columns) - 1)
    above = torch.where(above > columns, below, above)  # disparities below zero do not exist
    log_probability = logits.log_softmax(dim=2)
    loss = -(1 - part) * log_probability.gather(2, below[..., None])[..., 0]
    loss = loss - part * log_probability.gather(2, above[..., None])[..., 0]
    wrong = (logits.detach().argmax(dim=2) - target).abs() > 2
    count = visible.sum().clamp_min(1)
    return (loss * visible).sum() / count, (wrong & visible).sum() / count


class CensusFeatures(nn.Module):
    """Hand-crafted features: whether each neighbour is brighter than the pixel, of length one.

    The cosine of two census transforms is 1 - 2 Hamming distance / N (Zabih and Woodfill,
    "Non-parametric local transforms for computing visual correspondence", ECCV 1994). A difference
    much smaller than ``level`` counts less, so that noise in plain areas has no weight.

    Args:
        radius: Half the side of the square of neighbours; every second one is used, as a
            chessboard.
        level: Difference of gray, in [0, 1], that counts in full.
    """

    def __init__(self, radius: int = 4, level: float = 0.01) -> None:
        super().__init__()
        steps = range(-radius, radius + 1)
        self.offsets = [(y, x) for y in steps for x in steps if (y + x) % 2 == 0 and (y or x)]
        self.radius, self.level = radius, level

    def forward(self, image: Tensor) -> Tensor:
        """Return the features (B, N, H, W) of images (B, 1 or 3, H, W) in [0, 1]."""
        gray = to_gray(image)
        height, width = gray.shape[-2:]
        padded = F.pad(gray, [self.radius] * 4, mode="replicate")
        moved = [
            padded[..., self.radius + y :, self.radius + x :][..., :height, :width]
            for y, x in self.offsets
        ]
        signs = torch.cat(moved, dim=1).sub_(gray).div_(self.level).tanh_()  # in place: large
        return signs.div_(signs.norm(dim=1, keepdim=True).clamp_min(1e-12))


def quantize_features(features: Tensor) -> np.ndarray:
    """Return features (1, C, H, W) of length one as (H, W, C) int8 of length ``UNIT``.

    They need a quarter of the memory.
    """
    rounded = features[0].mul(UNIT).round_().to(torch.int8)
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy()
