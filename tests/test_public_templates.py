import cv2
import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.public.templates import to_colors


def texture(height, width, seed=0):
    """A picture with detail of several sizes, uint8 RGB."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (5, 13, 31):
        small = rng.random((height // side + 2, width // side + 2, 3), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 * np.clip((total - total.min()) / np.ptp(total), 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def scene():
    return texture(150, 210)


def find(scene, template, **options):
    return patchmatch.match_template(scene, template, features="handcrafted", **options)


@pytest.mark.parametrize("score", ["qatm", "ncc", "soft_rank"])
def test_a_part_of_the_scene_is_found_where_it_is(scene, score):
    found = find(scene, scene[60:109, 100:153], score=score)  # odd sides, off the grid of cells
    box = torch.tensor([100.0, 60, 153, 109])
    torch.testing.assert_close(found.boxes[0], box, atol=1.5, rtol=0)
    assert found.heatmap.shape == (150, 210)
    y, x = divmod(int(found.heatmap.argmax()), 210)
    assert (x, y) == pytest.approx((126, 84), abs=4)
    assert found.scores[0] > 0.5
    assert found.reason == ""


def test_a_template_at_the_very_border_is_found(scene):
    found = find(scene, scene[:40, 170:])
    torch.testing.assert_close(found.boxes[0], torch.tensor([170.0, 0, 210, 40]), atol=2, rtol=0)


def test_the_scene_finds_itself(scene):
    found = find(scene, scene)
    torch.testing.assert_close(found.boxes[0], torch.tensor([0.0, 0, 210, 150]), atol=2, rtol=0)


def test_size_follows_what_matched(scene):
    larger = cv2.resize(scene[40:90, 60:120], None, fx=1.2, fy=1.2, interpolation=cv2.INTER_CUBIC)
    other = texture(150, 210, seed=5)
    other[50:110, 70:142] = larger
    found = find(other, scene[40:90, 60:120], threshold=0)
    torch.testing.assert_close(found.boxes[0], torch.tensor([70.0, 50, 142, 110]), atol=5, rtol=0)
    rigid = find(other, scene[40:90, 60:120], threshold=0, adapt_size=False)
    assert (rigid.boxes[0, 2:] - rigid.boxes[0, :2]).tolist() == pytest.approx([60, 50])


def test_several_instances_are_found_the_best_first(scene):
    other = texture(150, 210, seed=5)
    for x, y in ((10, 20), (120, 80)):
        other[y : y + 40, x : x + 44] = scene[60:100, 90:134]
    found = find(other, scene[60:100, 90:134], threshold=0.9)
    assert len(found) == 2
    assert found.scores[0] >= found.scores[1]
    corners = sorted(found.boxes[:, :2].tolist())
    assert corners[0] == pytest.approx([10, 20], abs=2)
    assert corners[1] == pytest.approx([120, 80], abs=2)


def test_what_is_not_there_is_seldom_found(scene):
    found = [find(scene, texture(48, 56, seed=seed)) for seed in range(10, 16)]
    assert sum(map(bool, map(len, found))) <= 1  # made of the same stuff as the scene
    assert all((one.scores < 0.7).all() for one in found)
    assert any("nothing scores 0.5" in one.reason for one in found)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (np.full((30, 40, 3), 90, np.uint8), "the template is flat"),
        (np.zeros((30, 40), np.uint8), "the template is flat"),
        (texture(1, 1), "1x1 pixels is smaller than 4x4"),
        (texture(160, 40), "40x160 pixels is larger than the scene of 210x150"),
    ],
)
def test_what_cannot_be_found_is_answered_with_the_reason(scene, template, reason):
    found = find(scene, template, threshold=0)
    assert reason in found.reason
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.heatmap.shape == (150, 210)
    assert found.heatmap.isfinite().all()


def test_a_flat_scene_gives_no_nan():
    found = find(np.full((60, 80), 128, np.uint8), texture(20, 24), threshold=0)
    assert found.scores.isfinite().all()
    assert found.heatmap.isfinite().all()
    assert (found.scores < 0.5).all()


def test_a_mask_leaves_out_what_hides_the_object(scene):
    template = scene[50:98, 90:146].copy()
    mask = np.zeros(template.shape[:2], np.uint8)
    mask[:, :28] = 255
    template[:, 28:] = texture(48, 28, seed=9)
    found = find(scene, template, mask=mask)
    torch.testing.assert_close(found.boxes[0], torch.tensor([90.0, 50, 146, 98]), atol=3, rtol=0)
    torch.testing.assert_close(find(scene, template, mask=mask > 0).boxes, found.boxes)


def test_all_kinds_of_images_give_the_same(scene, tmp_path):
    template = scene[60:100, 100:150]
    cv2.imwrite(str(tmp_path / "scene.png"), scene[..., ::-1])
    cv2.imwrite(str(tmp_path / "template.png"), template[..., ::-1])
    expected = find(scene, template).boxes
    paths = find(tmp_path / "scene.png", str(tmp_path / "template.png")).boxes
    floats = find(scene.astype(np.float32) / 255, template.astype(np.uint16) * 257).boxes
    tensors = find(torch.from_numpy(scene).permute(2, 0, 1), torch.from_numpy(template)).boxes
    for boxes in (paths, floats, tensors):
        torch.testing.assert_close(boxes, expected, atol=1e-2, rtol=0)
    assert to_colors(np.full((4, 5, 4), 51, np.uint8)).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.int32), "must be uint8, uint16 or float"),
        (np.full((4, 5), 90.0), r"floats must lie in \[0, 1\]"),
        (np.full((4, 5), np.nan), r"floats must lie in \[0, 1\]"),
        (np.zeros((0, 5), np.uint8), "at least one pixel"),
        (np.zeros((2, 4, 5, 3), np.uint8), "at least one pixel"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        to_colors(image)


def test_wrong_options_are_refused(scene):
    with pytest.raises(ValueError, match="score must be one of qatm, ncc, soft_rank"):
        find(scene, scene, score="best")
    with pytest.raises(ValueError, match="stride must be"):
        find(scene, scene, stride=3)


def test_a_scale_is_searched(scene):
    half = cv2.resize(scene, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = find(half, scene[40:120, 60:160], scales=[0.5, 1.0], threshold=0)
    torch.testing.assert_close(found.boxes[0], torch.tensor([30.0, 20, 80, 60]), atol=3, rtol=0)
