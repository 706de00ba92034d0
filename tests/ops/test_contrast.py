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
def test_local_contrast_agrees_with_loops(window, size, device):
    images = torch.rand(2, 3, *size, dtype=torch.float64, device=device)
    normalized, gain = local_contrast_and_gain(images, window, 0.05)
    radius = window // 2
    for b, channel, y, x in np.ndindex(normalized.shape):
        image = images[b, channel]
        around = image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        deviation = (around.var(correction=0) + 0.05**2).sqrt()
        assert_close(gain[b, channel, y, x], 1 / deviation)
        assert_close(normalized[b, channel, y, x], (image[y, x] - around.mean()) / deviation)
    assert torch.equal(local_contrast_normalization(images, window, 0.05), normalized)


def test_local_contrast_is_invariant_to_gain_and_offset(device, dtype):
    image = torch.rand(1, 3, 30, 40, device=device, dtype=dtype)
    assert_close(
        local_contrast_normalization(image, 9, 1e-6),
        local_contrast_normalization(0.3 * image + 0.4, 9, 1e-6),
        atol=1e-3,
        rtol=0,
    )
    assert local_contrast_normalization(torch.full((1, 1, 20, 20), 0.7), 9).abs().max() < 1e-3


def test_local_contrast_is_equivariant_to_shifts(device, dtype):
    image = torch.rand(1, 1, 40, 50, device=device, dtype=dtype)
    moved = local_contrast_normalization(image.roll((3, 2), dims=(2, 3)), 9)
    assert_close(
        moved[..., 10:-10, 10:-10],
        local_contrast_normalization(image, 9).roll((3, 2), dims=(2, 3))[..., 10:-10, 10:-10],
    )


def contrast_by_loops(image, floor):
    """The definition: moments of 12x12 pixels around tiles of 4x4, bilinear in between."""
    height, width = image.shape
    image = np.pad(image, ((0, -height % 4), (0, -width % 4)), mode="edge")
    rows, columns = image.shape[0] // 4, image.shape[1] // 4
    tiles = image.reshape(rows, 4, columns, 4).swapaxes(1, 2)
    offset, gain = np.zeros((rows, columns)), np.zeros((rows, columns))
    for r, c in np.ndindex(rows, columns):
        around = [
            tiles[min(max(r + i, 0), rows - 1), min(max(c + j, 0), columns - 1)]
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
def test_tiled_contrast_agrees_with_loops(size, device):
    image = torch.rand(2, 1, *size, dtype=torch.float64, device=device)
    found = normalize_contrast(image, floor=0.02)
    for one, other in zip(image, found, strict=True):
        reference = torch.from_numpy(contrast_by_loops(one[0].cpu().numpy(), 0.02))
        assert_close(other[0].cpu(), reference, rtol=0, atol=1e-9)


def test_tiled_contrast_is_invariant_to_gain_and_offset(device):
    image = torch.rand(2, 1, 24, 36, dtype=torch.float64, device=device)
    plain = normalize_contrast(image, floor=0.0)
    assert_close(normalize_contrast(0.3 * image + 0.5, floor=0.0), plain, rtol=0, atol=1e-9)


def test_uniform_image_becomes_zero():
    flat = normalize_contrast(torch.full((2, 1, 10, 13), 0.7))
    assert_close(flat, torch.zeros_like(flat), rtol=0, atol=0.05)


def test_noise_in_a_uniform_area_stays_below_texture():
    frame = torch.full((1, 1, 40, 80), 0.5)
    frame[..., :40] += 0.002 * torch.randn(40, 40)
    frame[..., 40:] += 0.1 * torch.randn(40, 40)
    normalized = normalize_contrast(frame)
    assert normalized[..., :28].std() < 0.35
    assert 0.7 < normalized[..., 52:].std() < 1.1


def test_contrast_is_differentiable():
    image = torch.rand(2, 1, 8, 13, dtype=torch.float64, requires_grad=True)
    assert gradcheck(normalize_contrast, (image,))


def test_empty_batch_gives_an_empty_batch():
    assert normalize_contrast(torch.zeros(0, 1, 8, 12)).shape == (0, 1, 8, 12)
    assert local_contrast_normalization(torch.zeros(0, 1, 8, 12), 5).shape == (0, 1, 8, 12)


def test_gain_of_a_uniform_image_is_set_by_the_softening():
    normalized, gain = local_contrast_and_gain(torch.full((1, 1, 8, 8), 0.5), 5, 0.05)
    assert_close(gain, torch.full_like(gain, 20.0), rtol=1e-3, atol=0)
    assert normalized.abs().max() < 1e-4
