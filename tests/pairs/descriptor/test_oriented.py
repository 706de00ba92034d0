import math

import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.descriptor.oriented import oriented_patches


def brute_force(image, x, y, size, angle, side):
    """Return a patch by loops and nearest-neighbour sampling."""
    rows = []
    for v in range(side):
        row = []
        for u in range(side):
            a = (u - (side - 1) / 2) * 6 * size / side
            b = (v - (side - 1) / 2) * 6 * size / side
            theta = math.radians(angle)
            u1 = x + a * math.cos(theta) - b * math.sin(theta)
            v1 = y + a * math.sin(theta) + b * math.cos(theta)
            row.append(image[0, 0, round(v1), round(u1)])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize(("size", "angle"), [(2.0, 0.0), (2.5, 30.0), (5.0, 200.0), (11.0, -75.0)])
def test_convention_the_patch_of_a_keypoint_is_six_blobs_wide_and_turned_upright(
    size, angle, device
):
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(110.0), indexing="ij")
    image = (0.3 * x / 110 + 0.5 * (y / 90) ** 2)[None, None].to(device)
    points = torch.tensor([[60.0, 40.0], [50.0, 45.0]], device=device)
    sizes = torch.tensor([size, 3.0], device=device)
    angles = torch.tensor([angle, 0.0], device=device)
    patches = oriented_patches(image, points, sizes, angles, 16)
    assert patches.shape == (2, 1, 16, 16)
    assert_close(patches[0, 0], brute_force(image, 60, 40, size, angle, 16), atol=0.015, rtol=0)


def test_a_rotated_image_gives_the_same_patches():
    """A quarter turn clockwise adds 90 degrees to the angle of a keypoint."""
    image = torch.rand(1, 1, 60, 80, generator=torch.Generator().manual_seed(0))
    rotated = torch.rot90(image, -1, (2, 3))  # (x, y) becomes (59 - y, x)
    one = torch.ones(1)
    patch = oriented_patches(image, torch.tensor([[33.0, 25.0]]), 3 * one, 20 * one)
    again = oriented_patches(rotated, torch.tensor([[34.0, 33.0]]), 3 * one, 110 * one)
    assert_close(patch, again, atol=1e-4, rtol=0)


def test_large_patches_do_not_alias():
    image = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[127.0, 128.0]])
    patch = oriented_patches(image, points, torch.tensor([32.0]), torch.zeros(1), 32)
    assert patch.std() < 0.08  # white noise has 0.29
    assert patch.mean().item() == pytest.approx(0.5, abs=0.02)


def test_no_keypoints_give_an_empty_batch():
    none = torch.zeros(0)
    found = oriented_patches(torch.rand(1, 1, 20, 30), torch.zeros(0, 2), none, none, 8)
    assert found.shape == (0, 1, 8, 8)
