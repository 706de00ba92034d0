"""Windows around blocks, sampled at subpixel displacements.

A window of S x S pixels is stored flat with one more column: S rows of S + 1 pixels. Interpolation
is then two blends of long rows, several times faster than on squares. The last column of each row
has no meaning, and ``averaging_matrix`` ignores it.

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

FINE_TAPS = 6  # pixels of an interpolation in registration, in x and in y
REACH = FINE_TAPS // 2  # pixels around a position that an interpolation reads, at most
PAD = 24  # replicated pixels around an image, for windows beyond the border
SUBWINDOWS = 4  # along each side of a window
INSIDE = 2.0  # additional weight of a subwindow inside the block


class Windows:
    """Windows of one size around the blocks of images.

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
        """Return the windows at zero displacement, flat, L = S (S + 1)."""
        return self._at(self.image, self.corner, self.side + 1)[:, : self.side].flatten(1)

    def _at(self, image: Tensor, corner: Tensor, side: int) -> Float[Tensor, "*N _ _"]:
        """Return squares of ``side`` pixels at corners (*N, 2) of images (*N)."""
        x, y = (corner + REACH).unbind(dim=-1)
        if not torch.compiler.is_exporting():  # views, not copies
            return self.padded.unfold(1, side, 1).unfold(2, side, 1)[image, y, x]
        # In an exported graph they would be copies of all squares of an image.
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
            part: The windows to read.
            taps: Pixels of the interpolation in x and y (``lagrange_weights``), 2 or ``FINE_TAPS``.
        """
        rows, columns = (size - 2 * REACH - self.side for size in self.padded.shape[1:])
        last = torch.tensor([columns - 1, rows - 1], device=displacement.device) - 1e-3
        position = torch.minimum((self.corner[part, None] + displacement).clamp_min(0), last)
        integer = position.detach().floor()
        row = self.side + taps - 1
        squares = self._at(self.image[part, None], integer.long() - (taps // 2 - 1), row)
        across, down = lagrange_weights(position - integer, taps).unbind(dim=-2)  # (n, K, taps)
        flat = _weighted_sum(squares.flatten(-2), across, 1)
        # The padding only fills columns without meaning.
        flat = _weighted_sum(F.pad(flat, (0, taps - 1)), down, row)
        return flat.unflatten(-1, (self.side, row))[..., : self.side + 1].flatten(-2)


def _weighted_sum(
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


def averaging_matrix(side: int, device: torch.device) -> Float[Tensor, "L 16"]:
    """Return the matrix that averages a flat window over its 4x4 subwindows, row by row."""
    weights = torch.zeros(SUBWINDOWS, SUBWINDOWS, side, side + 1)
    step = side // SUBWINDOWS
    for row in range(SUBWINDOWS):
        for column in range(SUBWINDOWS):
            rows = slice(row * step, (row + 1) * step)
            weights[row, column, rows, column * step : (column + 1) * step] = 1 / step**2
    return weights.flatten(0, 1).flatten(1).T.contiguous().to(device)


def subwindow_weights(block: int, side: int, device: torch.device) -> Float[Tensor, " 16"]:
    """Return the weight of each subwindow in means over a window, larger inside the block.

    On coarse levels windows are larger than blocks, and the surroundings would dominate a block
    that moves by itself.

    Args:
        block: Side of a block in pixels, in the middle of the window.
        side: Side of the window in pixels.
        device: Device of the result.
    """
    return torch.tensor(_subwindow_weights(block, side), device=device)


@functools.cache
def _subwindow_weights(block: int, side: int) -> list[float]:
    step, first = side / SUBWINDOWS, (side - block) / 2
    edges = np.arange(SUBWINDOWS + 1) * step
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
        device: Device of the results.
    """
    image, y, x = torch.meshgrid(
        *(torch.arange(count, device=device) for count in shape), indexing="ij"
    )
    x, y = ((i * block).clamp_max(n - block) for i, n in zip((x, y), reversed(size), strict=True))
    corner = torch.stack([x, y], dim=-1) + (block - side) // 2
    return corner.reshape(-1, 2), image.reshape(-1)


def tile_values(
    values: Float[Tensor, "B _ _"],
    corner: Int[Tensor, "N 2"],
    image: Int[Tensor, " N"],
    side: int,
    pixels: int,
) -> Float[Tensor, "N 16"]:
    """Return the values of coarse images at the centre of each subwindow, row by row.

    Args:
        values: Coarse images; a value spans a tile of pixels.
        corner: x and y of the top left pixel of each window.
        image: The image of each window.
        side: Side of a window in pixels.
        pixels: Side of a tile in pixels.
    """
    step, (height, width) = side // SUBWINDOWS, values.shape[1:]
    middle = torch.arange(SUBWINDOWS, device=corner.device) * step + step // 2
    x, y = ((c[:, None] + middle).clamp_min(0) // pixels for c in corner.unbind(dim=-1))
    x, y = x.clamp_max(width - 1)[:, None], y.clamp_max(height - 1)[..., None]
    return values[image[:, None, None], y, x].flatten(1)
