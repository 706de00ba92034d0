import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from patchmatch.ops.rotations import (
    circular_harmonics,
    group_filters,
    lifting_filters,
    pool_rotations,
    upsample_twofold,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rot90(maps, quarters):
    return torch.rot90(maps, quarters, dims=(-2, -1))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_two_of_eight_rotations_are_a_quarter_turn_of_the_filter(size):
    harmonics = circular_harmonics(size, 8)
    for step in range(8):
        later = harmonics[(step + 2) % 8]
        assert later == pytest.approx(rot90(harmonics[step], 1), abs=1e-6)


def test_convention_rotations_run_counterclockwise_on_the_screen():
    """The first cosine wave points right, then to the top right, then up."""
    wave = circular_harmonics(3, 8)[:, 2]
    brightest = [divmod(int(one.argmax()), 3) for one in wave[:3]]
    assert brightest == [(1, 2), (0, 2), (0, 1)]


def test_harmonics_equal_hand_computed_values():
    basis = circular_harmonics(3, 4)
    assert basis.shape == (4, 4, 3, 3)  # centre, ring, and one cosine and one sine on the ring
    expected = [math.exp(-((r - 1) ** 2) / 0.98) for r in (0, 1, 2**0.5)]
    ring = basis[0, 1] / basis[0, 1, 0, 1] * expected[1]
    assert ring[1, 1] == pytest.approx(expected[0], abs=1e-5)
    assert ring[0, 0] == pytest.approx(expected[2], abs=1e-5)
    assert basis.flatten(2).norm(dim=2) == pytest.approx(torch.ones(4, 4), abs=1e-5)
    assert basis[0, 3, 0, 2] == pytest.approx(basis[0, 2, 0, 2].item())  # at 45 degrees


def test_group_filters_equal_a_brute_force_loop(device):
    harmonics, weight = circular_harmonics(3, 4).to(device), noise(2, 3, 4, 4).to(device)
    filters = group_filters(weight, harmonics).unflatten(0, (2, 4)).unflatten(2, (3, 4))
    for out in range(2):
        for r in range(4):
            for field in range(3):
                for s in range(4):
                    values = weight[out, field, (s - r) % 4]
                    expected = sum(v * h for v, h in zip(values, harmonics[r], strict=True))
                    assert_close(filters[out, r, field, s], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_of_the_image_rotates_the_fields_and_shifts_their_rotations(
    quarters, device
):
    """A quarter turn is two of eight rotations: maps rotate, and their order shifts by two."""
    harmonics = circular_harmonics(3, 8).to(device)
    lift = lifting_filters(noise(2, 1, 4).to(device), harmonics)
    group = group_filters(noise(3, 2, 8, 4, seed=1).to(device), harmonics)
    image = noise(2, 1, 13, 18, seed=2).to(device)

    def fields(of):
        lifted = F.conv2d(of, lift, padding=1).relu()
        return F.conv2d(lifted, group, padding=1)

    close = {"atol": 1e-4 if device.type == "cpu" else 2e-2, "rtol": 0}  # TF32 on a GPU
    expected = rot90(fields(image), quarters).unflatten(1, (3, 8)).roll(2 * quarters, dims=2)
    found = fields(rot90(image, quarters))
    assert_close(found, expected.flatten(1, 2), **close)
    pooled = pool_rotations(found, 8)
    assert pooled.shape[:2] == (2, 3)
    assert_close(pooled, rot90(pool_rotations(fields(image), 8), quarters), **close)


def test_pooling_takes_the_maximum_over_the_rotations():
    fields = torch.tensor([1.0, 5, 2, -1, -3, -2]).view(1, 6, 1, 1)
    assert pool_rotations(fields, 3).flatten().tolist() == [5, -1]


def test_upsampling_interpolates_halfway_between_pixels(device, dtype):
    small = torch.tensor([[1.0, 3, 2], [5, 9, 0]], device=device, dtype=dtype)[None, None]
    large = upsample_twofold(small, 3, 6)[0, 0]
    assert large[:, :5].tolist() == [[1, 2, 3, 2.5, 2], [3, 4.5, 6, 3.5, 1], [5, 7, 9, 4.5, 0]]
    assert torch.equal(large[:, 5], large[:, 4])
    flipped = upsample_twofold(small.flip(-1), 3, 5)[0, 0]
    assert torch.equal(flipped.flip(-1), large[:, :5])


@pytest.mark.parametrize(
    ("options", "message"), [((4, 8), "size must be an odd"), ((3, 0), "rotations must be")]
)
def test_an_even_size_or_no_rotation_raises(options, message):
    with pytest.raises(ValueError, match=message):
        circular_harmonics(*options)
