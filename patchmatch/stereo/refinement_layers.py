"""Layers of the refinement network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALE = 4  # pixels of the image per pixel of the network
CENTRE_SCORE = 3.0  # initial score of the centre in the upsampling


class CandidateScorer(nn.Module):
    """Scores each candidate of a pixel by the same small network.

    Args:
        inputs: Number of properties of a candidate.
        channels: Channels of the hidden state.
        kind_scores: Initial score of each kind of candidates.
        width: Channels of the hidden layer.
    """

    def __init__(
        self, inputs: int, channels: int, kind_scores: tuple[float, ...], width: int = 16
    ) -> None:
        super().__init__()
        self.candidate = nn.Linear(inputs, width)
        self.pixel = nn.Conv2d(channels, width, 1)
        self.kind = nn.Parameter(torch.zeros(len(kind_scores), width))
        self.score = nn.Linear(width, 1, bias=False)
        self.kind_score = nn.Parameter(torch.tensor(kind_scores))

    def forward(self, inputs: Tensor, hidden: Tensor, kinds: list[int]) -> Tensor:
        """Return the scores (B, K, h, w).

        Args:
            inputs: (B, K, C, h, w) properties of the candidates.
            hidden: (B, channels, h, w).
            kinds: Kind of each candidate.
        """
        x = torch.einsum("bkcyx,dc->bkdyx", inputs, self.candidate.weight)
        bias = (self.candidate.bias + self.kind[kinds])[None, :, :, None, None]
        x = F.relu(x + bias + self.pixel(hidden)[:, None])
        score = torch.einsum("bkdyx,d->bkyx", x, self.score.weight[0])
        return score + self.kind_score[kinds][None, :, None, None]


class Pyramid(nn.Module):
    """Convolutions at three sizes, the input size and a half and a quarter of it.

    Args:
        inputs: Channels of the input.
        channels: Channels of the output.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.first = convolve(inputs, channels)
        self.second = nn.Sequential(convolve(channels, channels, 2), convolve(channels, channels))
        self.third = nn.Sequential(
            convolve(channels, channels, 2),
            convolve(channels, channels),
            convolve(channels, channels),
        )
        self.merge_second = convolve(2 * channels, channels)
        self.merge_first = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, h, w) of (B, inputs, h, w), sides multiples of 4."""
        first = self.first(x)
        second = self.second(first)
        merged = self.merge_second(torch.cat([second, double(self.third(second))], dim=1))
        return self.merge_first(torch.cat([first, double(merged)], dim=1))


def convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution with a leaky ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1))


def zero_convolution(inputs: int) -> nn.Conv2d:
    """Return a 1x1 convolution to one channel, which is zero before training."""
    layer = nn.Conv2d(inputs, 1, 1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def double(x: Tensor) -> Tensor:
    """Return (B, C, 2 H, 2 W), interpolated."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upsample(disparity: Tensor, masks: Tensor) -> Tensor:
    """Return (B, 1, 4 h, 4 w), means of 3x3 neighbours with learned weights, times 4."""
    batch, _, height, width = disparity.shape
    centre = CENTRE_SCORE * F.one_hot(torch.tensor(4), 9).to(masks).view(1, 9, 1, 1, 1)
    weights = (masks.view(batch, 9, SCALE**2, height, width) + centre).softmax(dim=1)
    padded = F.pad(disparity, [1] * 4, mode="replicate")
    neighbours = F.unfold(padded, 3).view(batch, 9, 1, height, width)
    return F.pixel_shuffle(SCALE * (weights * neighbours).sum(dim=1), SCALE)


def nearest_known(is_known: Tensor) -> Tensor:
    """Return the index of the nearest known pixel to the left, the right, above and below.

    Args:
        is_known: (B, 1, h, w) bool.

    Returns:
        (B, 4, h, w) long, y w + x; that of the pixel itself where there is none, or it is known.
    """
    height, width = is_known.shape[-2:]
    index = torch.arange(height * width, device=is_known.device).view(1, 1, height, width)
    found = []
    for dim, flip in ((3, False), (3, True), (2, False), (2, True)):
        known = is_known.flip(dim) if flip else is_known
        own = (index.flip(dim) if flip else index).expand_as(known)
        position = torch.arange(known.shape[dim], device=known.device)
        position = position.view([-1, 1] if dim == 2 else [1, -1]).expand_as(known)
        last = torch.where(known, position, -1).cummax(dim=dim).values
        source = torch.where(last < 0, own, own.gather(dim, last.clamp_min(0)))
        found.append(source.flip(dim) if flip else source)
    return torch.cat(found, dim=1)


def take_from(values: Tensor, sources: Tensor) -> Tensor:
    """Return the values (B, S, C, h, w) of S other pixels of each pixel.

    Args:
        values: (B, C, h, w).
        sources: (B, S, h, w) long, y w + x.
    """
    batch, channels, height, width = values.shape
    index = sources.flatten(1)[:, None].expand(-1, channels, -1)  # (B, C, S h w)
    taken = values.flatten(2).gather(2, index)
    return taken.view(batch, channels, -1, height, width).transpose(1, 2)
