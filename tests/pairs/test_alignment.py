"""Alignment of two images under a homography, measured on the images."""

import cv2
import numpy as np
import pytest
import torch

from patchmatch.pairs.alignment import MIN_ALIGNED, aligned_fraction
from patchmatch.pairs.synthetic_benchmark import warped_pair

IDENTITY = torch.eye(3, dtype=torch.float64)


def scene(seed=0, height=240, width=330):
    """Texture at several scales, (H, W) uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for cell in (4, 12, 40):
        noise = rng.normal(size=(height // cell + 2, width // cell + 2)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (128 + 40 * total).clip(0, 255).astype(np.uint8)


def tensor(image):
    return torch.from_numpy(image.astype(np.float32) / 255)[None, None]


def fraction(image0, image1, homography, *masks):
    return aligned_fraction(
        tensor(image0), tensor(image1), torch.as_tensor(homography).double(), *masks
    )


@pytest.mark.parametrize(
    ("factor", "amount"),
    [("rotation", 30), ("rotation", 90), ("rotation", 180), ("scale", 3), ("tilt", 2),
     ("light", 0.3)],
)  # fmt: skip
def test_true_homography_aligns_the_images(factor, amount):
    image0, image1, truth = warped_pair(scene(), factor, amount)
    assert fraction(image0, image1, truth) > 0.8
    assert fraction(image1, image0, np.linalg.inv(truth)) > 0.8


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_homography_of_another_rotation_does_not_align(degrees):
    """The overlap is large, but nothing in it agrees."""
    image0, image1, _ = warped_pair(scene(), "rotation", degrees)
    height, width = (min(image0.shape[i], image1.shape[i]) for i in (0, 1))
    assert fraction(image0[:height, :width], image1[:height, :width], IDENTITY) < MIN_ALIGNED / 2


def test_unrelated_images_are_not_aligned():
    found = [fraction(scene(seed), scene(seed + 50), IDENTITY) for seed in range(4)]
    assert max(found) < MIN_ALIGNED / 2


def test_repeating_texture_does_not_confirm_a_homography():
    """Displaced by a period, the images agree as well as at the homography."""
    tile = scene(height=6, width=6)
    wall = cv2.GaussianBlur(np.tile(tile, (40, 50)), (0, 0), 0.7)
    assert fraction(wall, wall, IDENTITY) < MIN_ALIGNED


def test_displaced_homography_does_not_align():
    image = scene()
    displaced = IDENTITY.clone()
    displaced[0, 2] = 6
    assert fraction(image, image, IDENTITY) > 0.95
    assert fraction(image, image, displaced) < MIN_ALIGNED / 2


def test_half_of_the_overlap_counts_as_half():
    image, other = scene(), scene(9)
    changed = np.where(np.arange(330) < 165, image, other)
    assert fraction(image, changed, IDENTITY) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("which", [0, 1])
def test_masked_pixels_do_not_count(which):
    image, other = scene(), scene(9)
    changed = np.where(np.arange(330) < 165, image, other)
    mask = torch.ones(1, 240, 330, dtype=torch.bool)
    mask[..., 165:] = False
    masks = (mask, None) if which == 0 else (None, mask)
    assert fraction(image, changed, IDENTITY, *masks) > 0.95


@pytest.mark.parametrize(
    "homography",
    [
        [[1, 0, 1000], [0, 1, 0], [0, 0, 1]],
        [[1e-3, 0, 100], [0, 1e-3, 100], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [-1 / 165, 0, 1]],
    ],
    ids=["beside", "point", "infinity"],
)
def test_extreme_homographies_do_not_raise(homography):
    found = fraction(scene(), scene(1), np.array(homography, float))
    assert found is None or found < MIN_ALIGNED


def test_without_texture_nothing_is_known():
    flat = np.full((240, 330), 128, np.uint8)
    assert fraction(flat, flat, IDENTITY) is None
    assert fraction(scene(height=16, width=20), scene(height=16, width=20), IDENTITY) is None
