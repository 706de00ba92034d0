"""The layers of Differentiable PatchMatch: draw particles, offer them to the neighbours, judge."""

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from patchmatch.nnf.differentiable.ops import (
    best_particles,
    matching_cost,
    propagate,
    propagate_by_convolution,
    repeated,
    stratified,
)

TEMPERATURE = 10.0  # where the search starts to learn
NEAR = 1.5  # pixels: particles farther than this from the best one are another answer


class ParticleSampler(nn.Module):
    """Random particles in the search range of every pixel, and around what was found.

    Args:
        count: Particles a pixel.
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
        """Draw one particle from each of K equal parts of the range.

        Every image of a batch gets the same random numbers, those that it would get alone.

        Args:
            low: The lowest offset; long for whole particles, float for real ones.
            high: The highest offset.
            generator: Where the chance comes from, on the CPU.
        """
        shape = (1, self.count, *low.shape[1:])
        part = torch.rand(shape, generator=generator).argsort(dim=1)
        place = torch.rand(shape, generator=generator).to(low.device)
        return stratified(low, high, part.to(low.device), place)

    def around(
        self,
        particles: Num[Tensor, "B K A H W"],
        radius: float,
        low: Num[Tensor, "B A H W"],
        high: Num[Tensor, "B A H W"],
        generator: torch.Generator | None = None,
    ) -> Num[Tensor, "B M A H W"]:
        """Draw M particles within a window around particles, taking these in turn.

        Args:
            particles: The middles of the windows.
            radius: Half the side of the windows in pixels.
            low: The lowest offset.
            high: The highest offset.
            generator: Where the chance comes from, on the CPU.
        """
        shape = (1, self.count, *low.shape[1:])
        random = (torch.rand(shape, generator=generator) * 2 - 1).to(low.device)
        if low.is_floating_point():
            step = random * radius
        else:
            step = (random * (round(radius) + 0.5)).round().long()
        turns = torch.arange(self.count, device=low.device) % particles.shape[1]
        moved = particles[:, turns] + step
        return torch.minimum(torch.maximum(moved, low.unsqueeze(1)), high.unsqueeze(1))


class Propagation(nn.Module):
    """Offer every pixel the particles of its neighbours.

    Args:
        steps: Distances of the neighbours in pixels.
        axes: ``xy`` for four neighbours at each distance, ``x`` or ``y`` for two.
        form: ``shifts`` moves the particles, ``convolution`` convolves them with one-hot filters
            as the paper has it: the same particles, more slowly.
    """

    def __init__(
        self, steps: tuple[int, ...] = (1,), axes: str = "xy", form: str = "shifts"
    ) -> None:
        super().__init__()
        forms = {"shifts": propagate, "convolution": propagate_by_convolution}
        if form not in forms:
            raise ValueError(f"form must be one of {', '.join(forms)}, got {form!r}")
        self.steps, self.axes, self.function = tuple(steps), axes, forms[form]

    def forward(self, particles: Num[Tensor, "B K A H W"]) -> Num[Tensor, "B M A H W"]:
        """Return the particles of every pixel, then those of its neighbours."""
        return self.function(particles, self.steps, self.axes)


class Evaluation(nn.Module):
    """Judge particles: their cost, their probability and the offset that is expected.

    Args:
        patch_size: Side of the patches of the feature maps that are compared.
        norm: ``l2`` sums squared differences, ``l1`` absolute ones.
        temperature: What a cost is multiplied by before the softmax; learned, in its logarithm.
    """

    def __init__(
        self, patch_size: int = 1, norm: str = "l2", temperature: float = TEMPERATURE
    ) -> None:
        super().__init__()
        if norm not in ("l2", "l1"):
            raise ValueError(f"norm must be l2 or l1, got {norm!r}")
        self.patch_size, self.norm = patch_size, norm
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())

    def forward(
        self,
        features0: Float[Tensor, "B D H0 W0"],
        features1: Float[Tensor, "B D H1 W1"],
        particles: Num[Tensor, "B K A H W"],
    ) -> Float[Tensor, "B K H W"]:
        """Return the cost of particles, see ``ops.particles.matching_cost``."""
        return matching_cost(features0, features1, particles, self.patch_size, self.norm)

    def log_probability(
        self, particles: Num[Tensor, "B K A H W"], cost: Float[Tensor, "B K H W"]
    ) -> Float[Tensor, "B K H W"]:
        """Return the logarithm of the probability of each particle among all that differ."""
        scores = -self.log_temperature.exp() * cost
        return scores.masked_fill(repeated(particles), -1e9).log_softmax(dim=1)

    def expected(
        self,
        particles: Num[Tensor, "B K A H W"],
        cost: Float[Tensor, "B K H W"],
        near: float = NEAR,
    ) -> Float[Tensor, "B A H W"]:
        """Return the expected offset among the particles near the best one.

        Two answers far apart are never averaged into a place that is none.

        Args:
            particles: K particles.
            cost: Their cost.
            near: Largest distance along an axis in pixels.
        """
        best, _ = best_particles(particles, cost.detach(), 1)
        far = ((particles - best).abs() > near).any(dim=2)
        share = self.log_probability(particles, cost).masked_fill(far, -1e9).softmax(dim=1)
        return (share.unsqueeze(2) * particles).sum(dim=1)
