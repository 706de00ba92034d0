import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from patchmatch.ops import contrast_and_gain, normalize_contrast, pyramid


def test_a_pixel_of_the_next_level_is_the_mean_of_four():
    image = torch.tensor([[1.0, 3, 0, 2, 5, 5], [5, 7, 4, 2, 5, 9]]).expand(2, 1, 2, 6) * 1.0
    image[1] *= -2
    full, half = pyramid(image, 2)
    assert full is image
    assert half[0, 0].tolist() == [[4, 2, 6]]
    assert half[1, 0].tolist() == [[-8, -4, -12]]


def test_an_odd_row_or_column_is_repeated():
    image = torch.tensor([[1.0, 3, 8], [5, 7, 4], [2, 6, 10]])[None, None]
    assert pyramid(image, 2)[1][0, 0].tolist() == [[4, 6], [4, 10]]


def test_convention_the_centre_of_a_pixel_lies_between_those_it_was_made_of():
    x = torch.arange(48.0).expand(2, 1, 16, 48)
    for level, image in enumerate(pyramid(x, 4)):
        size = 2**level
        centres = size * (torch.arange(48.0 // size) + 0.5) - 0.5
        assert_close(image, centres.expand(2, 1, 16 // size, 48 // size))


def test_displacements_shrink_by_two_from_level_to_level():
    canvas = torch.rand(2, 1, 24, 48)
    moved = canvas.roll((8, -16), dims=(2, 3))
    for level, (one, other) in enumerate(zip(pyramid(canvas, 4), pyramid(moved, 4), strict=True)):
        assert_close(one.roll((8 >> level, -16 >> level), dims=(2, 3)), other)


def test_one_level_is_the_image_itself():
    image = torch.rand(2, 3, 5, 7)
    (only,) = pyramid(image, 1)
    assert only is image


def contrast_by_loops(image, floor):
    """The definition: moments of 12x12 pixels around cells of 4x4, bilinear in between."""
    height, width = image.shape
    image = np.pad(image, ((0, -height % 4), (0, -width % 4)), mode="edge")
    rows, columns = image.shape[0] // 4, image.shape[1] // 4
    cells = image.reshape(rows, 4, columns, 4).swapaxes(1, 2)
    offset, gain = np.zeros((rows, columns)), np.zeros((rows, columns))
    for r, c in np.ndindex(rows, columns):
        around = [
            cells[min(max(r + i, 0), rows - 1), min(max(c + j, 0), columns - 1)]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        gain[r, c] = 1 / (np.std(around) + floor)
        offset[r, c] = -np.mean(around) * gain[r, c]
    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        row, column = (
            min(max((p + 0.5) / 4 - 0.5, 0), n - 1) for p, n in ((y, rows), (x, columns))
        )
        r, c = min(int(row), rows - 2), min(int(column), columns - 2)
        share = np.outer([1 - row + r, row - r], [1 - column + c, column - c])
        square = slice(r, r + 2), slice(c, c + 2)
        result[y, x] = (share * offset[square]).sum() + image[y, x] * (share * gain[square]).sum()
    return result


@pytest.mark.parametrize("size", [(12, 20), (11, 18)])
def test_contrast_agrees_with_loops(size):
    image = torch.rand(2, 1, *size, dtype=torch.float64)
    found = normalize_contrast(image, floor=0.02)
    for one, other in zip(image, found, strict=True):
        reference = torch.from_numpy(contrast_by_loops(one[0].numpy(), 0.02))
        assert_close(other[0], reference, rtol=0, atol=1e-9)


def test_gain_and_offset_leave_even_contrast_alone():
    image = torch.rand(2, 1, 24, 36, dtype=torch.float64)
    plain = normalize_contrast(image, floor=0.0)
    assert_close(normalize_contrast(0.3 * image + 0.5, floor=0.0), plain, rtol=0, atol=1e-9)


def test_a_plain_frame_has_no_contrast():
    flat = normalize_contrast(torch.full((2, 1, 10, 13), 0.7))
    assert_close(flat, torch.zeros_like(flat), rtol=0, atol=0.05)


def test_noise_in_a_plain_area_stays_below_texture():
    frame = torch.full((1, 1, 40, 80), 0.5)
    frame[..., :40] += 0.002 * torch.randn(40, 40)
    frame[..., 40:] += 0.1 * torch.randn(40, 40)
    even = normalize_contrast(frame)
    assert even[..., :28].std() < 0.35
    assert 0.7 < even[..., 52:].std() < 1.1


def test_contrast_is_differentiable():
    image = torch.rand(2, 1, 8, 13, dtype=torch.float64, requires_grad=True)
    assert gradcheck(normalize_contrast, (image,))


def test_no_images_give_none():
    assert [x.shape for x in pyramid(torch.zeros(0, 1, 8, 12), 2)] == [(0, 1, 8, 12), (0, 1, 4, 6)]
    assert normalize_contrast(torch.zeros(0, 1, 8, 12)).shape == (0, 1, 8, 12)


def test_the_gain_is_what_an_image_was_amplified_by():
    image = torch.rand(2, 1, 21, 34)
    even, gain = contrast_and_gain(image, floor=0.05)
    assert torch.equal(even, normalize_contrast(image, floor=0.05))
    more, same = contrast_and_gain(image + 0.25, floor=0.05)
    assert_close(same, gain)
    assert_close(more, even, rtol=0, atol=1e-4)
    assert_close(contrast_and_gain(torch.full((1, 1, 8, 8), 0.5), 0.05)[1].mean().item(), 20.0)
