"""Matching of two frames on one pyramid level, by differentiable tensor operations."""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.motion.candidates import likeliest
from patchmatch.motion.confidence import answer_evidence, place_evidence
from patchmatch.motion.features import CLIP, NOISE_CELL, Level
from patchmatch.motion.lucas_kanade import registration_step
from patchmatch.motion.neighbours import geometric_median
from patchmatch.motion.noise import noise_residual
from patchmatch.motion.windows import (
    FINE_TAPS,
    Windows,
    cell_shares,
    cell_values,
    cell_weights,
    window_corners,
)

SMALLEST_WINDOW = 16  # pixels of a level
STANDS_FOR = 0.75  # pixels: the refined best candidate stands for all those so near
WEISZFELD, SOFTENING = 4, 0.05  # iterations, and pixels added to every distance
NO_TEXTURE = 0.02  # root mean square gradient: added before the logarithm
AT_ONCE = 400_000  # pixels of windows that are compared at a time


def settle(
    offered: Float[Tensor, "B R C K 2"],
    logits: Float[Tensor, "B R C K"],
    best: Float[Tensor, "B R C 1 2"] | None = None,
) -> Float[Tensor, "B R C 2"]:
    """Return the answer of least expected error: the geometric median of what is possible.

    The best candidate, after its refinement if there was one, stands for all those close to it.
    """
    top = likeliest(offered, logits)
    best = top if best is None else best
    near = (offered - top).norm(dim=-1, keepdim=True) < STANDS_FOR
    points = torch.where(near, best, offered)
    probability = logits.softmax(dim=-1)
    answer = geometric_median(
        points.flatten(0, 2),
        probability.flatten(0, 2),
        best.detach().flatten(0, 3),
        WEISZFELD,
        SOFTENING,
    )
    return answer.view_as(best[..., 0, :])


