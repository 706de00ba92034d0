"""A pair and all that was made of it, side by side."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from patchmatch.draw import fit, montage
from patchmatch.results import DenseMatches


@dataclass(frozen=True)
class Overview:
    """The pictures of a pair that are shown beside the rebuilt ones.

    Attributes:
        picture0: What was sought.
        picture1: Where it was sought.
        flow: The flow in colors.
        cost: The cost in colors.
        size: Longest side of each picture in pixels.
    """

    picture0: np.ndarray
    picture1: np.ndarray
    flow: np.ndarray
    cost: np.ndarray
    size: int

    def draw(self, matches: DenseMatches) -> np.ndarray:
        """Return the pictures in two rows, (H, W, 3) uint8."""
        last = matches.steps[-1]
        tiles = {
            "image 0": self.picture0,
            "rebuilt, centres copied": as_picture(matches.rebuilt_centre),
            f"rebuilt by voting, {last.psnr:.2f} dB": as_picture(matches.rebuilt_vote),
            "image 1": self.picture1,
            "flow": self.flow,
            "cost": self.cost,
        }
        if matches.consistent is not None:
            agree = matches.consistent.numpy()
            tiles[f"leads back: {100 * agree.mean():.0f}%"] = 255 * agree.astype(np.uint8)
        shown = [fit(tile, self.size) for tile in tiles.values()]
        return montage(shown, columns=math.ceil(len(tiles) / 2), gap=8, captions=list(tiles))


def as_picture(image: Tensor) -> np.ndarray:
    """Return (H, W, 3) or (H, W) uint8 of (C, H, W) in [0, 1], C = 3 or 1."""
    picture = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture)
