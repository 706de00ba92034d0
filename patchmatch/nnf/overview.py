"""An image pair and its results, side by side."""

import math
from dataclasses import dataclass

import numpy as np

from patchmatch.draw import montage, shrink_to_fit, tensor_to_uint8
from patchmatch.nnf.results import DenseMatches


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The images shown beside the reconstructions, each (H, W, 3) or (H, W) uint8.

    Attributes:
        image0: Image 0.
        image1: Image 1.
        flow: The flow in colors.
        cost: The cost in colors.
        size: Longest side of each image in the overview, in pixels.
    """

    image0: np.ndarray
    image1: np.ndarray
    flow: np.ndarray
    cost: np.ndarray
    size: int

    def draw(self, matches: DenseMatches) -> np.ndarray:
        """Return all images in two rows, (H, W, 3) uint8."""
        last = matches.history[-1]
        tiles = {
            "image 0": self.image0,
            "rebuilt, centres copied": tensor_to_uint8(matches.rebuilt_centre),
            f"rebuilt by voting, {last.psnr:.2f} dB": tensor_to_uint8(matches.rebuilt_vote),
            "image 1": self.image1,
            "flow": self.flow,
            "cost": self.cost,
        }
        if matches.consistent is not None and matches.consistent_fraction is not None:
            caption = f"consistent: {100 * matches.consistent_fraction:.0f}%"
            tiles[caption] = 255 * matches.consistent.numpy().astype(np.uint8)
        shown = [shrink_to_fit(tile, self.size) for tile in tiles.values()]
        return montage(shown, columns=math.ceil(len(tiles) / 2), gap=8, captions=list(tiles))
