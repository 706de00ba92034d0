"""Refinement of homographies: accuracy, and rejection of results that correlate less."""

import cv2
import numpy as np
import pytest
import torch
from textures import smooth
from torch.testing import assert_close

from patchmatch.ops.homography import corner_error, get_perspective_transform, image_corners
from patchmatch.pairs.homography.refinement import refine_homography
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
