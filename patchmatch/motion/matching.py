"""Matching of two frames on one pyramid level, by differentiable tensor operations."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion.candidates import most_probable
from patchmatch.motion.confidence import match_evidence, position_evidence
from patchmatch.motion.features import CLIP, NOISE_TILE, PyramidLevel
from patchmatch.motion.lucas_kanade import registration_step
from patchmatch.motion.neighbours import geometric_median
from patchmatch.motion.noise import noise_residual
from patchmatch.motion.windows import (
    FINE_TAPS,
    Windows,
    averaging_matrix,
    subwindow_weights,
    tile_values,
    window_corners,
)

SMALLEST_WINDOW = 16  # pixels of a level
MERGE_DISTANCE = 0.75  # pixels: nearer candidates are replaced by the refined best one
MEDIAN_STEPS, SOFTENING = 4, 0.05  # Weiszfeld iterations, and pixels added to every distance
MIN_GRADIENT = 0.02  # added to the root mean square gradient before the logarithm
CHUNK_PIXELS = 400_000  # pixels of windows that are compared at a time


def median_displacement(
    candidates: Float[Tensor, "B R C K 2"],
    logits: Float[Tensor, "B R C K"],
    best: Float[Tensor, "B R C 1 2"] | None = None,
) -> Float[Tensor, "B R C 2"]:
    """Return the geometric median of the candidates, the displacement of least expected error.

    Args:
        candidates: In pixels.
        logits: Of their probabilities.
        best: The best candidate after refinement, which replaces those near the best; None for the
            best candidate itself.
    """
    top = most_probable(candidates, logits)
    best = top if best is None else best
    near = (candidates - top).norm(dim=-1, keepdim=True) < MERGE_DISTANCE
    points = torch.where(near, best, candidates)
    probability = logits.softmax(dim=-1)
    median = geometric_median(
        points.flatten(0, 2),
        probability.flatten(0, 2),
        best.detach().flatten(0, 3),
        MEDIAN_STEPS,
        SOFTENING,
    )
    return median.view_as(best[..., 0, :])


class MatchingBase(ABC):
    """Windows of two frames on a pyramid level, in tensor operations or compiled loops.

    Attributes:
        shape: (B, R, C), number of frames, rows and columns of blocks.
        block: Side of a block in pixels of the level.
        size: Height and width of the level in pixels.
        structure_tensor: (N, 16, 3), means of the gradient products xx, xy and yy over each
            subwindow.
        noise_variance: (N, 16), mean variance of the noise of both frames.
        texture: (B, R, C, 16), logarithm of the root mean square gradient, finite without texture.
        noise: (B, R, C, 16), standard deviation of the noise.
        subwindow_weights: (16,), weight of each subwindow in means over a window.
    """

    shape: torch.Size
    block: int
    size: torch.Size
    structure_tensor: Tensor
    noise_variance: Tensor
    texture: Tensor
    noise: Tensor
    subwindow_weights: Tensor

    @abstractmethod
    def residual(self, candidates: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean clipped difference minus that of noise, (B, R, C, K, 16).

        Args:
            candidates: (B, R, C, K, 2), displacements.
            mask: (B, R, C, K) bool; where False, the compiled form leaves the residual undefined.
        """

    @abstractmethod
    def refine(self, candidates: Tensor, weights: Any, level: int, steps: int) -> list[Tensor]:
        """Return displacements after each step of registration, (B, R, C, K, 2).

        Args:
            candidates: (B, R, C, K, 2), initial displacements.
            weights: Weights of the subwindows: ``RobustWeights`` or ``GemanMcClureWeights``.
            level: Pyramid level.
            steps: Number of steps.
        """

    def evidence(
        self, displacement: Tensor, zero_residual: Tensor, candidates: Tensor, probability: Tensor
    ) -> Tensor:
        """Return features that predict the confidence of a displacement, (B, R, C, 13), detached.

        Args:
            displacement: (B, R, C, 2).
            zero_residual: (B, R, C, 16), the residual of zero motion.
            candidates: (B, R, C, K, 2), candidates of the last vote.
            probability: (B, R, C, K), their shares of the votes.
        """
        displacement, candidates, probability = (
            x.detach() for x in (displacement, candidates, probability)
        )
        residual = self.residual(displacement.unsqueeze(-2)).squeeze(-2)
        subwindows = residual, zero_residual, self.texture, self.noise
        match = match_evidence(displacement, *subwindows, candidates, probability)
        position = position_evidence(displacement, residual, self.block, *self.size)
        return torch.cat([match, position], dim=-1)


