import numpy as np
import pytest
import torch

from patchmatch.pairs.dense_field import FieldMatcher, flow_smoothness


def noise(height, width, seed=0):
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


def test_shifted_image_is_matched():
    scene = noise(60, 90)
    found = FieldMatcher(patch_size=7).match(scene[..., 5:, :80], scene[..., :50, 10:])
    shift = found.keypoints1 - found.keypoints0
    assert len(found) > 80
    assert ((shift == torch.tensor([-10.0, 5.0])).all(dim=1)).float().mean() > 0.97
    expected = np.array([[1, 0, -10], [0, 1, 5], [0, 0, 1]])
    assert found.homography.numpy() == pytest.approx(expected, abs=0.1)


def test_each_cell_gives_at_most_one_match():
    scene = noise(40, 50)
    found = FieldMatcher(patch_size=5, cell=10).match(scene, scene)
    cells = (found.keypoints0 / 10).floor()
    assert len(cells.unique(dim=0)) == len(found) == 20


def test_unrelated_and_blank_images_have_few_or_no_matches():
    matcher = FieldMatcher(patch_size=7)
    assert len(matcher.match(noise(50, 60), noise(50, 60, seed=1))) < 5
    assert len(matcher.match(torch.full((1, 1, 50, 60), 0.5), noise(50, 60))) == 0
    assert len(matcher.match(torch.zeros(1, 1, 50, 60), torch.zeros(1, 1, 50, 60))) == 0


def test_invalid_pixels_are_not_matched():
    scene, valid = noise(40, 60), torch.ones(1, 40, 60).bool()
    valid[..., 30:] = False
    found = FieldMatcher(patch_size=5).match(scene, scene, valid, None)
    assert len(found) > 20
    assert found.keypoints0[:, 0].max() < 30


def test_mask_without_a_complete_patch_gives_no_matches():
    border = torch.zeros(1, 40, 60).bool()
    border[:, :7] = True  # contains no centre of a complete patch of 15x15
    matcher = FieldMatcher(patch_size=15)
    assert len(matcher.match(noise(40, 60), noise(40, 60, seed=1), border, border)) == 0


def test_score_is_the_share_of_neighbours_with_the_same_flow(device, dtype):
    flow = torch.zeros(1, 2, 11, 12, device=device, dtype=dtype)
    reliable = torch.ones(1, 11, 12, device=device).bool()
    reliable[0, 5, 5] = False
    flow[0, 0, 4, 4] = 30
    score = flow_smoothness(flow, reliable)[0].cpu()
    assert score[5, 6] == pytest.approx(
        (81 - 3) / 80
    )  # without itself, an unreliable and a different pixel
    assert score[4, 4] == score[5, 5] == 0
    assert score[10, 11] == pytest.approx(24 / 80)  # a corner has a quarter of the neighbours


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 2}, "patch_size must be from 3 to 15"),
        ({"preset": "plain"}, "preset must be fast, balanced or accurate"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"cell": 0}, "cell must be at least 1"),
    ],
)
def test_invalid_setting_raises(options, message):
    with pytest.raises(ValueError, match=message):
        FieldMatcher(**options)
