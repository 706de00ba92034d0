"""The homography net: whose partners it chooses, and what its passes do."""

import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import image_corners
from patchmatch.pairs.homography.net import (
    HomographyNet,
    Pass,
    cell_centres,
    matching_loss,
    partners,
)


def test_cells_are_named_by_the_middle_of_their_pixels():
    assert_close(
        cell_centres(3)[[0, 1, 5]], torch.tensor([[1.5, 1.5], [5.5, 1.5], [9.5, 5.5]]).double()
    )


def test_partners_choose_each_other_and_lie_between_cells():
    """Cell 0 and cell 5 of a 3x3 grid belong together; cell 1 would have 5 as well."""
    scores = torch.zeros(2, 9, 9)
    scores[0, 0, 5], scores[0, 1, 5] = 20, 15
    scores[1, 4, 4] = scores[1, 4, 5] = 20
    places, confidence = partners(scores)
    assert_close(places[0, 0], cell_centres(3)[5], atol=1e-3, rtol=0)
    assert confidence[0, 0] > 0.99
    assert confidence[0, 1] < 0.1
    assert_close(places[1, 4], torch.tensor([7.5, 5.5]).double(), atol=1e-3, rtol=0)


def test_partners_are_sought_near_where_that_is_asked():
    scores = torch.zeros(1, 16, 16)
    scores[0, 0, 15], scores[0, 0, 5] = 20, 10
    assert_close(partners(scores)[0][0, 0], cell_centres(4)[15], atol=1e-2, rtol=0)
    assert_close(partners(scores, near=1)[0][0, 0], cell_centres(4)[5], atol=1e-2, rtol=0)


@pytest.fixture
def moved():
    """The unit, and a motion by (8, -4)."""
    truth = torch.eye(3, dtype=torch.float64).expand(2, -1, -1).clone()
    truth[:, :2, 2] = torch.tensor([8.0, -4.0])
    return torch.eye(3, dtype=torch.float64).expand(2, -1, -1), truth


def moved_scores(number, dx, dy):
    """Scores of a 4x4 grid that make each cell the partner of that so many cells away."""
    scores = torch.zeros(number, 16, 16)
    for y in range(4):
        for x in range(4):
            if 0 <= x + dx < 4 and 0 <= y + dy < 4:
                scores[:, 4 * y + x, 4 * (y + dy) + x + dx] = 12
    return scores


def test_the_loss_is_least_for_the_true_partners_in_the_frame_of_the_estimate(moved):
    unit, truth = moved
    valid = torch.ones(2, 16, 16, dtype=torch.bool)

    def loss(before, dx, dy, seen=valid):
        return matching_loss(
            Pass(torch.zeros(2, 4, 2), before, moved_scores(2, dx, dy)), truth, seen
        )

    assert loss(unit, 2, -1) < 0.1
    assert loss(unit, 0, 0) > 5
    half = unit.clone()
    half[:, 0, 2] = 4  # what is left of it
    assert loss(half, 1, -1) < 0.1
    assert loss(unit, 0, 0, ~valid) == 0
    far = unit.clone()
    far[:, 0, 2] = -100
    assert loss(far, 0, 0) == 0


def test_a_place_between_cells_is_expected_in_each_by_its_share(moved):
    unit, truth = moved
    truth[:, :2, 2] = torch.tensor([1.0, 0.0])  # a quarter of a cell
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    scores = torch.zeros(2, 4, 4)
    scores[:, 0, 1] = 2.0
    given0 = torch.tensor([0.0, 0, 2, 0]).exp().sum().log()
    even = torch.tensor(4.0).log()
    seen = torch.zeros(2, 8, 8, dtype=torch.bool)
    seen[:, :4, :4] = True  # cell 0 alone counts
    loss = matching_loss(Pass(torch.zeros(2, 4, 2), unit, scores), truth, seen & valid)
    expected = 0.75 * (given0 + even) + 0.25 * (given0 + given0 - 4.0)
    assert_close(loss, expected)


def test_images_that_are_the_same_have_not_moved():
    """Even random weights tell that; and each later pass begins where the last one ended."""
    torch.manual_seed(0)
    net = HomographyNet(64, 8).eval()
    scene = torch.nn.functional.interpolate(torch.rand(3, 1, 16, 16), (64, 64), mode="bicubic")
    found = net(scene.clamp(0, 1), scene.clamp(0, 1), 2)
    assert len(found) == 2
    for one in found:
        corners = image_corners(64, 64).float().expand(3, -1, -1)
        assert_close(one.corners, corners, atol=1.5, rtol=0)
        assert one.scores.shape == (3, 256, 256)
    there = found[1].before[:, :2, 2]
    assert_close(there.float(), found[0].corners[:, 0], atol=1e-3, rtol=0)


def test_a_later_pass_sees_image_1_as_the_first_left_it(monkeypatch):
    """Once the estimate is right, each cell of image 0 is most like the one in its own place."""

    def bare(image):
        blocks = torch.nn.functional.pixel_unshuffle(image, 4)
        return torch.nn.functional.normalize(blocks - blocks.mean(dim=1, keepdim=True), dim=1)

    net = HomographyNet(64, 8).eval()
    monkeypatch.setattr(net, "features", bare)
    scene = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    image0, image1 = scene[..., 16:80, 16:80], scene[..., 12:76, 24:88]  # moved by (-8, 4)
    first, second = net(image0, image1, 2)
    expected = image_corners(64, 64).float() + torch.tensor([-8.0, 4.0])
    assert_close(first.corners[0], expected, atol=0.05, rtol=0)
    assert_close(second.corners[0], expected, atol=0.05, rtol=0)
    nearest = [one.scores[0].argmax(dim=1).view(16, 16)[:15, 2:] for one in (first, second)]
    cells = torch.arange(256).view(16, 16)
    assert_close(nearest[0], cells[1:, :14])
    assert_close(nearest[1], cells[:15, 2:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [((100, 32), "a multiple of 32 and at least 64 pixels, got 100"), ((64, 3), "width must be")],
)
def test_wrong_sizes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HomographyNet(*settings)
