"""Results of dense matchers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from patchmatch.core.results import Result


@dataclass(frozen=True, repr=False)
class NearestNeighbourField(Result):
    """The most similar patch of image 1 for every patch of image 0.

    The match of a pixel is that of the patch centred on it. A pixel whose patch would cross the
    border gets flow and cost of the nearest pixel with a whole patch.

    Attributes:
        flow: (2, H, W) long, dx and dy in pixels from image 0 to image 1; (K, 2, H, W), best
            first, for K > 1 matches of a pixel.
        cost: (H, W) or (K, H, W) float: the sum of squared or absolute differences over the patch
            and its channels. Infinite where nothing could be matched.
    """

    flow: Tensor
    cost: Tensor


@dataclass(frozen=True, kw_only=True)
class IterationMetrics:
    """How well image 0 is reconstructed after an iteration.

    Attributes:
        iteration: Number of the iteration, from 1.
        ssd: Squared difference between the whole patches of image 0 and their matches: sum over
            the channels of images in [0, 1], mean over pixels and patches.
        psnr: Of the image reconstructed by voting, in dB; infinite if it is equal to image 0.
        ssim: Structural similarity of the same image, at most 1; NaN below 11 pixels.
        seconds: Time of matching up to this iteration, without these metrics.
    """

    iteration: int
    ssd: float
    psnr: float
    ssim: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DenseMatches:
    """The match of every pixel of image 0 in image 1.

    Attributes:
        name: Name of the pair.
        image0: File name of image 0.
        image1: File name of image 1.
        patch_size: Side of the patches in pixels.
        flow: (2, H, W) long, dx and dy in pixels; (K, 2, H, W), best first, for K > 1.
        cost: (H, W) or (K, H, W) float, what the matcher minimises; infinite where a pixel is
            masked or nothing was found.
        rebuilt_centre: (C, H, W) float in [0, 1], every pixel copied from its best match.
        rebuilt_vote: (C, H, W) float in [0, 1], every pixel the mean of all overlapping matched
            patches.
        history: Metrics after each iteration.
        seconds: Time of matching, in both directions where both were searched.
        valid: (H, W) bool, the matched pixels; None for all. All others are black in the
            reconstructed images and left out of the metrics.
        consistent: (H, W) bool, where the best match leads back to its start; None unless both
            directions were searched.
        flow10: (2, H1, W1), the flow from image 1 to image 0; None without ``consistent``.
        snapshots: The image reconstructed by voting after some iterations, by their number.
    """

    name: str
    image0: str
    image1: str
    patch_size: int
    flow: Tensor
    cost: Tensor
    rebuilt_centre: Tensor
    rebuilt_vote: Tensor
    history: tuple[IterationMetrics, ...]
    seconds: float
    valid: Tensor | None = None
    consistent: Tensor | None = None
    flow10: Tensor | None = None
    snapshots: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def consistent_fraction(self) -> float | None:
        """Fraction of the matched pixels that are consistent; None without ``consistent``."""
        if self.consistent is None:
            return None
        matched = self.consistent if self.valid is None else self.consistent[self.valid]
        return matched.float().mean().item()

    @property
    def best_flow(self) -> Tensor:
        """The flow of the best match, (2, H, W)."""
        return self.flow if self.flow.ndim == 3 else self.flow[0]

    @property
    def best_cost(self) -> Tensor:
        """The cost of the best match, (H, W)."""
        return self.cost if self.cost.ndim == 2 else self.cost[0]
