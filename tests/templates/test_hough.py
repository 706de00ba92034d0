import math

import pytest
import torch
from torch.testing import assert_close

from patchmatch.templates.hough import box_mean, hough_voting, fit_centre_and_scale


def test_votes_agree_with_a_loop():
    points = torch.tensor([[2.0, 1.0], [4.25, 3.5], [-3.0, 2.0]])  # the last lies outside
    sigma, size = 1.0, (6, 9)
    votes = hough_voting(points, size, sigma)
    splat = {(2, 1): 1.0}
    splat |= {(4, 3): 0.375, (5, 3): 0.125, (4, 4): 0.375, (5, 4): 0.125}
    for row in range(6):
        for column in range(9):
            expected = sum(
                weight * math.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)
                for (x, y), weight in splat.items()
                if abs(column - x) <= 3 and abs(row - y) <= 3
            )
            assert votes[row, column].item() == pytest.approx(expected / 3, abs=1e-5)


def test_where_all_points_meet_the_share_is_one():
    votes = hough_voting(torch.tensor([[5.0, 2.0]]).expand(7, 2), (8, 11), 1.7)
    assert votes[2, 5].item() == pytest.approx(1)
    assert votes.argmax().item() == 2 * 11 + 5


@pytest.mark.parametrize("size", [(3, 2), (1, 5), (8, 4)])
def test_means_of_boxes_agree_with_a_loop(size):
    values = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    found = box_mean(values, size)
    for row in range(6):
        for column in range(9):
            top, left = row - (size[0] - 1) // 2, column - (size[1] - 1) // 2
            box = values[max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
            assert_close(found[row, column], box.mean())


def matches(scale, centre, outliers=0):
    generator = torch.Generator().manual_seed(0)
    offsets = 12 * torch.rand(60, 2, generator=generator) - 6
    places = torch.tensor(centre) + scale * offsets
    places[:outliers] = 100 * torch.rand(outliers, 2, generator=generator)
    return places, offsets


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_centre_and_scale_are_found_among_outliers(scale):
    places, offsets = matches(scale, (40.0, 30.0), outliers=20)
    fit = fit_centre_and_scale(
        places, offsets, torch.tensor([41.0, 29.0]), radius=4.0, stiffness=1e-4, steps=10
    )
    assert_close(fit.centre, torch.tensor([40.0, 30.0]), atol=0.15, rtol=0)
    assert fit.scale.item() == pytest.approx(scale, abs=0.03)


def test_limits_hold_and_nothing_near_leaves_the_start():
    places, offsets = matches(1.3, (40.0, 30.0))
    start = torch.tensor([40.0, 30.0])
    fit = fit_centre_and_scale(places, offsets, start, 4.0, limits=(1.0, 1.0))
    assert fit.scale.item() == 1
    far = fit_centre_and_scale(places + 500, offsets, start, 4.0)
    assert_close(far.centre, start)
    assert far.share.item() == 0
