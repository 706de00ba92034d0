"""Motion of any size, block by block: coarse to fine over a pyramid, judged by a small network."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.nets.candidates import distinct, distinct_best, offer
from patchmatch.nets.judge import CellTrust, Judge, PlainJudge, PlainTrust
from patchmatch.nets.windows import Windows, cell_weights, window_corners
from patchmatch.ops import (
    best_candidates,
    block_counts,
    contrast_and_gain,
    cost_volume,
    geometric_median,
    neighbours,
    noise_level,
    noise_residual,
    pyramid,
    registration_step,
)

LEVELS = 4
COARSEST = LEVELS - 1
FIRST = 6  # candidates of the exhaustive search
OFFERED = (7, 10, 10)  # candidates that are judged, by level; all of them in training
KEPT = (1, 2, 4)  # candidates that go on, by level
STEPS = (3, 2, 2)  # of refinement, by level
CLIP = 1.0  # local standard deviations: a difference counts no more
SMALLEST_WINDOW = 16  # pixels of a level
AT_ONCE = 400_000  # pixels of windows that are compared at a time


class Judged(NamedTuple):
    """What a judge said of the candidates of a level: training supervises it."""

    level: int
    candidates: Tensor  #: (B, R, C, K, 2) pixels of the level
    rounds: list[Tensor]  #: logits (B, R, C, K) after each round of messages


class Refined(NamedTuple):
    """Displacements after a step of refinement: training supervises them."""

    level: int
    displacement: Tensor  #: (B, R, C, K, 2) pixels of the level


class Motion(NamedTuple):
    """The motion of every block.

    Attributes:
        displacement: (B, R, C, 2), dx and dy in pixels from frame 0 to frame 1.
        doubts: (B, R, C, 2) logits: that the displacement is right within half a pixel, and that
            most of the block can be seen in frame 1.
        trace: The decisions on the way, for training.
    """

    displacement: Tensor
    doubts: Tensor
    trace: list[Judged | Refined]


class MotionNet(nn.Module):
    """Measure how far each block has moved.

    The frames become pyramids of even contrast. On the smallest level every block is sought
    exhaustively. On each finer one the candidates that are left are offered to the neighbours
    (the propagation of PatchMatch, Barnes et al. 2009), judged, and the likeliest refined between
    pixels (Lucas and Kanade, with learned trust in each cell). The answer on the frame itself is
    the geometric median of what is still possible. The same weights serve every level.

    Args:
        hidden: Channels of the hidden layers.
        learned: False puts formulas by hand in the place of the network: its twin, to compare.
    """

    def __init__(self, hidden: int = 16, learned: bool = True) -> None:
        super().__init__()
        self.judge = Judge(hidden) if learned else PlainJudge()
        self.trust = CellTrust(hidden) if learned else PlainTrust()
        self.doubt = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def describe(self, frames: Float[Tensor, "B 1 H W"]) -> list[Float[Tensor, "B 2 _ _"]]:
        """Return what ``compare`` needs to know of each frame, computed once a frame.

        For every level the image of even contrast, and the standard deviation of the noise in it.
        """
        noise = noise_level(frames)[:, None, None, None]
        described = []
        for level, image in enumerate(pyramid(frames, LEVELS)):
            even, gain = contrast_and_gain(image)
            described.append(torch.cat([even, gain * (noise / 2**level)], dim=1))
        return described

    def compare(
        self,
        described0: list[Tensor],
        described1: list[Tensor],
        block: int = 32,
        radius: int = 6,
    ) -> Motion:
        """Return the motion between frames and their successors.

        Args:
            described0: The earlier frames, from ``describe``.
            described1: The later frames.
            block: Side of a block in pixels, a multiple of 8 and at least 16.
            radius: Reach of the exhaustive search, in pixels of the smallest level: eight times
                as many of the frame.

        Raises:
            ValueError: If the block has another size, or not one fits into the frame.
        """
        if block % 2**COARSEST or block < 2 * 2**COARSEST:
            raise ValueError(f"block must be a multiple of 8 and at least 16 pixels, got {block}")
        batch, _, height, width = described0[0].shape
        rows, columns = block_counts(height, width, block, block)
        volume = cost_volume(
            described0[COARSEST][:, :1], described1[COARSEST][:, :1], block >> COARSEST, radius
        )
        candidates = best_candidates(volume[..., :rows, :columns], FIRST)
        shape = (batch, rows, columns)
        candidates = candidates.unflatten(0, shape)
        trace: list[Judged | Refined] = []
        for level in range(COARSEST - 1, 0, -1):
            matching = Matching(described0[level], described1[level], shape, block >> level)
            _, candidates = self._descend(matching, candidates, level, trace)
            candidates = candidates.detach()
        matching = Matching(described0[0], described1[0], shape, block)
        judged, candidates = self._descend(matching, candidates, 0, trace)
        offered, logits = judged.candidates, judged.rounds[-1]
        displacement = settle(offered, logits, candidates)
        trace.append(Refined(0, displacement.unsqueeze(-2)))
        evidence = matching.evidence(candidates, displacement, offered, logits)
        return Motion(displacement, self.doubt(evidence), trace)

    def _descend(
        self,
        matching: "Matching",
        candidates: Float[Tensor, "B R C _ 2"],
        level: int,
        trace: list[Judged | Refined],
    ) -> tuple[Judged, Float[Tensor, "B R C _ 2"]]:
        """Judge the candidates of the level above on this one; refine those that are kept."""
        offered = offer(2 * candidates, level)
        if not self.training:  # most repeat others: to learn from, not to spend time on
            offered = distinct(offered, OFFERED[level])
        residual = matching.residual(offered)
        rounds = self.judge(offered, residual, matching.roughness, matching.noise, level)
        judged = Judged(level, offered, rounds)
        trace.append(judged)
        kept = distinct_best(offered, rounds[-1], KEPT[level])
        for _ in range(STEPS[level]):
            mismatch, squared = matching.mismatch(kept)
            weights = self.trust(squared, matching.roughness.flatten(0, 2), level)
            step = registration_step(
                matching.tensor[:, None], mismatch, weights, matching.loudness[:, None]
            )
            kept = kept + step.view_as(kept)
            trace.append(Refined(level, kept))
        return judged, kept

    def forward(
        self, frames: Float[Tensor, "B 1 2 H W"], block: int = 32, radius: int = 6
    ) -> Motion:
        """Return the motion of frame pairs; time is the third axis."""
        earlier, later = (self.describe(frames[:, :, time]) for time in (0, 1))
        return self.compare(earlier, later, block, radius)


class Matching:
    """One level of two frames, window by window: what does not change from step to step."""

    def __init__(
        self, image0: Tensor, image1: Tensor, shape: tuple[int, int, int], block: int
    ) -> None:
        side = max(block, SMALLEST_WINDOW)
        corner, image = window_corners(*shape, block, side, image0.device)
        (image0, noise0), (image1, noise1) = image0.unbind(dim=1), image1.unbind(dim=1)
        dx, dy = (F.pad(image0[:, None], p, mode="replicate") for p in ((1, 1, 0, 0), (0, 0, 1, 1)))
        dx, dy = (
            (dx[..., 2:] - dx[..., :-2])[:, 0] / 2,
            (dy[..., 2:, :] - dy[..., :-2, :])[:, 0] / 2,
        )
        self.shape = shape
        self.window = Windows(image0, corner, image, side).cut()
        self.gradient = [Windows(g, corner, image, side).cut() for g in (dx, dy)]
        self.windows1 = Windows(image1, corner, image, side)
        self.weights = cell_weights(side, image0.device)
        x, y = self.gradient
        self.tensor = torch.stack([self._cells(p) for p in (x * x, x * y, y * y)], dim=-1)
        self.roughness = (self.tensor[..., 0] + self.tensor[..., 2]).sqrt()
        self.roughness = self.roughness.unflatten(0, self.shape)  # (B, R, C, 16)
        # of both frames, as one of them; and squared what it adds to the gradients
        loudness = (noise0.square() + noise1.square()) / 2
        self.loudness = self._cells(Windows(loudness, corner, image, side).cut())
        self.noise = self.loudness.sqrt().unflatten(0, self.shape)

    def _cells(self, windows: Tensor) -> Tensor:
        return windows @ self.weights

    def _differences(self, candidates: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield frame 1 minus frame 0 under every candidate, (n, K, L), some blocks at a time.

        What fits into the cache is faster, and the memory of large frames stays small.
        """
        flat = candidates.flatten(0, 2)
        step = max(1, AT_ONCE // (flat.shape[1] * self.window.shape[1]))
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            yield part, self.windows1.read(flat[part], part) - self.window[part, None]

    def residual(self, candidates: Tensor) -> Tensor:
        """Return the mean clipped difference in each cell, less the noise's, (B, R, C, K, 16)."""
        parts = [
            self._cells(difference.abs().clamp_max(CLIP))
            for _, difference in self._differences(candidates)
        ]
        expected = noise_residual(self.noise.unsqueeze(-2), candidates, CLIP)
        return torch.cat(parts).unflatten(0, self.shape) - expected

    def mismatch(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradient times difference, (N, K, 16, 2), and its square, (N, K, 16)."""
        products, squares = [], []
        for part, difference in self._differences(candidates):
            along = [self._cells(g[part, None] * difference) for g in self.gradient]
            products.append(torch.stack(along, dim=-1))
            squares.append(self._cells(difference * difference))
        return torch.cat(products), torch.cat(squares)

    def evidence(self, best: Tensor, answer: Tensor, offered: Tensor, logits: Tensor) -> Tensor:
        """Return what tells a right answer from a wrong one, (B, R, C, 10); no gradient passes."""
        best, answer, offered, logits = (x.detach() for x in (best, answer, offered, logits))
        still = torch.zeros_like(best)
        residual, at_rest = self.residual(torch.cat([best, still], dim=-2)).unbind(dim=-2)
        texture = (self.roughness + 0.02).log()
        probability = logits.softmax(dim=-1)
        spread = (offered - answer.unsqueeze(-2)).norm(dim=-1)
        columns = [
            residual.mean(dim=-1), residual.amax(dim=-1), residual.amin(dim=-1),
            (at_rest - residual).mean(dim=-1), self.noise.mean(dim=-1),
            texture.mean(dim=-1), texture.amax(dim=-1),
            (probability * spread).sum(dim=-1).log1p(),
            (probability * (spread < 1)).sum(dim=-1),
            (neighbours(answer) - answer.unsqueeze(-2)).norm(dim=-1).mean(dim=-1).log1p(),
        ]  # fmt: skip
        return torch.stack(columns, dim=-1)


def settle(
    offered: Float[Tensor, "B R C K 2"],
    logits: Float[Tensor, "B R C K"],
    best: Float[Tensor, "B R C 1 2"],
) -> Float[Tensor, "B R C 2"]:
    """Return the answer of least expected error: the geometric median of what is possible.

    The refined best candidate stands for all those close to the one it came from.
    """
    top = logits.argmax(dim=-1, keepdim=True).unsqueeze(-1).expand_as(best)
    near = (offered - offered.gather(-2, top)).norm(dim=-1, keepdim=True) < 0.75
    points = torch.where(near, best, offered)
    probability = logits.softmax(dim=-1)
    answer = geometric_median(
        points.flatten(0, 2), probability.flatten(0, 2), best.detach().flatten(0, 3)
    )
    return answer.view_as(best[..., 0, :])
