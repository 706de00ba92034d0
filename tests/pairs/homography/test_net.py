"""The homography network: dual-softmax matches, loss, passes."""

import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops.homography import image_corners
from patchmatch.pairs.homography.net import (
    HomographyNet,
    PassOutput,
    cell_centres,
    dual_softmax_matches,
    matching_loss,
)


def test_cell_centres_are_the_mean_of_their_pixels():
    assert_close(
        cell_centres(3)[[0, 1, 5]], torch.tensor([[1.5, 1.5], [5.5, 1.5], [9.5, 5.5]]).double()
    )


def test_matches_are_mutual_and_interpolated_between_cells(device, dtype):
    """Cell 0 and cell 5 of a 3x3 grid are mutual nearest neighbours; the best of cell 1 is 5."""
    scores = torch.zeros(2, 9, 9, device=device, dtype=dtype)
    scores[0, 0, 5], scores[0, 1, 5] = 20, 15
    scores[1, 4, 4] = scores[1, 4, 5] = 20
    points1, confidence = dual_softmax_matches(scores)
    points1 = points1.cpu()
    assert_close(points1[0, 0], cell_centres(3)[5], atol=1e-3, rtol=0)
    assert confidence[0, 0] > 0.99
    assert confidence[0, 1] < 0.1
    assert_close(points1[1, 4], torch.tensor([7.5, 5.5]).double(), atol=1e-3, rtol=0)


def test_the_radius_limits_the_matches():
    scores = torch.zeros(1, 16, 16)
    scores[0, 0, 15], scores[0, 0, 5] = 20, 10
    assert_close(dual_softmax_matches(scores)[0][0, 0], cell_centres(4)[15], atol=1e-2, rtol=0)
    near = dual_softmax_matches(scores, radius=1)[0]
    assert_close(near[0, 0], cell_centres(4)[5], atol=1e-2, rtol=0)


@pytest.fixture
def moved():
    """The identity, and a translation by (8, -4)."""
    truth = torch.eye(3, dtype=torch.float64).expand(2, -1, -1).clone()
    truth[:, :2, 2] = torch.tensor([8.0, -4.0])
    return torch.eye(3, dtype=torch.float64).expand(2, -1, -1), truth


def moved_scores(number, dx, dy):
    """Return scores of a 4x4 grid whose matches are displaced by (dx, dy) cells."""
    scores = torch.zeros(number, 16, 16)
    for y in range(4):
        for x in range(4):
            if 0 <= x + dx < 4 and 0 <= y + dy < 4:
                scores[:, 4 * y + x, 4 * (y + dy) + x + dx] = 12
    return scores


def output(initial, scores):
    return PassOutput(corners=torch.zeros(2, 4, 2), initial=initial, scores=scores)


def test_the_loss_is_lowest_for_the_true_matches_given_the_initial_homography(moved):
    identity, truth = moved
    valid = torch.ones(2, 16, 16, dtype=torch.bool)

    def loss(initial, dx, dy, valid=valid):
        scores = moved_scores(2, dx, dy)
        return matching_loss(output(initial, scores), truth, valid)

    assert loss(identity, 2, -1) < 0.1
    assert loss(identity, 0, 0) > 5
    half = identity.clone()
    half[:, 0, 2] = 4  # a displacement by one cell remains
    assert loss(half, 1, -1) < 0.1
    assert loss(identity, 0, 0, ~valid) == 0
    far = identity.clone()
    far[:, 0, 2] = -100
    assert loss(far, 0, 0) == 0


def test_a_true_match_between_cells_is_weighted_bilinearly(moved):
    identity, truth = moved
    truth[:, :2, 2] = torch.tensor([1.0, 0.0])  # a quarter of a cell
    scores = torch.zeros(2, 4, 4)
    scores[:, 0, 1] = 2.0
    norm = torch.tensor([0.0, 0, 2, 0]).exp().sum().log()
    uniform = torch.tensor(4.0).log()
    valid = torch.zeros(2, 8, 8, dtype=torch.bool)
    valid[:, :4, :4] = True  # cell 0 only
    loss = matching_loss(output(identity, scores), truth, valid)
    expected = 0.75 * (norm + uniform) + 0.25 * (norm + norm - 4.0)
    assert_close(loss, expected)


def test_equal_images_have_the_identity_even_with_random_weights():
    torch.manual_seed(0)
    net = HomographyNet(64, 8).eval()
    scene = torch.nn.functional.interpolate(torch.rand(3, 1, 16, 16), (64, 64), mode="bicubic")
    found = net(scene.clamp(0, 1), scene.clamp(0, 1), 2)
    assert len(found) == 2
    for one in found:
        corners = image_corners(64, 64).float().expand(3, -1, -1)
        assert_close(one.corners, corners, atol=1.5, rtol=0)
        assert one.scores.shape == (3, 256, 256)
    translation = found[1].initial[:, :2, 2]  # the second pass starts from the first estimate
    assert_close(translation.float(), found[0].corners[:, 0], atol=1e-3, rtol=0)


def test_a_later_pass_matches_the_warped_image1(monkeypatch):
    """After a correct estimate each cell of image 0 matches the cell at the same position."""

    def normalized_blocks(image):
        blocks = torch.nn.functional.pixel_unshuffle(image, 4)
        return torch.nn.functional.normalize(blocks - blocks.mean(dim=1, keepdim=True), dim=1)

    net = HomographyNet(64, 8).eval()
    monkeypatch.setattr(net, "features", normalized_blocks)
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
def test_wrong_sizes_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        HomographyNet(*settings)
