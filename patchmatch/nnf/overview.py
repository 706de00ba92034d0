"""A pair and all that was made of it, side by side."""

import math
from dataclasses import dataclass

import numpy as np

from patchmatch.draw import montage, shrink_to_fit, tensor_to_uint8
from patchmatch.nnf.results import DenseMatches


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
            "rebuilt, centres copied": tensor_to_uint8(matches.rebuilt_centre),
            f"rebuilt by voting, {last.psnr:.2f} dB": tensor_to_uint8(matches.rebuilt_vote),
            "image 1": self.picture1,
            "flow": self.flow,
            "cost": self.cost,
        }
        if matches.consistent is not None and matches.consistent_share is not None:
            caption = f"leads back: {100 * matches.consistent_share:.0f}%"
            tiles[caption] = 255 * matches.consistent.numpy().astype(np.uint8)
        shown = [shrink_to_fit(tile, self.size) for tile in tiles.values()]
        return montage(shown, columns=math.ceil(len(tiles) / 2), gap=8, captions=list(tiles))
