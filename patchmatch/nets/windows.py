"""Windows around blocks, read at any displacement.

A window of S x S pixels is stored flat, with one more column: S rows of S + 1 pixels. Reading it
between pixels is then two blends of long rows, several times faster than on squares. The last
column of each row means nothing, and ``cell_weights`` leaves it out.
"""

import functools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

PAD = 24  # pixels repeated around an image: windows may reach beyond the border
CELLS = 4  # a window is divided into CELLS x CELLS cells
INSIDE = 2.0  # by how much a cell of the block counts more than one of what surrounds it


class Windows:
    """Windows of one size around blocks of images, ready to be read.

    Args:
        images: (B, H, W).
        corner: (N, 2) long, x and y of the top left pixel of each window.
        image: (N,) long, the image of each window.
        side: Side S of a window in pixels.
    """

    def __init__(self, images: Tensor, corner: Tensor, image: Tensor, side: int) -> None:
        padded = F.pad(images[:, None], (PAD,) * 4, mode="replicate")[:, 0]
        self.padded, self.views = padded, padded.unfold(1, side + 1, 1).unfold(2, side + 1, 1)
        self.corner, self.image, self.side = corner + PAD, image, side

    def cut(self) -> Float[Tensor, "N L"]:
        """Return the windows where they are, flat, L = S (S + 1)."""
        x, y = self.corner.unbind(dim=-1)
        return self._at(self.image, x, y)[:, : self.side].flatten(1)

    def _at(self, image: Tensor, x: Tensor, y: Tensor) -> Float[Tensor, "*N _ _"]:
        """Return squares of S + 1 pixels from places on, all three of shape N."""
        if not torch.compiler.is_exporting():
            return self.views[image, y, x]  # which are no copies
        # of what is exported they would be copies, of every square of an image
        steps = torch.arange(self.side + 1, device=x.device)
        rows, columns = self.padded.shape[1:]
        first = (image * rows + y) * columns + x
        return self.padded.flatten()[first[..., None, None] + steps[:, None] * columns + steps]

    def read(
        self, displacement: Float[Tensor, "n K 2"], part: slice = slice(None)
    ) -> Float[Tensor, "n K L"]:
        """Return windows at K displacements each, blended from four pixels, flat.

        A window that would leave the padded image is moved to its border.

        Args:
            displacement: dx and dy in pixels, for each window of the part.
            part: Which windows to read.
        """
        rows, columns = self.views.shape[1:3]
        last = torch.tensor([columns - 1, rows - 1], device=displacement.device) - 1e-3
        place = torch.minimum((self.corner[part, None] + displacement).clamp_min(0), last)
        whole = place.detach().floor()
        x, y = whole.long().unbind(dim=-1)  # (N, K)
        between = place - whole
        flat = self._at(self.image[part, None], x, y).flatten(-2)  # (N, K, (S + 1)^2)
        flat = torch.lerp(flat[..., :-1], flat[..., 1:], between[..., :1])
        row = self.side + 1
        # the blend downwards leaves one number less than L; the first stands in for the last,
        # which means nothing
        flat = torch.cat([flat, flat[..., :1]], dim=-1)
        return torch.lerp(flat[..., :-row], flat[..., row:], between[..., 1:])


def cell_weights(side: int, device: torch.device) -> Float[Tensor, "L 16"]:
    """Return the matrix that takes a flat window to the means of its 4x4 cells, row by row."""
    weights = torch.zeros(CELLS, CELLS, side, side + 1)
    step = side // CELLS
    for row in range(CELLS):
        for column in range(CELLS):
            rows = slice(row * step, (row + 1) * step)
            weights[row, column, rows, column * step : (column + 1) * step] = 1 / step**2
    return weights.flatten(0, 1).flatten(1).T.contiguous().to(device)


def cell_shares(block: int, side: int, device: torch.device) -> Float[Tensor, " 16"]:
    """Return what each cell counts in the mean of a window, more where it is of the block.

    Windows are larger than blocks on small levels, and the surroundings would outvote a block
    that moves by itself.

    Args:
        block: Side of a block in pixels, in the middle of the window.
        side: Side of the window in pixels.
        device: Where to.
    """
    return torch.tensor(_cell_shares(block, side), device=device)


@functools.cache
def _cell_shares(block: int, side: int) -> list[float]:
    step, first = side / CELLS, (side - block) / 2
    edges = np.arange(CELLS + 1) * step
    inside = np.diff(edges.clip(first, first + block)) / step
    counts = 1 + INSIDE * np.outer(inside, inside)
    return (counts / counts.sum()).ravel().tolist()


def window_corners(
    batch: int, rows: int, columns: int, block: int, side: int, device: torch.device
) -> tuple[Int[Tensor, "N 2"], Int[Tensor, " N"]]:
    """Return corner and image of the windows that are centred on the blocks of a grid."""
    image, y, x = torch.meshgrid(
        *(torch.arange(count, device=device) for count in (batch, rows, columns)), indexing="ij"
    )
    corner = torch.stack([x, y], dim=-1) * block + (block - side) // 2
    return corner.reshape(-1, 2), image.reshape(-1)


def cell_values(
    values: Float[Tensor, "B _ _"],
    corner: Int[Tensor, "N 2"],
    image: Int[Tensor, " N"],
    side: int,
    pixels: int,
) -> Float[Tensor, "N 16"]:
    """Return what coarse images hold in the middle of each cell, row by row.

    Args:
        values: Coarse images, each value of so many by so many pixels.
        corner: x and y of the top left pixel of each window.
        image: The image of each window.
        side: Side of a window in pixels.
        pixels: Side of what a value stands for.
    """
    step, (height, width) = side // CELLS, values.shape[1:]
    middle = torch.arange(CELLS, device=corner.device) * step + step // 2
    x, y = ((c[:, None] + middle).clamp_min(0) // pixels for c in corner.unbind(dim=-1))
    x, y = x.clamp_max(width - 1)[:, None], y.clamp_max(height - 1)[..., None]
    return values[image[:, None, None], y, x].flatten(1)
