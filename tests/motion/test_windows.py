import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from patchmatch.motion.windows import (
    FINE_TAPS,
    PAD,
    Windows,
    averaging_matrix,
    subwindow_weights,
    tile_values,
    window_corners,
)

HEIGHT, WIDTH, SIDE = 21, 34, 8
CORNER = torch.tensor([[3, 5], [20, 2], [-4, 9], [26, 13]])
IMAGE = torch.tensor([0, 1, 1, 0])


@pytest.fixture
def images():
    return torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def square(flat):
    """Windows without the column that means nothing."""
    return flat.unflatten(-1, (SIDE, SIDE + 1))[..., :SIDE]


def pixel(image, x, y, taps):
    """Lagrange's interpolation, with the border duplicates."""
    before = taps // 2 - 1
    x0, y0 = int(np.floor(x)) - before, int(np.floor(y)) - before
    total = 0.0
    for i, j in np.ndindex(taps, taps):
        share = polynomial(i, y - y0, taps) * polynomial(j, x - x0, taps)
        at = min(max(y0 + i, 0), HEIGHT - 1), min(max(x0 + j, 0), WIDTH - 1)
        total += share * float(image[at])
    return total


def polynomial(i, x, taps):
    """That which is 1 at i and 0 at the other places."""
    return np.prod([(x - j) / (i - j) for j in range(taps) if j != i])


@pytest.mark.parametrize("taps", [2, FINE_TAPS])
def test_windows_agree_with_interpolation_by_loops(images, taps, device, dtype):
    moves = torch.tensor([[0.3, -1.75], [-2.6, 0.0], [7.0, 3.5]])
    moves = moves + 0.1 * torch.arange(4.0)[:, None, None]  # (N, K, 2)
    given = images.to(device, dtype), CORNER.to(device), IMAGE.to(device)
    found = square(Windows(*given, SIDE).read(moves.to(device, dtype), taps=taps))
    assert found.shape == (4, 3, SIDE, SIDE)
    for n, k, y, x in np.ndindex(found.shape):
        place = (CORNER[n] + moves[n, k]).tolist()
        expected = pixel(images[IMAGE[n]], place[0] + x, place[1] + y, taps)
        assert found[n, k, y, x].item() == pytest.approx(expected, abs=1e-4)


def test_convention_a_displacement_reads_further_right_and_further_down(images):
    windows = Windows(images, CORNER[:2], IMAGE[:2], SIDE)
    found = square(windows.read(torch.tensor([[[2.0, 1]], [[-3, 4]]])))
    assert_close(found[0, 0], images[0, 6:14, 5:13])
    assert_close(found[1, 0], images[1, 6:14, 17:25])


def test_window_without_displacement_is_the_cut_window(images):
    windows = Windows(images, CORNER, IMAGE, SIDE)
    assert_close(square(windows.read(torch.zeros(4, 1, 2)))[:, 0], square(windows.cut()))
    assert_close(square(windows.cut())[0], images[0, 5:13, 3:11])


def test_windows_replicate_the_border(images):
    found = square(Windows(images, CORNER, IMAGE, SIDE).cut())
    padded = F.pad(images[:, None], (PAD,) * 4, mode="replicate")[:, 0]
    assert_close(found[2], padded[1, 9 + PAD : 17 + PAD, PAD - 4 : PAD + 4])
    assert_close(found[2, :, 0], found[2, :, 4])


@pytest.mark.parametrize("taps", [2, FINE_TAPS])
def test_window_is_clamped_to_the_padded_image(images, taps):
    windows = Windows(images, CORNER, IMAGE, SIDE)
    far = torch.tensor([[-900.0, -900], [900, 900], [-900, 0], [0, 900]])
    found = square(windows.read(far.expand(4, 4, 2), taps=taps))
    assert torch.isfinite(found).all()
    corners = torch.tensor([[images[i, 0, 0], images[i, -1, -1]] for i in IMAGE.tolist()])
    assert_close(found[:, :2], corners[:, :, None, None].expand(4, 2, SIDE, SIDE))


@pytest.mark.parametrize("taps", [2, FINE_TAPS])
@pytest.mark.parametrize("move", [0.3, 1.0])
def test_gradient_of_the_displacement_is_the_image_gradient(taps, move):
    ramp = 2.0 * torch.arange(34.0).expand(2, HEIGHT, WIDTH)
    moves = torch.full((2, 1, 2), move, requires_grad=True)
    found = Windows(ramp, CORNER[:2], IMAGE[:2], SIDE).read(moves, taps=taps)
    square(found).mean(dim=(2, 3)).sum().backward()
    assert moves.grad is not None
    assert_close(moves.grad, torch.tensor([2.0, 0]).expand(2, 1, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [16, 32])
def test_averaging_matrix_average_the_pixels(side):
    flat = torch.rand(3, side * (side + 1))
    pixels = flat.unflatten(1, (side, side + 1))[..., :side]
    means = F.avg_pool2d(pixels[:, None], side // 4).flatten(1)
    assert_close(flat @ averaging_matrix(side, torch.device("cpu")), means)


def test_averaging_matrix_ignore_the_last_column():
    weights = averaging_matrix(16, torch.device("cpu"))
    assert weights.shape == (16 * 17, 16)
    assert torch.equal(weights.view(16, 17, 16)[:, 16], torch.zeros(16, 16))
    assert_close(weights.sum(dim=0), torch.ones(16))


def test_windows_are_centred_on_their_blocks():
    corner, image = window_corners(torch.Size([2, 2, 3]), (16, 24), 8, 16, torch.device("cpu"))
    assert corner[:6].tolist() == [[-4, -4], [4, -4], [12, -4], [-4, 4], [4, 4], [12, 4]]
    assert torch.equal(corner[6:], corner[:6])
    assert image.tolist() == [0] * 6 + [1] * 6


def test_windows_accept_an_empty_batch(images):
    windows = Windows(images, CORNER[:0], IMAGE[:0], SIDE)
    assert windows.read(torch.zeros(0, 3, 2), taps=FINE_TAPS).shape == (0, 3, SIDE * (SIDE + 1))


def test_tile_values_are_those_at_the_subwindow_centres():
    values = torch.arange(12.0).view(1, 3, 4)  # of 4x4 pixels each: an image of at most 12x16
    shape = torch.Size([1, 1, 1])
    corner, image = window_corners(shape, (8, 8), 8, 16, values.device)  # from -4 to 11
    found = tile_values(values, corner, image, 16, 4).view(4, 4)
    # middles at -2, 2, 6 and 10
    columns = torch.tensor([0.0, 0, 1, 2])
    assert torch.equal(found, columns[:, None] * 4 + columns)
    beyond = tile_values(values, corner + 40, image, 16, 4)
    assert (beyond == 11).all()


@pytest.mark.parametrize(("block", "inside"), [(16, 1.0), (32, 1.0), (8, 3.0), (4, 1.5)])
def test_subwindows_inside_the_block_have_higher_weights(block, inside):
    weights = subwindow_weights(block, max(block, 16), torch.device("cpu")).view(4, 4)
    assert_close(weights.sum(), torch.tensor(1.0))
    assert_close(weights, weights.flip(0))
    assert_close(weights, weights.T)
    assert_close(weights[1, 1] / weights[0, 0], torch.tensor(inside))
    assert_close(weights[0, 0], weights[0, 1])
