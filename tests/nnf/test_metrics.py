import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from patchmatch.nnf.metrics import patch_ssd, psnr, ssim


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_uniform_error_of_a_tenth_is_20_decibels(device, dtype):
    image = noise(2, 3, 5, 7).to(device, dtype) * 0.5
    other = image.clone()
    other[0] += 0.1
    other[1] += 0.01
    assert psnr(other, image).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_psnr_of_equal_images_is_infinite():
    image = noise(1, 3, 4, 5)
    assert psnr(image, image).tolist() == [math.inf]


def test_psnr_includes_valid_pixels_only():
    image = noise(1, 1, 4, 5) * 0.5
    other, valid = image + 0.1, torch.ones(1, 4, 5, dtype=torch.bool)
    other[0, 0, 2, 3], valid[0, 2, 3] = 1, False  # a masked outlier
    assert psnr(other, image, valid).item() == pytest.approx(20, abs=1e-3)
    assert psnr(other, image, torch.zeros_like(valid)).isnan().all()


@pytest.mark.parametrize("rows", [7, 256])
def test_ssim_equals_that_of_scikit_image(rows, monkeypatch):
    monkeypatch.setattr("patchmatch.nnf.metrics._ROWS", rows)
    image = noise(2, 3, 31, 24)
    other = (image + 0.2 * noise(2, 3, 31, 24, seed=1)).clamp(0, 1)
    expected = [
        structural_similarity(
            a.numpy().astype(np.float64),
            b.numpy().astype(np.float64),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(image, other, strict=True)
    ]
    assert ssim(other, image).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_includes_valid_pixels_only():
    image = noise(1, 1, 40, 30)
    other = image.clone()
    other[..., 20:, :] = noise(1, 1, 20, 30, seed=2)
    valid = torch.zeros(1, 40, 30, dtype=torch.bool)
    valid[:, :15] = True  # no window reaches the other half
    assert ssim(other, image, valid).item() == pytest.approx(1)
    assert ssim(other, image).item() < 0.7


def test_ssim_of_images_smaller_than_a_window_is_nan():
    assert ssim(noise(2, 3, 10, 40), noise(2, 3, 10, 40)).isnan().tolist() == [True, True]


def test_convention_ssd_is_per_pixel_and_summed_over_channels():
    flow = torch.zeros(1, 2, 6, 8, dtype=torch.long)
    for size in (1, 4, 5):
        found = patch_ssd(torch.zeros(1, 3, 6, 8), torch.full((1, 3, 6, 8), 0.5), flow, size)
        assert found.item() == pytest.approx(3 * 0.25)


@pytest.mark.parametrize(("size", "rows"), [(3, 2), (4, 256), (1, 256)])
def test_patch_ssd_equals_loops(size, rows, monkeypatch, device, dtype):
    monkeypatch.setattr("patchmatch.nnf.metrics._ROWS", rows)
    image0, image1 = noise(2, 3, 8, 7).to(dtype), noise(2, 3, 9, 11, seed=1).to(dtype)
    half = size // 2
    flow = torch.zeros(2, 2, 8, 7, dtype=torch.long)
    found, valid = [], torch.rand(2, 8, 7, generator=torch.Generator().manual_seed(3)) < 0.7
    for b in range(2):
        sums = []
        for y in range(half, 8 - size + half + 1):
            for x in range(half, 7 - size + half + 1):
                y1, x1 = (3 * y + 2 * x) % (9 - size + 1) + half, (5 * x + y) % (11 - size) + half
                flow[b, :, y, x] = torch.tensor([x1 - x, y1 - y])
                part0 = image0[b, :, y - half :, x - half :][:, :size, :size]
                part1 = image1[b, :, y1 - half :, x1 - half :][:, :size, :size]
                if (x + y) % 5 == 0 and y1 - half == 9 - size:
                    flow[b, 1, y, x] += 4  # beyond the last whole patch, which is used
                if valid[b, y, x]:
                    sums.append((part0 - part1).square().sum().item() / size**2)
        found.append(sum(sums) / len(sums))
    image0, image1, flow, valid = (t.to(device) for t in (image0, image1, flow, valid))
    assert patch_ssd(image0, image1, flow, size, valid).tolist() == pytest.approx(found, rel=1e-5)
