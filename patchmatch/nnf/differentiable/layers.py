"""The layers of Differentiable PatchMatch: particle sampling, propagation and evaluation."""

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from patchmatch.nnf.differentiable.ops import (
    best_particles,
    duplicate_particles,
    matching_cost,
    propagate_particles,
    propagate_particles_by_convolution,
    stratified_particles,
)
from patchmatch.nnf.patches import require_norm

INITIAL_TEMPERATURE = 10.0
MODE_RADIUS = 1.5  # pixels: particles farther than this from the best one belong to another mode
MASKED_LOGIT = -1e9


class ParticleSampler(nn.Module):
    """Draw random particles from the search range of every pixel, or around given particles.

    Every image of a batch gets the same random numbers, which it would also get alone.

    Args:
        count: Particles per pixel.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(
        self,
        low: Num[Tensor, "B A H W"],
        high: Num[Tensor, "B A H W"],
        generator: torch.Generator | None = None,
    ) -> Num[Tensor, "B K A H W"]:
        """Draw one particle from each of K equal strata of the range.

        Args:
            low: The lowest offset; long for integer particles, float for subpixel ones.
            high: The highest offset.
            generator: Random number generator on the CPU.
        """
        shape = (1, self.count, *low.shape[1:])
        stratum = torch.rand(shape, generator=generator).argsort(dim=1)
        position = torch.rand(shape, generator=generator).to(low.device)
        return stratified_particles(low, high, stratum.to(low.device), position)

    def sample_around(
        self,
        particles: Num[Tensor, "B K A H W"],
        radius: float,
        low: Num[Tensor, "B A H W"],
        high: Num[Tensor, "B A H W"],
        generator: torch.Generator | None = None,
    ) -> Num[Tensor, "B M A H W"]:
        """Draw M particles within a window around the given ones, which take turns.

        Args:
            particles: Centres of the windows.
            radius: Half the side of the windows in pixels.
            low: The lowest offset.
            high: The highest offset.
            generator: Random number generator on the CPU.
        """
        shape = (1, self.count, *low.shape[1:])
        random = (torch.rand(shape, generator=generator) * 2 - 1).to(low.device)
        if low.is_floating_point():
            step = random * radius
        else:
            step = (random * (round(radius) + 0.5)).round().long()
        centres = particles[:, torch.arange(self.count, device=low.device) % particles.shape[1]]
        return clamp_particles(centres + step, low, high)


def clamp_particles(
    particles: Num[Tensor, "B K A H W"],
    low: Num[Tensor, "#B A H W"],
    high: Num[Tensor, "#B A H W"],
) -> Num[Tensor, "B K A H W"]:
    """Clamp particles to the search range of their pixels."""
    return torch.minimum(torch.maximum(particles, low.unsqueeze(1)), high.unsqueeze(1))


class Propagation(nn.Module):
    """Add the particles of the neighbours to those of every pixel.

    Args:
        steps: Distances of the neighbours in pixels.
        axes: ``xy`` for four neighbours at each distance, ``x`` or ``y`` for two.
        form: ``shifts`` moves the particles; ``convolution`` convolves them with one-hot filters
            as in the paper, with the same result, but slower.
    """

    def __init__(
        self, steps: tuple[int, ...] = (1,), axes: str = "xy", form: str = "shifts"
    ) -> None:
        super().__init__()
        forms = {"shifts": propagate_particles, "convolution": propagate_particles_by_convolution}
        if form not in forms:
            raise ValueError(f"form must be one of {', '.join(forms)}, got {form!r}")
        self.steps, self.axes, self.function = tuple(steps), axes, forms[form]

    def forward(self, particles: Num[Tensor, "B K A H W"]) -> Num[Tensor, "B M A H W"]:
        """Return the particles of every pixel, then those of its neighbours."""
        return self.function(particles, self.steps, self.axes)


class Evaluation(nn.Module):
    """Evaluate particles: matching cost, probability and expected offset.

    Args:
        patch_size: Side of the patches of the feature maps that are compared.
        norm: ``l2`` sums squared differences, ``l1`` absolute ones.
        temperature: Initial factor of the costs before the softmax; its logarithm is learned.
    """

    def __init__(
        self, patch_size: int = 1, norm: str = "l2", temperature: float = INITIAL_TEMPERATURE
    ) -> None:
        super().__init__()
        require_norm(norm)
        self.patch_size, self.norm = patch_size, norm
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())

    def forward(
        self,
        features0: Float[Tensor, "B D H0 W0"],
        features1: Float[Tensor, "B D H1 W1"],
        particles: Num[Tensor, "B K A H W"],
    ) -> Float[Tensor, "B K H W"]:
        """Return the cost of particles, see ``ops.matching_cost``."""
        return matching_cost(features0, features1, particles, self.patch_size, self.norm)

    def log_probability(
        self, particles: Num[Tensor, "B K A H W"], cost: Float[Tensor, "B K H W"]
    ) -> Float[Tensor, "B K H W"]:
        """Return the log-probability of each particle; duplicates have probability 0."""
        logits = -self.log_temperature.exp() * cost
        return logits.masked_fill(duplicate_particles(particles), MASKED_LOGIT).log_softmax(dim=1)

    def expected(
        self,
        particles: Num[Tensor, "B K A H W"],
        cost: Float[Tensor, "B K H W"],
        radius: float = MODE_RADIUS,
    ) -> Float[Tensor, "B A H W"]:
        """Return the expected offset among the particles near the best one.

        Particles of another mode are left out, because the mean of two modes matches neither.

        Args:
            particles: K particles.
            cost: Their cost.
            radius: Largest distance to the best particle along an axis in pixels.
        """
        best, _ = best_particles(particles, cost.detach(), 1)
        far = ((particles - best).abs() > radius).any(dim=2)
        logits = self.log_probability(particles, cost).masked_fill(far, MASKED_LOGIT)
        return (logits.softmax(dim=1).unsqueeze(2) * particles).sum(dim=1)
