"""Windows around blocks, sampled at subpixel displacements.

A window of S x S pixels is stored flat with one more column: S rows of S + 1 pixels. Interpolation
is then two blends of long rows, several times faster than on squares. The last column of each row
has no meaning, and ``cell_weights`` ignores it.

Candidates are compared by bilinear interpolation. It smooths, and biases the estimate of fine
texture by 0.01 to 0.1 pixels towards the middle between two pixels. Registration therefore
interpolates ``FINE_TAPS`` pixels.
"""

import functools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from patchmatch.ops.sampling import lagrange_weights

FINE_TAPS = 6  # pixels in a row that are blended where a displacement is refined
REACH = FINE_TAPS // 2  # pixels from a place that are read, at most
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
        self.padded = F.pad(images[:, None], (PAD + REACH,) * 4, mode="replicate")[:, 0]
        self.corner, self.image, self.side = corner + PAD, image, side

    def cut(self) -> Float[Tensor, "N L"]:
        """Return the windows where they are, flat, L = S (S + 1)."""
        return self._at(self.image, self.corner, self.side + 1)[:, : self.side].flatten(1)

    def _at(self, image: Tensor, corner: Tensor, side: int) -> Float[Tensor, "*N _ _"]:
        """Return squares of so many pixels a side, from corners (*N, 2) on; ``image`` is (*N)."""
        x, y = (corner + REACH).unbind(dim=-1)
        if not torch.compiler.is_exporting():  # views are no copies
            return self.padded.unfold(1, side, 1).unfold(2, side, 1)[image, y, x]
        # of what is exported they would be copies, of every square of an image
        steps = torch.arange(side, device=x.device)
        rows, columns = self.padded.shape[1:]
        first = (image * rows + y) * columns + x
        return self.padded.flatten()[first[..., None, None] + steps[:, None] * columns + steps]

    def read(
        self, displacement: Float[Tensor, "n K 2"], part: slice = slice(None), taps: int = 2
    ) -> Float[Tensor, "n K L"]:
        """Return windows at K displacements each, flat.

        A window that would leave the padded image is moved to its border.

        Args:
            displacement: dx and dy in pixels, for each window of the part.
            part: Which windows to read.
            taps: Pixels that are blended each way (``lagrange_weights``), 2 or ``FINE_TAPS``.
        """
        rows, columns = (size - 2 * REACH - self.side for size in self.padded.shape[1:])
        last = torch.tensor([columns - 1, rows - 1], device=displacement.device) - 1e-3
        place = torch.minimum((self.corner[part, None] + displacement).clamp_min(0), last)
        whole = place.detach().floor()
        row = self.side + taps - 1
        squares = self._at(self.image[part, None], whole.long() - (taps // 2 - 1), row)
        across, down = lagrange_weights(place - whole, taps).unbind(dim=-2)  # (n, K, taps)
        flat = _blended(squares.flatten(-2), across, 1)
        # what is missing at the end means nothing
        flat = _blended(F.pad(flat, (0, taps - 1)), down, row)
        return flat.unflatten(-1, (self.side, row))[..., : self.side + 1].flatten(-2)


def _blended(
    flat: Float[Tensor, "*N L"], weights: Float[Tensor, "*N taps"], stride: int
) -> Float[Tensor, "*N _"]:
    """Return the weighted sums of values that are ``stride`` apart."""
    count = weights.shape[-1]
    length = flat.shape[-1] - (count - 1) * stride
    parts = [flat[..., tap * stride : tap * stride + length] for tap in range(count)]
    if count == 2:
        return torch.lerp(parts[0], parts[1], weights[..., 1:])
    total = parts[0] * weights[..., :1]
    for tap in range(1, count):
        total = torch.addcmul(total, parts[tap], weights[..., tap : tap + 1])
    return total


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
    shape: torch.Size, size: tuple[int, int], block: int, side: int, device: torch.device
) -> tuple[Int[Tensor, "N 2"], Int[Tensor, " N"]]:
    """Return corner and image of the windows that are centred on the blocks of a grid.

    Args:
        shape: (B, R, C), the grid of blocks; the last ones may overlap those before.
        size: Height and width of the images in pixels.
        block: Side of a block in pixels.
        side: Side of a window in pixels.
        device: Where to.
    """
    image, y, x = torch.meshgrid(
        *(torch.arange(count, device=device) for count in shape), indexing="ij"
    )
    x, y = ((i * block).clamp_max(n - block) for i, n in zip((x, y), reversed(size), strict=True))
    corner = torch.stack([x, y], dim=-1) + (block - side) // 2
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
