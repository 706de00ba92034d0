import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.ops.rotations import (
    circular_harmonics,
    doubled,
    group_filters,
    lifting_filters,
    pool_rotations,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def turned(maps, quarters):
    return torch.rot90(maps, quarters, dims=(-2, -1))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_a_quarter_turn_of_a_filter_is_a_quarter_turn(size):
    harmonics = circular_harmonics(size, 8)
    for step in range(8):
        later = harmonics[(step + 2) % 8]
        assert later == pytest.approx(turned(harmonics[step], 1), abs=1e-6)


def test_convention_rotations_run_counterclockwise_on_the_screen():
    """The first cosine wave points to the right, then to the top right, then up."""
    wave = circular_harmonics(3, 8)[:, 2]
    brightest = [divmod(int(one.argmax()), 3) for one in wave[:3]]
    assert brightest == [(1, 2), (0, 2), (0, 1)]


def test_harmonics_by_hand():
    wave = circular_harmonics(3, 4)
    assert wave.shape == (4, 4, 3, 3)  # centre, ring, and one cosine and one sine on the ring
    expected = [math.exp(-((r - 1) ** 2) / 0.98) for r in (0, 1, 2**0.5)]
    ring = wave[0, 1] / wave[0, 1, 0, 1] * expected[1]
    assert ring[1, 1] == pytest.approx(expected[0], abs=1e-5)
    assert ring[0, 0] == pytest.approx(expected[2], abs=1e-5)
    assert wave.flatten(2).norm(dim=2) == pytest.approx(torch.ones(4, 4), abs=1e-5)
    assert wave[0, 3, 0, 2] == pytest.approx(wave[0, 2, 0, 2].item())  # at 45 degrees


def test_group_filters_are_those_of_loops():
    harmonics, weight = circular_harmonics(3, 4), noise(2, 3, 4, 4)
    filters = group_filters(weight, harmonics).unflatten(0, (2, 4)).unflatten(2, (3, 4))
    for out in range(2):
        for r in range(4):
            for field in range(3):
                for s in range(4):
                    values = weight[out, field, (s - r) % 4]
                    expected = sum(v * h for v, h in zip(values, harmonics[r], strict=True))
                    assert filters[out, r, field, s] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_fields_turn_with_the_image_and_so_do_their_rotations(quarters):
    """A turn by a quarter is two of eight rotations: maps turn, and their order moves on by two."""
    harmonics = circular_harmonics(3, 8)
    lift = lifting_filters(noise(2, 1, 4), harmonics)
    group = group_filters(noise(3, 2, 8, 4, seed=1), harmonics)
    image = noise(2, 1, 13, 18, seed=2)

    def fields(of):
        lifted = F.conv2d(of, lift, padding=1).relu()
        return F.conv2d(lifted, group, padding=1)

    expected = turned(fields(image), quarters).unflatten(1, (3, 8)).roll(2 * quarters, dims=2)
    found = fields(turned(image, quarters))
    assert found == pytest.approx(expected.flatten(1, 2), abs=1e-4)
    pooled = pool_rotations(found, 8)
    assert pooled.shape[:2] == (2, 3)
    assert pooled == pytest.approx(turned(pool_rotations(fields(image), 8), quarters), abs=1e-4)


def test_pooling_keeps_the_strongest():
    fields = torch.tensor([1.0, 5, 2, -1, -3, -2]).view(1, 6, 1, 1)
    assert pool_rotations(fields, 3).flatten().tolist() == [5, -1]


def test_doubled_maps_have_the_mean_of_two_places_between_them():
    small = torch.tensor([[1.0, 3, 2], [5, 9, 0]])[None, None]
    large = doubled(small, 3, 6)[0, 0]
    assert large[:, :5].tolist() == [[1, 2, 3, 2.5, 2], [3, 4.5, 6, 3.5, 1], [5, 7, 9, 4.5, 0]]
    assert torch.equal(large[:, 5], large[:, 4])
    flipped = doubled(small.flip(-1), 3, 5)[0, 0]
    assert torch.equal(flipped.flip(-1), large[:, :5])


@pytest.mark.parametrize(
    ("options", "message"), [((4, 8), "size must be an odd"), ((3, 0), "rotations must be")]
)
def test_what_makes_no_filters_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        circular_harmonics(*options)