class Matching(MatchingBase):
    """Windows of two frames on a pyramid level, in differentiable tensor operations.

    Args:
        level0: The earlier frames.
        level1: The later frames.
        shape: Number of frames, rows and columns of blocks.
        block: Side of a block in pixels of the level.
    """

    def __init__(
        self, level0: PyramidLevel, level1: PyramidLevel, shape: torch.Size, block: int
    ) -> None:
        self.shape, self.block, self.size = shape, block, level0.normalized.shape[-2:]
        self.side = max(block, SMALLEST_WINDOW)
        image0, image1 = level0.normalized, level1.normalized
        self.subwindow_weights = subwindow_weights(block, self.side, image0.device)
        height, width = self.size
        corner, image = window_corners(shape, (height, width), block, self.side, image0.device)
        dx, dy = (F.pad(image0[:, None], p, mode="replicate") for p in ((1, 1, 0, 0), (0, 0, 1, 1)))
        dx, dy = (dx[..., 2:] - dx[..., :-2])[:, 0], (dy[..., 2:, :] - dy[..., :-2, :])[:, 0]
        windows = (
            Windows(values, corner, image, self.side).cut() for values in (image0, dx / 2, dy / 2)
        )
        self.window, *self.gradient = windows
        self.windows1 = Windows(image1, corner, image, self.side)
        self.averaging = averaging_matrix(self.side, image0.device)
        x, y = self.gradient
        self.structure_tensor = torch.stack([self._means(p) for p in (x * x, x * y, y * y)], dim=-1)
        noise0, noise1 = (
            tile_values(level.noise, corner, image, self.side, NOISE_TILE)
            for level in (level0, level1)
        )
        self.noise_variance = (noise0.square() + noise1.square()) / 2
        texture = (
            (self.structure_tensor[..., 0] + self.structure_tensor[..., 2]).sqrt() + MIN_GRADIENT
        ).log()
        self.texture, self.noise = (
            x.unflatten(0, shape) for x in (texture, self.noise_variance.sqrt())
        )

    def _means(self, windows: Tensor) -> Tensor:
        return windows @ self.averaging

    def _differences(self, candidates: Tensor, taps: int = 2) -> Iterator[tuple[slice, Tensor]]:
        """Yield frame 1 minus frame 0 under every candidate, (n, K, L), some blocks at a time.

        Parts fit into the cache, and bound the memory of large frames.
        """
        flat = candidates.flatten(0, 2)
        # An exported graph, for frames of any size, has a fixed number of parts: one.
        at_once = sys.maxsize if torch.compiler.is_exporting() else 2 * CHUNK_PIXELS // taps
        step = max(1, at_once // (flat.shape[1] * self.window.shape[1]))
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            windows = self.windows1.read(flat[part], part, taps)
            yield part, windows - self.window[part, None]

    def residual(self, candidates: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the residuals of all candidates."""
        parts = [
            self._means(difference.abs().clamp_max(CLIP))
            for _, difference in self._differences(candidates)
        ]
        expected = noise_residual(self.noise.unsqueeze(-2), candidates, CLIP)
        return torch.cat(parts).unflatten(0, self.shape) - expected

    def gradient_residual(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradient times difference, (N, K, 16, 2), and its square, (N, K, 16)."""
        products, squares = [], []
        for part, difference in self._differences(candidates, FINE_TAPS):
            along = [self._means(g[part, None] * difference) for g in self.gradient]
            products.append(torch.stack(along, dim=-1))
            squares.append(self._means(difference * difference))
        return torch.cat(products), torch.cat(squares)

    def refine(self, candidates: Tensor, weights: Any, level: int, steps: int) -> list[Tensor]:
        """Return displacements after each step of registration."""
        refined = [candidates]
        for _ in range(steps):
            gradient_residual, squared = self.gradient_residual(refined[-1])
            robust = weights(squared, self.texture.flatten(0, 2), level)
            step = registration_step(
                self.structure_tensor[:, None],
                gradient_residual,
                robust,
                self.noise_variance[:, None],
            )
            refined.append(refined[-1] + step.view_as(candidates))
        return refined[1:]
