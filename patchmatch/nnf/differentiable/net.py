"""Differentiable PatchMatch: the search for correspondences as layers to be trained through.

Duggal, Wang, Ma, Hu and Urtasun, "DeepPruner: learning efficient stereo matching via
differentiable PatchMatch", ICCV 2019, after Barnes et al., "PatchMatch", SIGGRAPH 2009: particles
are drawn, offered to the neighbours and judged, again and again with the same weights. Which
particles go on is a hard choice, so that the best one so far is never lost; gradients flow through
the costs of all that were judged, and so to the features and the temperature.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from patchmatch.nnf.differentiable.layers import Evaluation, ParticleSampler, Propagation
from patchmatch.nnf.differentiable.ops import BLOCKED, best_particles, matching_cost, search_range


class Searched(NamedTuple):
    """What is known after an iteration.

    Attributes:
        particles: (B, K, A, H, W), the best so far, all different, best first.
        cost: (B, K, H, W), their costs.
        judged: (B, M, A, H, W), all that were judged in this iteration.
        judged_cost: (B, M, H, W), their costs: gradients reach the features through them.
    """

    particles: Tensor
    cost: Tensor
    judged: Tensor
    judged_cost: Tensor


class DifferentiablePatchMatchNet(nn.Module):
    """Search for the best match of every pixel, unrolled, the same weights in every iteration.

    In an iteration every pixel judges its own particles, those of its neighbours, some random ones
    in a window that shrinks from iteration to iteration, and the places right beside its best.

    Args:
        axes: 2 searches displacements (dx, dy), 1 disparities d with x1 = x0 - d.
        iterations: Number of iterations.
        particles: Particles that a pixel keeps.
        samples: Random particles that a pixel judges in an iteration.
        steps: Distances of the neighbours whose particles it judges, in pixels.
        reach: No component of an offset is longer, in pixels; None for all of image 1.
        shrink: What the window is multiplied by after each iteration.
        patch_size: Side of the patches of the feature maps that are compared.
        norm: ``l2`` or ``l1``.
        whole: Whether particles are whole numbers of pixels.
        form: How particles are propagated, see ``Propagation``.
    """

    def __init__(
        self,
        axes: int = 2,
        iterations: int = 8,
        particles: int = 1,
        samples: int = 4,
        steps: tuple[int, ...] = (1, 4),
        reach: int | None = None,
        shrink: float = 0.5,
        patch_size: int = 1,
        norm: str = "l2",
        whole: bool = True,
        form: str = "shifts",
    ) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise ValueError(f"axes must be 1 (disparities) or 2 (displacements), got {axes}")
        if reach is not None and reach < 1:
            raise ValueError(f"reach must be at least 1 pixel, or none for all of it, got {reach}")
        if not 0 < shrink <= 1:
            raise ValueError(f"shrink must lie between 0 and 1, got {shrink}")
        self.axes, self.iterations, self.reach, self.shrink = axes, iterations, reach, shrink
        self.whole, self.patch_size = whole, patch_size
        self.first, self.sampler = ParticleSampler(particles), ParticleSampler(samples)
        self.propagation = Propagation(steps, "xy", form)
        self.evaluation = Evaluation(patch_size, norm)
        stencil = torch.cartesian_prod(*[torch.arange(-1, 2)] * axes).view(-1, axes)
        self.register_buffer("stencil", stencil[:, :, None, None], persistent=False)
        self.stencil: Tensor

    @property
    def judged_count(self) -> int:
        """Particles that a pixel judges in an iteration."""
        neighbours = self.first.count * (1 + 4 * len(self.propagation.steps))
        return neighbours + self.sampler.count + len(self.stencil)

    def forward(
        self,
        features0: Float[Tensor, "B D H0 W0"],
        features1: Float[Tensor, "B D H1 W1"],
        limits: tuple[Tensor, Tensor] | None = None,
        start: Num[Tensor, "B K A H W"] | None = None,
        valid0: Bool[Tensor, "B H W"] | None = None,
        valid1: Bool[Tensor, "B _ _"] | None = None,
        generator: torch.Generator | None = None,
        iterations: int | None = None,
    ) -> Iterator[Searched]:
        """Yield what is known after each iteration.

        Args:
            features0: The image whose pixels are sought.
            features1: The image in which they are sought; its size may be another.
            limits: Lowest and highest offset of every pixel, (B, A, H, W) each; without them
                ``reach`` limits the search. Offsets that leave image 1 are never tried.
            start: Particles to begin with; without them random ones and, first, offset 0.
            valid0: Pixels to be matched; the others cost infinity.
            valid1: Pixels that may be matched with.
            generator: Where the chance comes from, on the CPU.
            iterations: Other than the number that was set.
        """
        low, high = self._limits(features0, features1, limits)

        def judge(particles: Tensor) -> Tensor:
            cost = self.evaluation(features0, features1, particles)
            return cost if valid1 is None else cost.masked_fill(_lands(particles, ~valid1), BLOCKED)

        particles = self._first(low, high, generator) if start is None else start
        particles = _within(particles, low, high)
        kept = self.first.count
        radius = float((high - low).max()) / 2
        for _ in range(self.iterations if iterations is None else iterations):
            found = [self.propagation(particles)]
            if self.sampler.count:
                around = particles[:, :kept]
                found.append(self.sampler.around(around, radius, low, high, generator))
            judged = _within(torch.cat(found, dim=1), low, high)
            cost = judge(judged)
            best, _ = best_particles(judged, cost.detach(), 1)
            beside = _within(best + self.stencil.to(best.dtype), low, high)
            judged, cost = torch.cat([judged, beside], 1), torch.cat([cost, judge(beside)], 1)
            particles, least = best_particles(judged, cost.detach(), kept)
            radius = max(1.0, radius * self.shrink)
            least = least.masked_fill(least >= BLOCKED, torch.inf)
            if valid0 is not None:
                least = least.masked_fill(~valid0[:, None], torch.inf)
            yield Searched(particles, least, judged, cost)

    def expected(
        self,
        features0: Float[Tensor, "B D H0 W0"],
        features1: Float[Tensor, "B D H1 W1"],
        particles: Num[Tensor, "B K A H W"],
    ) -> Float[Tensor, "B A H W"]:
        """Return the offset that is expected around the best particle, between pixels.

        Args:
            features0: As in ``forward``.
            features1: As in ``forward``.
            particles: What a search found, best first.
        """
        low, high = self._limits(features0, features1, None)
        beside = _within(particles[:, :1] + self.stencil.to(particles.dtype), low, high)
        judged = torch.cat([particles[:, :1], beside], dim=1)
        return self.evaluation.expected(judged, self.evaluation(features0, features1, judged))

    def _limits(
        self, features0: Tensor, features1: Tensor, limits: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        margin = self.patch_size - 1
        sizes = [(f.shape[-2] - margin, f.shape[-1] - margin) for f in (features0, features1)]
        reach = None if limits is not None else self.reach
        low, high = search_range(sizes[0], sizes[1], self.axes, reach, features0.device)
        if not self.whole:
            low, high = low.to(features0.dtype), high.to(features0.dtype)
        low, high = (x.expand(len(features0), -1, -1, -1) for x in (low, high))
        if limits is None:
            return low, high
        given = [x.to(low.dtype) for x in limits]
        return _within(given[0], low, high, 0), _within(given[1], low, high, 0)

    def _first(
        self, low: Tensor, high: Tensor, generator: torch.Generator | None
    ) -> Num[Tensor, "B _ A H W"]:
        drawn = self.first(low, high, generator)
        return torch.cat([torch.zeros_like(drawn[:, :1]), drawn], dim=1)


def _lands(particles: Tensor, where: Bool[Tensor, "B H1 W1"]) -> Tensor:
    """Tell which particles point to a marked pixel, (B, K, H, W)."""
    zeros = torch.zeros_like(particles[:, 0, :1], dtype=torch.float32)
    return matching_cost(zeros, where[:, None].float(), particles) > 0


def _within(particles: Tensor, low: Tensor, high: Tensor, at: int = 1) -> Tensor:
    """Move particles into the search range; ``at`` is where their axis K stands, 0 for none."""
    if at:
        low, high = low.unsqueeze(at), high.unsqueeze(at)
    return torch.minimum(torch.maximum(particles, low), high)