class MatchingBase:
    """What both forms of ``Matching`` share."""

    tensor: Tensor
    texture: Tensor
    noise: Tensor
    shares: Tensor
    block: int
    size: torch.Size

    def residual(self, candidates: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Return the residuals (B, R, C, K, 16)."""
        raise NotImplementedError

    def refine(self, candidates: Tensor, trust: Any, level: int, steps: int) -> list[Tensor]:
        """Return the displacements after the steps of registration."""
        raise NotImplementedError

    def evidence(
        self, answer: Tensor, at_rest: Tensor, offered: Tensor, probability: Tensor
    ) -> Tensor:
        """Return what tells a right answer from a wrong one, (B, R, C, 13); no gradient passes.

        Args:
            answer: (B, R, C, 2), what was settled on.
            at_rest: (B, R, C, 16), the residual of no motion.
            offered: (B, R, C, K, 2), among what was chosen.
            probability: (B, R, C, K), that each is right.
        """
        answer, offered, probability = (x.detach() for x in (answer, offered, probability))
        residual = self.residual(answer.unsqueeze(-2)).squeeze(-2)
        fits = answer_evidence(
            answer, residual, at_rest, self.texture, self.noise, offered, probability
        )
        place = place_evidence(answer, residual, self.block, *self.size)
        return torch.cat([fits, place], dim=-1)


class Matching(MatchingBase):
    """One level of two frames, window by window: what does not change from step to step.

    Args:
        level0: The earlier frames.
        level1: The later frames.
        shape: Number of frames, rows and columns of blocks.
        block: Side of a block in pixels of the level.

    Attributes:
        shape: (B, R, C).
        size: Height and width of the level in pixels.
        tensor: (N, 16, 3), means over each cell of the gradients' products xx, xy and yy.
        loudness: (N, 16), variance of the noise, of both frames as one of them.
        texture: (B, R, C, 16), logarithm of the root mean square gradient, finite if there is none.
        noise: (B, R, C, 16), standard deviation of the noise.
        shares: (16,), what each cell counts in means over a window.
    """

    def __init__(self, level0: Level, level1: Level, shape: torch.Size, block: int) -> None:
        self.shape, self.block, self.size = shape, block, level0.even.shape[-2:]
        self.side = max(block, SMALLEST_WINDOW)
        image0, image1 = level0.even, level1.even
        self.shares = cell_shares(block, self.side, image0.device)
        height, width = self.size
        corner, image = window_corners(shape, (height, width), block, self.side, image0.device)
        dx, dy = (F.pad(image0[:, None], p, mode="replicate") for p in ((1, 1, 0, 0), (0, 0, 1, 1)))
        dx, dy = (dx[..., 2:] - dx[..., :-2])[:, 0], (dy[..., 2:, :] - dy[..., :-2, :])[:, 0]
        pictures = image0, dx / 2, dy / 2
        windows = (Windows(picture, corner, image, self.side).cut() for picture in pictures)
        self.window, *self.gradient = windows
        self.windows1 = Windows(image1, corner, image, self.side)
        self.weights = cell_weights(self.side, image0.device)
        x, y = self.gradient
        self.tensor = torch.stack([self._cells(p) for p in (x * x, x * y, y * y)], dim=-1)
        noise0, noise1 = (
            cell_values(level.noise, corner, image, self.side, NOISE_CELL)
            for level in (level0, level1)
        )
        self.loudness = (noise0.square() + noise1.square()) / 2
        texture = ((self.tensor[..., 0] + self.tensor[..., 2]).sqrt() + NO_TEXTURE).log()
        self.texture, self.noise = (x.unflatten(0, shape) for x in (texture, self.loudness.sqrt()))

    def _cells(self, windows: Tensor) -> Tensor:
        return windows @ self.weights

    def _differences(self, candidates: Tensor, taps: int = 2) -> Iterator[tuple[slice, Tensor]]:
        """Yield frame 1 minus frame 0 under every candidate, (n, K, L), some blocks at a time.

        What fits into the cache is faster, and the memory of large frames stays small.
        """
        flat = candidates.flatten(0, 2)
        # for frames of any size, as they are exported, nobody knows of how many parts
        at_once = sys.maxsize if torch.compiler.is_exporting() else 2 * AT_ONCE // taps
        step = max(1, at_once // (flat.shape[1] * self.window.shape[1]))
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            windows = self.windows1.read(flat[part], part, taps)
            yield part, windows - self.window[part, None]

    def residual(self, candidates: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Return the mean clipped difference in each cell, less the noise's, (B, R, C, K, 16).

        Args:
            candidates: (B, R, C, K, 2), displacements.
            wanted: (B, R, C, K), the compiled form computes no others.
        """
        parts = [
            self._cells(difference.abs().clamp_max(CLIP))
            for _, difference in self._differences(candidates)
        ]
        expected = noise_residual(self.noise.unsqueeze(-2), candidates, CLIP)
        return torch.cat(parts).unflatten(0, self.shape) - expected

    def mismatch(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradient times difference, (N, K, 16, 2), and its square, (N, K, 16)."""
        products, squares = [], []
        for part, difference in self._differences(candidates, FINE_TAPS):
            along = [self._cells(g[part, None] * difference) for g in self.gradient]
            products.append(torch.stack(along, dim=-1))
            squares.append(self._cells(difference * difference))
        return torch.cat(products), torch.cat(squares)

    def refine(
        self,
        candidates: Tensor,
        trust: Any,
        level: int,
        steps: int,
    ) -> list[Tensor]:
        """Return displacements after each step of registration, (B, R, C, K, 2).

        Args:
            candidates: (B, R, C, K, 2), where to begin.
            trust: What weighs the cells: ``CellTrust`` or ``PlainTrust``.
            level: Level of the pyramid.
            steps: How many.
        """
        refined = [candidates]
        for _ in range(steps):
            mismatch, squared = self.mismatch(refined[-1])
            weights = trust(squared, self.texture.flatten(0, 2), level)
            step = registration_step(
                self.tensor[:, None], mismatch, weights, self.loudness[:, None]
            )
            refined.append(refined[-1] + step.view_as(candidates))
        return refined[1:]
