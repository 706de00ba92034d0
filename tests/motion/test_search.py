import numpy as np
import torch
from torch.testing import assert_close

from patchmatch.motion.search import best_candidates, cost_volume


def test_costs_agree_with_loops(device, dtype):
    height, width, block, radius, clip = 7, 10, 3, 2, 0.4  # 2 rows and 3 columns of blocks
    one, other = torch.rand(2, 2, 1, height, width).unbind()
    volume = cost_volume(one.to(device, dtype), other.to(device, dtype), block, radius, clip)
    assert volume.shape == (2, 25, 2, 3)
    for b, d, row, column in np.ndindex(volume.shape):
        dy, dx = d // 5 - 2, d % 5 - 2
        total = 0.0
        for y, x in np.ndindex(block, block):
            y0, x0 = row * block + y, column * block + x
            y1, x1 = min(max(y0 + dy, 0), height - 1), min(max(x0 + dx, 0), width - 1)
            total += min(abs(float(other[b, 0, y1, x1] - one[b, 0, y0, x0])), clip)
        assert_close(volume[b, d, row, column].item(), total / block**2, rtol=0, atol=1e-5)


def test_convention_displacement_points_from_image0_to_image1():
    canvas = torch.rand(2, 1, 30, 40)
    image0, image1 = canvas[..., 6:22, 6:30], canvas[..., 5:21, 9:33]  # dx, dy = -3, 1
    assert image0[0, 0, 8, 12] == image1[0, 0, 8 + 1, 12 - 3]
    found = best_candidates(cost_volume(image0, image1, 8, 4), 1)
    inner = found.view(2, 2, 3, 2)[:, 0, 1]  # a block that nothing leaves at a border
    assert_close(inner, torch.tensor([[-3.0, 1], [-3, 1]]), rtol=0, atol=0.1)


def test_candidates_are_ordered_by_block():
    planted = torch.tensor([[-2, 1], [0, -2], [2, 2], [1, 0], [-2, -2], [-1, 2]])  # dx, dy
    volume = torch.ones(2, 25, 2, 3)
    for i, (dx, dy) in enumerate(planted.tolist()):
        volume[0, (dy + 2) * 5 + dx + 2, i // 3, i % 3] = 0
        volume[1, (dx + 2) * 5 + dy + 2, i // 3, i % 3] = 0
    found = best_candidates(volume, 1)
    expected = torch.cat([planted, planted.flip(1)]).float()[:, None]
    inner = expected.abs() < 2  # at the rim of the search only one side is known
    assert found.shape == (12, 1, 2)
    assert_close(found[inner], expected[inner])
    assert_close(found, expected, rtol=0, atol=0.5)


def bowl(dx, dy, radius=3):
    """Costs with their minimum between pixels."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return torch.from_numpy(0.1 * (x - dx) ** 2 + 0.2 * (y - dy) ** 2).float().flatten()


def test_minimum_is_interpolated_by_a_parabola():
    volume = torch.stack([bowl(0.3, -1.2), bowl(-1.45, 0.05)])[:, :, None, None]
    found = best_candidates(volume.expand(2, 49, 2, 3), 1).view(2, 6, 2)
    expected = torch.tensor([[0.3, -1.2], [-1.45, 0.05]])[:, None].expand(2, 6, 2)
    assert_close(found, expected, rtol=0, atol=1e-4)


def test_candidates_are_local_minima_the_lowest_first():
    volume = torch.minimum(bowl(-2, -1) + 0.2, bowl(2, 1))[None, :, None, None]
    (found,) = best_candidates(volume, 2)
    assert found.round().tolist() == [[2, 1], [-2, -1]]


def test_neighbours_disambiguate_a_block():
    clear, torn = torch.ones(25), torch.ones(25)
    clear[17] = 0
    torn[17], torn[7] = 0.45, 0.4
    volume = clear[None, :, None, None].repeat(1, 1, 3, 4)
    volume[0, :, 1, 2] = torn
    found = best_candidates(volume, 1)
    assert_close(found, torch.tensor([0.0, 1]).expand(12, 1, 2))


def test_constant_volume_gives_finite_candidates_within_the_radius():
    found = best_candidates(torch.zeros(2, 25, 2, 3), 6)
    assert found.shape == (12, 6, 2)
    assert found.abs().max() <= 2.5


def test_search_accepts_an_empty_batch():
    volume = cost_volume(torch.zeros(0, 1, 8, 12), torch.zeros(0, 1, 8, 12), 4, 1)
    assert volume.shape == (0, 9, 2, 3)


def test_zero_motion_comes_first_unless_a_cost_is_lower_than_its_prior():
    volume = torch.stack([bowl(2, 1) / 10 + 0.1, bowl(2, 1) / 10 + 0.1])[:, :, None, None]
    zero_motion_credit = torch.tensor([0.05, 0.0]).view(
        2, 1, 1
    )  # rest costs 0.06 more than the least
    volume[:, 24] = 0.13
    near, far = best_candidates(volume, 2, zero_motion_credit).round()
    assert near.tolist() == [[0, 0], [2, 1]]
    assert far[0].tolist() == [2, 1]
