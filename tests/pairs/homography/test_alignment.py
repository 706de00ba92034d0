"""Homographies made exact: by how much, and when what was given is kept."""

import cv2
import numpy as np
import pytest
import torch
from textures import smooth
from torch.testing import assert_close

from patchmatch.ops.homography import corner_error, homography_of_corners, image_corners
from patchmatch.pairs.homography.alignment import agreement, refine_homography

UNIT = torch.eye(3, dtype=torch.float64)[None]


def gray(picture):
    return torch.from_numpy(picture[..., 0].astype(np.float32) / 255)[None, None]


@pytest.fixture
def pair():
    """Image 0 of 80x120, image 1 of 90x100 in other light, and the homography between them."""
    scene = smooth(200, 240, 3)
    corners = image_corners(80, 120)
    offsets = torch.tensor([[4.0, -3], [-5, 2], [3, 6], [-2, -4]], dtype=torch.float64)
    truth = homography_of_corners(corners, corners + offsets)
    image0 = scene[50:130, 60:180]
    into = np.array([[1, 0, 60], [0, 1, 50], [0, 0, 1.0]])
    matrix = truth.numpy() @ np.linalg.inv(into)
    image1 = cv2.warpPerspective(scene, matrix, (100, 90), flags=cv2.INTER_CUBIC)
    return gray(image0), 0.6 * gray(image1) + 0.1, truth[None]


def test_a_guess_wrong_by_some_pixels_is_made_exact_in_other_light(pair):
    image0, image1, truth = pair
    corners = image_corners(80, 120)
    guess = homography_of_corners(corners, corners + torch.tensor([[2.0, 2.0]]).double())[None]
    assert corner_error(guess[0], truth[0], 80, 120) > 4
    found = refine_homography(image0, image1, guess)
    assert corner_error(found[0], truth[0], 80, 120) < 0.2


def test_each_pair_of_a_batch_is_made_exact_for_itself(pair):
    image0, image1, truth = pair
    other = torch.cat([image1, image1.flip(3)])
    found = refine_homography(image0.expand(2, -1, -1, -1), other, truth.expand(2, -1, -1))
    assert corner_error(found[0], truth[0], 80, 120) < 0.2
    assert_close(found[0], refine_homography(image0, image1, truth)[0], atol=1e-3, rtol=1e-3)


def test_what_does_not_look_more_alike_is_not_kept():
    plain = torch.full((1, 1, 40, 50), 0.5)
    guess = UNIT.clone()
    guess[0, 0, 2] = 3
    assert_close(refine_homography(plain, plain, guess), guess)
    assert agreement(plain, plain, guess)[0] == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 9)])
def test_what_is_too_narrow_to_be_aligned_stays_as_it_is(size):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    found = refine_homography(image, image, UNIT)
    assert_close(found, UNIT, atol=1e-3, rtol=0)


def test_agreement_is_the_correlation_of_what_both_show():
    scene = gray(smooth(60, 90, 1))
    for shift, share in ((0, 1.0), (10, 2 / 3)):
        moved = UNIT.clone()
        moved[0, 0, 2] = shift
        image0, image1 = scene[..., 30:60], scene[..., 30 - shift : 60 - shift]
        correlation, seen = agreement(image0, image1, moved)
        assert correlation.item() > 0.9
        assert seen.item() == pytest.approx(share)
        assert agreement(image0, 1 - image1, moved)[0].item() < -0.9
    away = UNIT.clone()
    away[0, 0, 2] = 100
    assert [value.item() for value in agreement(scene, scene, away)] == [0, 0]
