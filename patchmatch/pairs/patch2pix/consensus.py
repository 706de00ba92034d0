"""Neighbourhood consensus on the 4D correlation of two feature maps (NCNet, Rocco et al. 2018).

The correlation is pooled as it is computed and remembers the finer positions (Sparse-NCNet, Rocco
et al. 2020), so that it is never stored at full resolution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, KERNELS = (16, 1), (3, 3)  # the published size for scenes (InLoc)
CHUNK_CELLS = 1 << 22  # numbers of the windows that one step of a 4D convolution gathers
SHARPNESS = 20.0  # of the softmax: the best score of a pair of images, over the temperature
EPSILON = 1e-5  # below it a maximum of correlations counts as no match
# prefixes of the consensus layers in the published checkpoints of NCNet and of Patch2Pix
PUBLISHED = ("NeighConsensus.conv.", "ncn.conv.")


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """4D correlation after max-pooling, with the positions of the maxima.

    Attributes:
        scores: (B, H, W, H1, W1), maxima over blocks of k^4 correlations.
        offsets: (B, H, W, H1, W1, 4) int8, y and x of the maximum in the block of map 0, and y and
            x in that of map 1, in 0 to k - 1; None with k = 1.
    """

    scores: Tensor
    offsets: Tensor | None


def pooled_correlation(
    features0: Float[Tensor, "B C H W"], features1: Float[Tensor, "B C H1 W1"], k: int = 1
) -> Pooled:
    """Return the cosines of all pairs of cells, as maxima over blocks of k x k x k x k pairs.

    Args:
        features0: Features of image 0; height and width are multiples of k.
        features1: Features of image 1, the same.
        k: Side of a block in cells; 1 keeps all pairs.
    """
    for features in (features0, features1):
        if features.shape[-2] % k or features.shape[-1] % k:
            raise ValueError(f"maps must be multiples of {k}, got {tuple(features.shape[-2:])}")
    features0, features1 = F.normalize(features0, dim=1), F.normalize(features1, dim=1)
    rows1, columns1 = features1.shape[-2] // k, features1.shape[-1] // k
    scores, offsets = [], []
    for strip in features0.split(k, dim=2):  # (B, C, k, W)
        block = torch.einsum("bcyx,bcvu->byxvu", strip, features1)
        if k == 1:
            scores.append(block)
            continue
        block = block.unflatten(4, (columns1, k)).unflatten(3, (rows1, k)).unflatten(2, (-1, k))
        # (B, ky, W, kx, H1, kv, W1, ku) to (B, W, H1, W1, ky kx kv ku)
        best, index = block.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).max(dim=4)
        digits = [index.div(k**p, rounding_mode="floor") % k for p in (3, 2, 1, 0)]
        scores.append(best[:, None])
        offsets.append(torch.stack(digits, dim=-1).to(torch.int8)[:, None])
    return Pooled(
        scores=torch.cat(scores, dim=1), offsets=torch.cat(offsets, dim=1) if offsets else None
    )


def mutual_matching(scores: Float[Tensor, "B H W H1 W1"]) -> Float[Tensor, "B H W H1 W1"]:
    """Weigh each correlation by its ratios to the best of either cell (section 3.3 of NCNet).

    Pairs of mutual nearest neighbours keep their score; the others decrease. Negative correlations
    become zero.
    """
    scores = scores.relu()
    best0 = scores.amax(dim=(3, 4), keepdim=True)
    best1 = scores.amax(dim=(1, 2), keepdim=True)
    return scores * (scores / (best0 + EPSILON)) * (scores / (best1 + EPSILON))


class Conv4d(nn.Module):
    """4D convolution with zero padding; the output has the size of the input.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel in cells, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, got {kernel}")
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[kernel] * 4))
        self.bias = nn.Parameter(torch.zeros(outputs))
        fan_in = inputs * kernel**4
        nn.init.normal_(self.weight, std=0.2 * fan_in**-0.5)
        with torch.no_grad():  # starts close to the identity
            self.weight[(slice(None), slice(None), *[kernel // 2] * 4)] += 1 / inputs

    def forward(self, volume: Float[Tensor, "B C H W H1 W1"]) -> Float[Tensor, "B D H W H1 W1"]:
        """Convolve a volume.

        The two axes of map 0 become channels of a 2D convolution along those of map 1, for some
        rows at a time.
        """
        batch, channels, height, width, rows1, columns1 = volume.shape
        kernel, pad = self.kernel, self.kernel // 2
        weight = self.weight.flatten(1, 3)  # (D, C k k, k, k)
        padded = F.pad(volume, (0, 0, 0, 0, pad, pad, pad, pad))
        window = batch * width * channels * kernel**2 * rows1 * columns1
        step = max(1, CHUNK_CELLS // max(1, window))
        parts = []
        for start in range(0, height, step):
            rows = min(step, height - start)
            shifted = [
                padded[:, :, start + y : start + y + rows, x : x + width]
                for y in range(kernel)
                for x in range(kernel)
            ]
            gathered = torch.stack(shifted, dim=2)  # (B, C, k k, rows, W, H1, W1)
            gathered = gathered.permute(0, 3, 4, 1, 2, 5, 6).flatten(0, 2).flatten(1, 2)
            found = F.conv2d(gathered, weight, self.bias, padding=pad)
            parts.append(found.unflatten(0, (batch, rows, width)).movedim(3, 1))
        return torch.cat(parts, dim=2)


class Consensus(nn.Module):
    """Neighbourhood consensus network: 4D convolutions, applied in both orders of the images.

    Args:
        channels: Output channels of the layers; the last has 1.
        kernels: Sides of their kernels in cells.
    """

    def __init__(
        self, channels: Sequence[int] = CHANNELS, kernels: Sequence[int] = KERNELS
    ) -> None:
        super().__init__()
        if len(channels) != len(kernels) or not channels or channels[-1] != 1:
            raise ValueError(
                "channels and kernels must have the same length and channels end with 1, got "
                f"{tuple(channels)} and {tuple(kernels)}"
            )
        inputs = (1, *channels[:-1])
        self.conv = nn.ModuleList(map(Conv4d, inputs, channels, kernels))

    def forward(self, scores: Float[Tensor, "B H W H1 W1"]) -> Float[Tensor, "B H W H1 W1"]:
        """Return scores of all pairs of cells that agree with the pairs around them.

        Swapping the images transposes the result.
        """
        scores = mutual_matching(scores)
        swapped = scores.permute(0, 3, 4, 1, 2)
        both = self._filter(scores) + self._filter(swapped).permute(0, 3, 4, 1, 2)
        return mutual_matching(both)

    def _filter(self, scores: Tensor) -> Tensor:
        volume = scores[:, None]
        for layer in self.conv:
            volume = layer(volume).relu()
        return volume[:, 0]


@dataclass(frozen=True, kw_only=True)
class CellMatches:
    """Matches of the cells of one pair of maps, in cells before pooling.

    Attributes:
        cells0: (M, 2) long, x and y in map 0.
        cells1: (M, 2) long, x and y in map 1.
        score: (M,), softmax over the other map, the higher of both directions.
        mutual: (M,) bool, found in both directions.
    """

    cells0: Tensor
    cells1: Tensor
    score: Tensor
    mutual: Tensor


def best_matches(
    scores: Float[Tensor, "H W H1 W1"], offsets: Int[Tensor, "H W H1 W1 4"] | None, k: int = 1
) -> CellMatches:
    """Return the best cell of map 1 of each cell of map 0, and the reverse, each pair once.

    Args:
        scores: After ``Consensus``, of one pair.
        offsets: Those of ``Pooled``, which relocalise the cells; None with k = 1.
        k: Side of the pooled blocks in cells.
    """
    _, width, _, columns1 = scores.shape
    table = scores.flatten(2).flatten(0, 1)  # (N, N1)
    scale = table.amax().clamp_min(EPSILON) / SHARPNESS
    forward, nearest1 = (table / scale).softmax(dim=1).max(dim=1)
    backward, nearest0 = (table / scale).softmax(dim=0).max(dim=0)
    count, count1 = table.shape
    index0 = torch.cat([torch.arange(count, device=table.device), nearest0])
    index1 = torch.cat([nearest1, torch.arange(count1, device=table.device)])
    score = torch.cat([forward, backward])
    pairs, inverse = (index0 * count1 + index1).unique(return_inverse=True)
    best = score.new_zeros(len(pairs)).scatter_reduce(0, inverse, score, "amax")
    mutual = torch.bincount(inverse, minlength=len(pairs)) > 1
    cell0, cell1 = pairs.div(count1, rounding_mode="floor"), pairs % count1
    positive = table[cell0, cell1] > 0  # without a response, the argmax is arbitrary
    cell0, cell1, best, mutual = cell0[positive], cell1[positive], best[positive], mutual[positive]
    y0, x0 = cell0.div(width, rounding_mode="floor"), cell0 % width
    y1, x1 = cell1.div(columns1, rounding_mode="floor"), cell1 % columns1
    if offsets is not None:
        fine = offsets[y0, x0, y1, x1].long()
        y0, x0, y1, x1 = (k * v + f for v, f in zip((y0, x0, y1, x1), fine.unbind(1), strict=True))
    return CellMatches(
        cells0=torch.stack([x0, y0], dim=1),
        cells1=torch.stack([x1, y1], dim=1),
        score=best,
        mutual=mutual,
    )


def matching_score(scores: Float[Tensor, "B H W H1 W1"]) -> Float[Tensor, "B"]:
    """Return the mean matching score of pairs of images, of both directions (section 3.5 of NCNet).

    Each cell is assigned to its best one; its score is the share of it in the sum over the other
    map. The paper takes a softmax, whose temperature the scale of the scores would have to learn.
    """
    table = scores.flatten(3).flatten(1, 2)  # (B, N, N1)
    forward = table.amax(dim=2) / (table.sum(dim=2) + EPSILON)
    backward = table.amax(dim=1) / (table.sum(dim=1) + EPSILON)
    return forward.mean(dim=1) + backward.mean(dim=1)


def weak_loss(
    related: Float[Tensor, "B H W H1 W1"], unrelated: Float[Tensor, "B H W H1 W1"]
) -> Float[Tensor, ""]:
    """Return NCNet's weakly supervised loss: no correspondence is given, only pairs of images.

    Args:
        related: Scores of pairs that show the same.
        unrelated: Scores of pairs that do not.
    """
    return matching_score(unrelated).mean() - matching_score(related).mean()


def consensus_weights(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the consensus layers of a published checkpoint with the names of ``Consensus``.

    There they alternate with activations, so that layer i has number 2 i, and the first axis of the
    kernel comes before the channels: (k, D, C, k, k, k).

    Args:
        weights: State_dict; names without one of the prefixes in ``PUBLISHED`` are ignored.
    """
    found = {}
    for key, value in weights.items():
        rest = next((key.partition(prefix)[2] for prefix in PUBLISHED if prefix in key), "")
        number, _, kind = rest.partition(".")
        if number.isdecimal() and kind in ("weight", "bias"):
            value = value.movedim(0, 2) if kind == "weight" and value.ndim == 6 else value
            found[f"conv.{int(number) // 2}.{kind}"] = value
    return found
