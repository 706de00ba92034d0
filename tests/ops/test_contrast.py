import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from patchmatch.ops.contrast import (
    local_contrast_and_gain,
    local_contrast_normalization,
    normalize_contrast,
)


@pytest.mark.parametrize(("window", "size"), [(3, (7, 9)), (11, (14, 8))])
def test_even_contrast_agrees_with_loops(window, size):
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    even, gain = local_contrast_and_gain(images, window, 0.05)
    reach = window // 2
    for b, channel, y, x in np.ndindex(even.shape):
        image = images[b, channel]
        around = image[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        spread = (around.var(correction=0) + 0.05**2).sqrt()
        assert_close(gain[b, channel, y, x], 1 / spread)
        assert_close(even[b, channel, y, x], (image[y, x] - around.mean()) / spread)
    assert torch.equal(local_contrast_normalization(images, window, 0.05), even)


def test_contrast_does_not_change_what_is_made_even():
    image = torch.rand(1, 3, 30, 40)
    assert_close(
        local_contrast_normalization(image, 9, 1e-6),
        local_contrast_normalization(0.3 * image + 0.4, 9, 1e-6),
        atol=1e-3,
        rtol=0,
    )
    assert local_contrast_normalization(torch.full((1, 1, 20, 20), 0.7), 9).abs().max() < 1e-3


def test_what_is_made_even_moves_with_the_image():
    image = torch.rand(1, 1, 40, 50)
    moved = local_contrast_normalization(image.roll((3, 2), dims=(2, 3)), 9)
    assert_close(
        moved[..., 10:-10, 10:-10],
        local_contrast_normalization(image, 9).roll((3, 2), dims=(2, 3))[..., 10:-10, 10:-10],
    )


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
    assert normalize_contrast(torch.zeros(0, 1, 8, 12)).shape == (0, 1, 8, 12)
    assert local_contrast_normalization(torch.zeros(0, 1, 8, 12), 5).shape == (0, 1, 8, 12)


def test_the_gain_is_that_of_the_softening_where_nothing_is_seen():
    even, gain = local_contrast_and_gain(torch.full((1, 1, 8, 8), 0.5), 5, 0.05)
    assert_close(gain, torch.full_like(gain, 20.0), rtol=1e-3, atol=0)
    assert even.abs().max() < 1e-4
