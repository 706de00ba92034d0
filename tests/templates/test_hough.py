import math

import pytest
import torch
from torch.testing import assert_close

from patchmatch.templates.hough import box_mean, fit_centre_and_scale, fit_sides, hough_voting


def test_hough_voting_agrees_with_loops(device, dtype):
    points = [[2.0, 1.0], [4.25, 3.5], [-3.0, 2.0]]  # the last one is outside
    votes = hough_voting(torch.tensor(points, device=device, dtype=dtype), (6, 9), sigma=1.0)
    weights = {(2, 1): 1.0}
    weights |= {(4, 3): 0.375, (5, 3): 0.125, (4, 4): 0.375, (5, 4): 0.125}
    for row in range(6):
        for column in range(9):
            expected = sum(
                weight * math.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)
                for (x, y), weight in weights.items()
                if abs(column - x) <= 3 and abs(row - y) <= 3
            )
            assert votes[row, column].item() == pytest.approx(expected / 3, abs=1e-5)


def test_accumulator_is_one_where_all_votes_coincide():
    votes = hough_voting(torch.tensor([[5.0, 2.0]]).expand(7, 2), (8, 11), 1.7)
    assert votes[2, 5].item() == pytest.approx(1)
    assert votes.argmax().item() == 2 * 11 + 5


@pytest.mark.parametrize("size", [(3, 2), (1, 5), (8, 4)])
def test_box_means_agree_with_loops(size, device, dtype):
    values = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    found = box_mean(values, size)
    for row in range(6):
        for column in range(9):
            top, left = row - (size[0] - 1) // 2, column - (size[1] - 1) // 2
            box = values[max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
            assert_close(found[row, column], box.mean())


def matches(scale, centre, outliers=0):
    generator = torch.Generator().manual_seed(0)
    offsets = 12 * torch.rand(60, 2, generator=generator) - 6
    positions = torch.tensor(centre) + scale * offsets
    positions[:outliers] = 100 * torch.rand(outliers, 2, generator=generator)
    return positions, offsets


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_centre_and_scale_are_fitted_despite_outliers(scale, device, dtype):
    positions, offsets = (m.to(device, dtype) for m in matches(scale, (40.0, 30.0), outliers=20))
    start = positions.new_tensor([41.0, 29.0])
    centre, found = fit_centre_and_scale(
        positions, offsets, start, radius=4.0, prior_weight=1e-4, iterations=10
    )
    assert_close(centre, start.new_tensor([40.0, 30.0]), atol=0.15, rtol=0)
    assert found.item() == pytest.approx(scale, abs=0.03)


def test_scale_stays_in_its_limits_and_distant_matches_are_ignored():
    positions, offsets = matches(1.3, (40.0, 30.0))
    start = torch.tensor([40.0, 30.0])
    _, scale = fit_centre_and_scale(positions, offsets, start, 4.0, scale_limits=(1.0, 1.0))
    assert scale.item() == 1
    centre, scale = fit_centre_and_scale(positions + 500, offsets, start, 4.0)
    assert_close(centre, start)
    assert scale.item() == 1


@pytest.mark.parametrize("sides", [(0.5, 1.0), (2.0, 2.0), (1.0, 1.6)])
def test_sides_are_fitted_separately_and_beyond_the_limits_of_the_scale(sides, device):
    generator = torch.Generator().manual_seed(0)
    offsets = (torch.rand(300, 2, generator=generator) * 20 - 10).to(device)
    scale = torch.tensor(sides, device=device)
    positions = torch.tensor([40.0, 30.0], device=device) + scale * offsets
    positions[:60] = torch.rand(60, 2, generator=generator).to(device) * 80  # outliers
    start = torch.tensor([41.0, 29.0], device=device)
    fitted = fit_sides(positions, offsets, start, radius=6.0)
    assert fitted.tolist() == pytest.approx(sides, rel=0.1)


def test_sides_of_no_matches_are_those_of_the_template(device):
    offsets = torch.ones(5, 2, device=device)
    far = torch.full((5, 2), 500.0, device=device)
    assert fit_sides(far, offsets, torch.zeros(2, device=device), 6.0).tolist() == [1, 1]
