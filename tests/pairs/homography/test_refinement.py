"""Refinement of homographies: accuracy, and rejection of results that correlate less."""

import cv2
import numpy as np
import pytest
import torch
from textures import blobs, smooth
from torch.testing import assert_close

from patchmatch.ops.homography import corner_error, get_perspective_transform, image_corners
from patchmatch.pairs.homography.refinement import align_images, refine_homography
from patchmatch.pairs.homography.similarity import image_correlation

IDENTITY = torch.eye(3, dtype=torch.float64)[None]


def gray(image):
    return torch.from_numpy(image[..., 0].astype(np.float32) / 255)[None, None]


@pytest.fixture
def pair():
    """Image 0 of 80x120, image 1 of 90x100 with gain and offset, and the true homography."""
    scene = smooth(200, 240, 3)
    corners = image_corners(80, 120)
    offsets = torch.tensor([[4.0, -3], [-5, 2], [3, 6], [-2, -4]], dtype=torch.float64)
    truth = get_perspective_transform(corners, corners + offsets)
    image0 = scene[50:130, 60:180]
    crop = np.array([[1, 0, 60], [0, 1, 50], [0, 0, 1.0]])
    matrix = truth.numpy() @ np.linalg.inv(crop)
    image1 = cv2.warpPerspective(scene, matrix, (100, 90), flags=cv2.INTER_CUBIC)
    return gray(image0), 0.6 * gray(image1) + 0.1, truth[None]


def test_an_error_of_some_pixels_is_refined_under_gain_and_offset(pair, device):
    image0, image1, truth = (tensor.to(device) for tensor in pair)
    corners = image_corners(80, 120)
    initial = get_perspective_transform(corners, corners + 2)[None].to(device)
    assert corner_error(initial[0], truth[0], 80, 120) > 4
    found = refine_homography(image0, image1, initial)
    assert corner_error(found[0], truth[0], 80, 120) < 0.2


def test_each_pair_of_a_batch_is_refined_independently(pair):
    image0, image1, truth = pair
    other = torch.cat([image1, image1.flip(3)])
    found = refine_homography(image0.expand(2, -1, -1, -1), other, truth.expand(2, -1, -1))
    assert corner_error(found[0], truth[0], 80, 120) < 0.2
    assert_close(found[0], refine_homography(image0, image1, truth)[0], atol=1e-3, rtol=1e-3)


def test_a_result_without_higher_correlation_is_rejected():
    blank = torch.full((1, 1, 40, 50), 0.5)
    initial = IDENTITY.clone()
    initial[0, 0, 2] = 3
    assert_close(refine_homography(blank, blank, initial), initial)
    assert image_correlation(blank, blank, initial)[0] == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 9)])
def test_images_too_small_to_align_keep_the_homography(size):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    found = refine_homography(image, image, IDENTITY)
    assert_close(found, IDENTITY, atol=1e-3, rtol=0)


def photograph(height, width, seed):
    """Return a random texture of blobs, gray in [0, 1]."""
    return gray(blobs(height, width, seed, spacing=9))


@pytest.mark.parametrize("scale", [1.0, 2.5, 0.4])
def test_images_of_different_scales_are_aligned_below_a_pixel(scale):
    """Image 1 is a part of image 0 under a small warp, at another resolution."""
    scene = blobs(300, 400, 5, spacing=9)
    corners = image_corners(300, 400)
    offsets = torch.tensor([[2.3, -1.7], [-1.4, 2.6], [1.9, 1.2], [-2.2, -1.1]])
    warp = get_perspective_transform(corners, corners + offsets).numpy()
    truth = np.diag([scale, scale, 1]) @ np.array([[1, 0, -60], [0, 1, -40], [0, 0, 1.0]]) @ warp
    size = (round(260 * scale), round(200 * scale))
    blurred = cv2.GaussianBlur(scene, (0, 0), max(0.1, 0.5 / scale))
    image1 = cv2.warpPerspective(blurred, truth, size, flags=cv2.INTER_CUBIC)
    initial = truth @ np.array([[1.004, 0.003, -2.5], [-0.002, 0.997, 1.8], [1e-6, 0, 1]])
    truth, initial = (torch.from_numpy(m / m[2, 2]) for m in (truth, initial))
    before = corner_error(initial, truth, 300, 400) / scale
    found = align_images(gray(scene), 0.5 * gray(image1) + 0.2, initial)
    assert before > 1.5
    assert corner_error(found, truth, 300, 400) / scale < 0.4
    assert found[2, 2] == 1


def test_alignment_never_lowers_the_correlation():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image0, other = (photograph(120, 150, s) for s in (seed, seed + 20))
        image1 = image0 if seed % 2 else other  # every second pair is unrelated
        image1 = (image1 + 0.1 * torch.from_numpy(rng.standard_normal(image1.shape))).float()
        initial = torch.from_numpy(
            np.eye(3) + rng.normal(0, [0.02, 0.02, 4], (3, 3)) * [[1], [1], [0]]
        )
        found = align_images(image0, image1, initial)
        before, after = (image_correlation(image0, image1, h[None])[0] for h in (initial, found))
        assert after >= before - 1e-4
        if seed % 2:
            assert after > before + 0.05


def test_masked_pixels_do_not_count():
    """Half of image 1 shows something else, which moves; the masks leave it out."""
    scene, other = blobs(120, 160, 1, spacing=9), blobs(120, 160, 2, spacing=9)
    image0, image1 = scene.copy(), scene.copy()
    image0[:, 80:], image1[:, 76:156] = other[:, 80:], other[:, 80:]
    valid = torch.zeros(1, 120, 160, dtype=torch.bool)
    valid[:, :, :76] = True
    initial = IDENTITY[0].clone()
    initial[0, 2] = -1.5
    found = align_images(gray(image0), gray(image1), initial, valid, valid)
    assert corner_error(found, IDENTITY[0], 120, 76) < 0.3
    unmasked = align_images(gray(image0), gray(image1), initial)
    assert corner_error(unmasked, IDENTITY[0], 120, 76) > 0.6
