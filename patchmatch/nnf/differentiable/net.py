"""Differentiable PatchMatch: correspondence search as layers that can be trained through.

Duggal, Wang, Ma, Hu and Urtasun, "DeepPruner: learning efficient stereo matching via
differentiable PatchMatch", ICCV 2019, after Barnes et al., "PatchMatch", SIGGRAPH 2009. Every
iteration samples, propagates and evaluates particles with the same weights. The best particles are
selected by a hard minimum, so that the best match so far is never lost. Gradients flow through the
costs of all evaluated particles to the features and the temperature.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from patchmatch.nnf.differentiable.layers import (
    Evaluation,
    ParticleSampler,
    Propagation,
    clamp_particles,
)
from patchmatch.nnf.differentiable.ops import (
    MASKED_COST,
    best_particles,
    matching_cost,
    search_range,
)


class SearchState(NamedTuple):
    """The particles after an iteration.

    Attributes:
        particles: (B, K, A, H, W), the best so far, all different, best first.
        cost: (B, K, H, W), their costs.
        evaluated: (B, M, A, H, W), all particles that were evaluated in this iteration.
        evaluated_cost: (B, M, H, W), their costs, through which gradients reach the features.
    """

    particles: Tensor
    cost: Tensor
    evaluated: Tensor
    evaluated_cost: Tensor


class DifferentiablePatchMatchNet(nn.Module):
    """Search the best match of every pixel, unrolled, with the same weights in every iteration.

    An iteration evaluates for every pixel its own particles, those of its neighbours, random ones
    in a window that shrinks from iteration to iteration, and the offsets adjacent to the best one.

    Args:
        axes: 2 searches displacements (dx, dy), 1 disparities d with x1 = x0 - d.
        iterations: Number of iterations.
        particles: Particles kept for each pixel.
        samples: Random particles evaluated for each pixel in an iteration.
        steps: Distances in pixels of the neighbours whose particles are evaluated.
        max_displacement: Largest component of an offset in pixels; None for any.
        shrink: Factor of the window after each iteration.
        patch_size: Side of the patches of the feature maps that are compared.
        norm: ``l2`` or ``l1``.
        integer: Whether offsets are integers; otherwise they are real numbers.
        form: Implementation of the propagation, see ``Propagation``.
    """

    def __init__(
        self,
        axes: int = 2,
        iterations: int = 8,
        particles: int = 1,
        samples: int = 4,
        steps: tuple[int, ...] = (1, 4),
        max_displacement: int | None = None,
        shrink: float = 0.5,
        patch_size: int = 1,
        norm: str = "l2",
        integer: bool = True,
        form: str = "shifts",
    ) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise ValueError(f"axes must be 1 (disparities) or 2 (displacements), got {axes}")
        if max_displacement is not None and max_displacement < 1:
            raise ValueError(
                f"max_displacement must be at least 1 pixel, or None, got {max_displacement}"
            )
        if not 0 < shrink <= 1:
            raise ValueError(f"shrink must lie between 0 and 1, got {shrink}")
        self.axes, self.iterations, self.max_displacement = axes, iterations, max_displacement
        self.shrink, self.integer, self.patch_size = shrink, integer, patch_size
        self.initial_sampler, self.sampler = ParticleSampler(particles), ParticleSampler(samples)
        self.propagation = Propagation(steps, "xy", form)
        self.evaluation = Evaluation(patch_size, norm)
        stencil = torch.cartesian_prod(*[torch.arange(-1, 2)] * axes).view(-1, axes)
        self.register_buffer("stencil", stencil[:, :, None, None], persistent=False)
        self.stencil: Tensor  # (3 ** axes, axes, 1, 1), the adjacent offsets and 0

    @property
    def num_evaluated(self) -> int:
        """Number of particles evaluated for each pixel in an iteration."""
        propagated = self.initial_sampler.count * (1 + 4 * len(self.propagation.steps))
        return propagated + self.sampler.count + len(self.stencil)

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
    ) -> Iterator[SearchState]:
        """Yield the state after each iteration.

        Args:
            features0: Features of image 0.
            features1: Features of image 1; the size may differ.
            limits: Lowest and highest offset of every pixel, each (B, A, H, W), in place of
                ``max_displacement``. Offsets that leave image 1 are never evaluated.
            start: Initial particles; None for offset 0 and random ones.
            valid0: Pixels to match; the cost of all others is infinite.
            valid1: Pixels that may be matched.
            generator: Random number generator on the CPU.
            iterations: Number of iterations; None for that of the constructor.
        """
        low, high = self._limits(features0, features1, limits)

        def evaluate(particles: Tensor) -> Tensor:
            cost = self.evaluation(features0, features1, particles)
            if valid1 is None:
                return cost
            return cost.masked_fill(_points_to(particles, ~valid1), MASKED_COST)

        if start is None:
            random = self.initial_sampler(low, high, generator)
            start = torch.cat([torch.zeros_like(random[:, :1]), random], dim=1)
        particles, k = clamp_particles(start, low, high), self.initial_sampler.count
        radius = float((high - low).max()) / 2
        for _ in range(self.iterations if iterations is None else iterations):
            candidates = [self.propagation(particles)]
            if self.sampler.count:
                candidates.append(
                    self.sampler.sample_around(particles[:, :k], radius, low, high, generator)
                )
            evaluated = clamp_particles(torch.cat(candidates, dim=1), low, high)
            cost = evaluate(evaluated)
            best, _ = best_particles(evaluated, cost.detach(), 1)
            adjacent = clamp_particles(best + self.stencil.to(best.dtype), low, high)
            evaluated = torch.cat([evaluated, adjacent], dim=1)
            cost = torch.cat([cost, evaluate(adjacent)], dim=1)
            particles, lowest = best_particles(evaluated, cost.detach(), k)
            radius = max(1.0, radius * self.shrink)
            lowest = lowest.masked_fill(lowest >= MASKED_COST, torch.inf)
            if valid0 is not None:
                lowest = lowest.masked_fill(~valid0[:, None], torch.inf)
            yield SearchState(
                particles=particles, cost=lowest, evaluated=evaluated, evaluated_cost=cost
            )

    def expected(
        self,
        features0: Float[Tensor, "B D H0 W0"],
        features1: Float[Tensor, "B D H1 W1"],
        particles: Num[Tensor, "B K A H W"],
    ) -> Float[Tensor, "B A H W"]:
        """Return the expected offset around the best particle, with subpixel resolution.

        Args:
            features0: As in ``forward``.
            features1: As in ``forward``.
            particles: The result of a search, best first.
        """
        low, high = self._limits(features0, features1, None)
        best = particles[:, :1]
        adjacent = clamp_particles(best + self.stencil.to(best.dtype), low, high)
        evaluated = torch.cat([best, adjacent], dim=1)
        return self.evaluation.expected(evaluated, self.evaluation(features0, features1, evaluated))

    def _limits(
        self, features0: Tensor, features1: Tensor, limits: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest offset of every pixel, each (B, A, H, W)."""
        margin = self.patch_size - 1
        sizes = [(f.shape[-2] - margin, f.shape[-1] - margin) for f in (features0, features1)]
        largest = None if limits is not None else self.max_displacement
        low, high = search_range(sizes[0], sizes[1], self.axes, largest, features0.device)
        if not self.integer:
            low, high = low.to(features0.dtype), high.to(features0.dtype)
        low, high = (x.expand(len(features0), -1, -1, -1) for x in (low, high))
        if limits is None:
            return low, high
        given = [x.to(low.dtype) for x in limits]
        return given[0].maximum(low).minimum(high), given[1].maximum(low).minimum(high)


def _points_to(particles: Tensor, mask: Bool[Tensor, "B H1 W1"]) -> Tensor:
    """Return which particles point to a pixel of a mask, (B, K, H, W)."""
    zeros = torch.zeros_like(particles[:, 0, :1], dtype=torch.float32)
    return matching_cost(zeros, mask[:, None].float(), particles) > 0
