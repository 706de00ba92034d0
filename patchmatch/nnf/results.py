"""Where every pixel of an image is found in another one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class NearestNeighbourField:
    """Where every patch of image 0 is found in image 1.

    A patch is named by its centre; pixels whose patch would not lie wholly inside image 0 have what
    the nearest pixel has whose patch does.

    Attributes:
        flow: (2, H, W) long, dx and dy in pixels from image 0 to image 1; of K matches a pixel
            (K, 2, H, W), the best first.
        cost: (H, W) float or (K, H, W): the sum over the patch and its channels of squared, or of
            absolute, differences. Infinite where nothing could be matched.
    """

    flow: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Step:
    """How well image 0 can be rebuilt after an iteration.

    Attributes:
        iteration: Its number, from 1 on.
        ssd: Mean over the whole patches of image 0 of their squared difference from what they were
            matched with, per pixel: summed over the channels of the pictures, which are in [0, 1].
        psnr: Of the picture rebuilt by voting, in dB; infinite where it is the picture itself.
        ssim: The same picture's structural similarity, at most 1; NaN below 11 pixels.
        seconds: Spent on matching until then, without what is measured here.
    """

    iteration: int
    ssd: float
    psnr: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class DenseMatches:
    """Where every pixel of image 0 is found in image 1.

    Attributes:
        name: Name of the pair.
        image0: Name of the picture that was sought.
        image1: Name of the picture that it was sought in.
        patch_size: Side of the patches in pixels.
        flow: (2, H, W) long, dx and dy in pixels; (K, 2, H, W), the best first, for K > 1.
        cost: (H, W) or (K, H, W) float, what the matcher minimised; infinite where nothing was
            sought or found.
        rebuilt_centre: (C, H, W) float in [0, 1], every pixel copied from its best match.
        rebuilt_vote: (C, H, W) float in [0, 1], every pixel the mean of what all patches over it
            say.
        steps: What each iteration reached, in order.
        seconds: Spent on matching, both ways where that was asked for.
        valid: (H, W) bool, which pixels were sought and found; None for all. The others are black
            in the rebuilt pictures and count in no measure.
        consistent: (H, W) bool, where the best match leads back to where it came from; None where
            that was not asked for.
        flow10: The flow from image 1 to image 0, (2, H1, W1); None without ``consistent``.
        kept: The picture rebuilt by voting after some iterations, by their number.
    """

    name: str
    image0: str
    image1: str
    patch_size: int
    flow: Tensor
    cost: Tensor
    rebuilt_centre: Tensor
    rebuilt_vote: Tensor
    steps: tuple[Step, ...]
    seconds: float
    valid: Tensor | None = None
    consistent: Tensor | None = None
    flow10: Tensor | None = None
    kept: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def consistent_share(self) -> float | None:
        """The share of the pixels found whose match leads back; None where not asked for."""
        if self.consistent is None:
            return None
        sought = self.consistent if self.valid is None else self.consistent[self.valid]
        return sought.float().mean().item()

    @property
    def best_flow(self) -> Tensor:
        """The flow to the best match, (2, H, W)."""
        return self.flow if self.flow.ndim == 3 else self.flow[0]

    @property
    def best_cost(self) -> Tensor:
        """The cost of the best match, (H, W)."""
        return self.cost if self.cost.ndim == 2 else self.cost[0]
