"""The refinement network: PatchMatch over disparities inside a recurrent network.

A first estimate by semi-global matching has gross errors where there is no texture and where a
pixel is occluded. The network repairs them at a quarter of the size, as PatchMatch does (Barnes et
al., SIGGRAPH 2009): in every iteration a pixel compares a few candidates, those of its neighbours
among them, and takes a mean of them with learned weights, as in PatchmatchNet (Wang et al., CVPR
2021). Differentiable PatchMatch (Duggal et al., ICCV 2019) prunes the range of disparities to a few
particles. Recurrent unit and convex upsampling are those of RAFT (Teed and Deng, ECCV 2020).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet
from patchmatch.nnf.differentiable.ops import matching_cost, propagate_particles
from patchmatch.stereo.net import CensusFeatures
from patchmatch.stereo.refinement_layers import (
    SCALE,
    CandidateScorer,
    Pyramid,
    convolve,
    nearest_known,
    take_from,
    upsample,
    zero_convolution,
)

MULTIPLE = 16  # sides of the images that the network takes
STEPS = (1, 4)  # distances of the neighbours, pixels of the network
LOOKUP = 2  # costs are looked up at the estimate and this far around it
CONFIDENCE, KEYS = 4, 8  # channels that a neighbour passes on with its disparity
#: Initial scores of candidates: the own disparity, neighbours at both distances, nearest known
#: pixels in four directions, first estimate, particles.
KIND_SCORES = (5.0, 0.0, 0.0, 0.0, 1.0, -2.0)
MODE_RADIUS = 0.75  # pixels of the network: candidates farther apart are of other surfaces
SHARPNESS = 8.0  # the wanted weight of a candidate falls by e^-8 per pixel of the network
NEAR = 0.5  # pixels of the network: without a candidate as near there is nothing to choose
MAX_ERROR = 6.0  # pixels of the network: larger errors have no gradient
CROSS_ENTROPY_WEIGHT, KNOWN_WEIGHT = 0.3, 0.3
RELATIVE = (1.0, 4.0, 16.0)  # pixels of the network: scales of differences of disparities


class FirstEstimate(NamedTuple):
    """Result of semi-global matching at half the size of the images, in pixels of that size.

    Attributes:
        disparity: (B, 1, H / 2, W / 2), holes filled.
        confidence: (B, 1, H / 2, W / 2) in [0, 1], 0 where filled.
    """

    disparity: Tensor
    confidence: Tensor


class Iteration(NamedTuple):
    """Result of an iteration.

    Attributes:
        disparity: (B, 1, h, w) in pixels of the network; after the last iteration (B, 1, H, W) in
            pixels of the image.
        candidates: (B, K, h, w) disparities in pixels of the network.
        log_weights: (B, K, h, w), logarithms of their weights.
        known: (B, 1, h, w) bool, where the first estimate was not filled.
    """

    disparity: Tensor
    candidates: Tensor
    log_weights: Tensor
    known: Tensor


class DisparityRefinementNet(nn.Module):
    """Repairs a first estimate of the disparity, from features of both images.

    Args:
        channels: Channels of the hidden state.
        features: Features of a pixel that candidates are compared by.
        iterations: Number of iterations.
        particles: Particles of Differentiable PatchMatch; 0 compares all disparities of the range
            instead, which is the network without pruning.
    """

    def __init__(
        self, channels: int = 32, features: int = 32, iterations: int = 3, particles: int = 2
    ) -> None:
        super().__init__()
        self.iterations, self.particles = iterations, particles
        self.census = CensusFeatures()
        self.mix = nn.Conv2d(len(self.census.offsets), features, 1, bias=False)
        nn.init.orthogonal_(self.mix.weight)
        self.search = DifferentiablePatchMatchNet(
            axes=1, iterations=3, particles=max(1, particles), samples=3, steps=(1,)
        )
        half = channels // 2
        self.stem = nn.Sequential(
            convolve(3, half, stride=2), convolve(half, half), convolve(half, channels, stride=2)
        )
        self.context = Pyramid(channels + 3, channels)
        self.start = nn.Conv2d(channels, channels, 1)
        self.motion = convolve(2 * LOOKUP + 1 + 3 + 2 * len(RELATIVE), 24)
        self.context_part = nn.Conv2d(channels, 3 * channels, 3, padding=1)
        self.gates = nn.Conv2d(channels + 24, 2 * channels, 3, padding=1, bias=False)
        self.new = nn.Conv2d(channels + 24, channels, 3, padding=1, bias=False)
        self.passed = nn.Conv2d(channels, CONFIDENCE + KEYS, 1)
        self.query = nn.Conv2d(channels, KEYS, 1)
        properties = 3 + 2 * len(RELATIVE) + CONFIDENCE
        self.scorer = CandidateScorer(properties, channels, KIND_SCORES)
        self.step = nn.Sequential(convolve(channels, channels), zero_convolution(channels))
        self.masks = nn.Sequential(
            convolve(channels, 2 * channels), nn.Conv2d(2 * channels, 9 * SCALE**2, 1)
        )

    def forward(
        self, image0: Tensor, image1: Tensor, first: FirstEstimate, max_disparity: int
    ) -> Iterator[Iteration]:
        """Yield the result of each iteration.

        Args:
            image0: (B, 3, H, W) in [0, 1], sides multiples of 16.
            image1: The same.
            first: The first estimate.
            max_disparity: Largest disparity in pixels.
        """
        small0, small1 = (F.avg_pool2d(image, SCALE) for image in (image0, image1))
        features0, features1 = (
            F.normalize(self.mix(self.census(small)), dim=1) for small in (small0, small1)
        )
        known = F.avg_pool2d(first.confidence, 2)
        given = first.disparity[..., ::2, ::2] / 2
        centred = image0 - image0.mean(dim=(2, 3), keepdim=True)
        spread = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 0.02
        relative = given / given.mean(dim=(2, 3), keepdim=True).clamp_min(0.1)
        inputs = torch.cat([self.stem(centred / spread), known, (known > 0) * 1.0, relative], dim=1)
        context = self.context(inputs)
        hidden = torch.tanh(self.start(context))
        # the part of the context in the gates and in the new state, the same in every iteration
        channels = hidden.shape[1]
        part_gates, part_new = self.context_part(context).split([2 * channels, channels], dim=1)
        particles = self._particles(features0, features1, max_disparity)
        is_known = -F.max_pool2d(-first.confidence, 2) > 0
        sources = nearest_known(is_known)
        disparity = given
        for iteration in range(1, self.iterations + 1):
            disparity = disparity.detach()
            looked = self._look_up(features0, features1, disparity, given, known)
            motion = self.motion(looked)
            gates = self.gates(torch.cat([hidden, motion], dim=1)) + part_gates
            update, reset = torch.sigmoid(gates).chunk(2, dim=1)
            new = self.new(torch.cat([reset * hidden, motion], dim=1)) + part_new
            hidden = (1 - update) * hidden + update * torch.tanh(new)
            disparity, candidates, log_weights = self._choose(
                features0, features1, disparity, given, particles, sources, hidden
            )
            disparity = (disparity + self.step(hidden)).clamp_min(0)
            if iteration == self.iterations:
                disparity = upsample(disparity, self.masks(hidden))
            yield Iteration(disparity, candidates, log_weights, is_known)

    def _particles(self, features0: Tensor, features1: Tensor, max_disparity: int) -> Tensor:
        """Return the particles (B, K, 1, h, w) of PatchMatch, or all disparities of the range."""
        batch, _, height, width = features0.shape
        largest = min(width - 1, -(-max_disparity // SCALE))
        low = features0.new_zeros(batch, 1, height, width, dtype=torch.long)
        if not self.particles:
            disparities = torch.arange(largest + 1, device=low.device)
            return disparities.view(1, -1, 1, 1, 1).expand(batch, -1, 1, height, width)
        generator = torch.Generator().manual_seed(0)
        limits = low, low + largest
        with torch.no_grad():
            *_, state = self.search(features0, features1, limits, generator=generator)
        return state.particles

    def _look_up(
        self, features0: Tensor, features1: Tensor, disparity: Tensor, given: Tensor, known: Tensor
    ) -> Tensor:
        """Return costs around the estimate, and how it differs from the first one."""
        whole = disparity.round()
        around = torch.arange(-LOOKUP, LOOKUP + 1, device=whole.device).view(1, -1, 1, 1)
        cost = _cost(features0, features1, whole + around)
        return torch.cat(
            [
                *(cost, disparity - whole, known, _is_outside(disparity) * 1.0),
                *_relative(given - disparity),
                *_relative(F.avg_pool2d(disparity, 9, 1, 4, count_include_pad=False) - disparity),
            ],
            dim=1,
        )

    def _choose(
        self,
        features0: Tensor,
        features1: Tensor,
        disparity: Tensor,
        given: Tensor,
        particles: Tensor,
        sources: Tensor,
        hidden: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the choice (B, 1, h, w), the candidates and their log-weights (B, K, h, w)."""
        own = self.passed(hidden)
        passed = torch.cat([disparity, own], dim=1)[:, None]  # (B, 1, 1 + C, h, w)
        others = torch.cat([given[:, None], particles.to(given.dtype)], dim=1)
        count = others.shape[1]
        own = own[:, None].expand(-1, count, -1, -1, -1)
        parts = [
            propagate_particles(passed, STEPS),
            take_from(passed[:, 0], sources),
            torch.cat([others, own], dim=2),
        ]
        candidates = torch.cat(parts, dim=1)
        values, confidence, keys = candidates.split([1, CONFIDENCE, KEYS], dim=2)
        values = values[:, :, 0]
        last = len(STEPS)
        kinds = [0, *(1 + i // 4 for i in range(4 * last)), *[last + 1] * sources.shape[1]]
        kinds += [last + 2] + [last + 3] * (count - 1)
        inputs = [
            # features learn from the costs around the estimate; these would make training slower
            _cost(features0.detach(), features1.detach(), values.detach().round()),
            (self.query(hidden)[:, None] * keys).sum(dim=2) / KEYS**0.5,
            *_relative(values - disparity),
            *_relative(values - given),
            _is_outside(values) * 1.0,
        ]
        inputs = torch.cat([torch.stack(inputs, dim=2), confidence], dim=2)
        log_weights = self.scorer(inputs, hidden, kinds).log_softmax(dim=1)
        weights = log_weights.exp() * _main_mode(values.detach(), log_weights.detach().exp())
        chosen = (weights * values).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
        return chosen, values, log_weights


def refinement_loss(
    iterations: Iterator[Iteration], truth: Tensor, decay: float = 0.8
) -> tuple[Tensor, Tensor]:
    """Return the loss of all iterations, and the last estimate (B, 1, H, W).

    It is the expected error of the candidates and their cross-entropy, and the error of the last
    estimate. Pixels that were not filled have less weight.

    Args:
        iterations: Results of all iterations.
        truth: (B, H, W) in pixels; not finite where unknown.
        decay: Weight of an iteration relative to the next one.
    """
    target = truth[:, None, ::SCALE, ::SCALE] / SCALE
    weight = torch.isfinite(target) * 1.0
    target = torch.nan_to_num(target)
    loss, total, last = truth.new_zeros(()), 0.0, truth[:, None]
    for last, candidates, log_weights, is_known in iterations:
        error = (candidates.detach() - target).abs()
        wanted = (-SHARPNESS * error).softmax(dim=1)
        surprise = -(wanted * log_weights).sum(dim=1, keepdim=True)
        surprise = surprise * (error.amin(dim=1, keepdim=True) < NEAR)
        expected = (log_weights.exp() * error.clamp_max(MAX_ERROR)).sum(dim=1, keepdim=True)
        weights = weight * torch.where(is_known, KNOWN_WEIGHT, 1.0)
        each = (weights * (expected + CROSS_ENTROPY_WEIGHT * surprise)).sum()
        loss, total = decay * loss + each / weights.sum().clamp_min(1), decay * total + 1
        if last.shape[-2:] == truth.shape[-2:]:
            error = (last[:, 0] - truth).abs()[torch.isfinite(truth)] / SCALE
            loss = loss + error.clamp_max(MAX_ERROR).sum() / max(1, error.numel())
    return loss / total, last


def _main_mode(values: Tensor, weights: Tensor) -> Tensor:
    """Return which candidates (B, K, h, w) are close to the one with the most weight around it."""
    support = torch.stack(
        [
            (((values - one).abs() < MODE_RADIUS) * weights).sum(dim=1)
            for one in values.split(1, dim=1)
        ],
        dim=1,
    )
    best = values.gather(1, support.argmax(dim=1, keepdim=True))
    return (values - best).abs() < MODE_RADIUS


def _cost(features0: Tensor, features1: Tensor, disparity: Tensor) -> Tensor:
    """Return the costs (B, K, h, w) of whole disparities (B, K, h, w)."""
    return matching_cost(features0, features1, disparity.long()[:, :, None])


def _is_outside(disparity: Tensor) -> Tensor:
    """Return where a disparity leaves image 1 on the left."""
    return disparity > torch.arange(disparity.shape[-1], device=disparity.device)


def _relative(difference: Tensor) -> list[Tensor]:
    return [torch.tanh(difference / scale) for scale in RELATIVE]
