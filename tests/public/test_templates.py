import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from textures import texture

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.public.images import to_rgb


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


def test_numpy_integers_are_converted(scene):
    template = np.rot90(scene[60:109, 100:153]).copy()
    numbers = {"max_detections": 2, "stride": 4}
    found = find(scene, template, threshold=0, rotations=(0, 270), **numbers)
    numpys = {name: np.uint8(value) for name, value in numbers.items()}
    for turns in ([np.int64(0), np.int64(270)], np.array([0, 270])):
        again = find(scene, template, threshold=0, rotations=turns, **numpys)
        assert torch.equal(again.boxes, found.boxes)
        assert again.rotations[0] == 270


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


def test_absent_templates_are_seldom_found(scene):
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
def test_a_template_that_cannot_be_searched_has_a_reason(scene, template, reason):
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
    assert to_rgb(np.full((4, 5, 4), 51, np.uint8)).shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.int32), "template must be uint8, uint16 or float"),
        (np.full((4, 5), 90.0), r"template must be float in \[0, 1\], uint8"),
        (np.full((4, 5), np.nan), "template contains NaN or infinite values"),
        (np.zeros((0, 5), np.uint8), "at least one pixel"),
        (np.zeros((2, 4, 5, 3), np.uint8), "at least one pixel"),
    ],
)
def test_what_is_not_an_image_raises(scene, image, message):
    with pytest.raises(ValueError, match=message):
        find(scene, image)


def test_wrong_options_raise(scene):
    with pytest.raises(ValueError, match="score must be one of qatm, ncc, soft_rank"):
        find(scene, scene, score="best")
    with pytest.raises(ValueError, match="stride must be"):
        find(scene, scene, stride=3)


def test_a_scale_is_searched(scene):
    half = cv2.resize(scene, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = find(half, scene[40:120, 60:160], scales=[0.5, 1.0], threshold=0)
    torch.testing.assert_close(found.boxes[0], torch.tensor([30.0, 20, 80, 60]), atol=3, rtol=0)


def test_odd_sides_are_kept_to_the_pixel(scene):
    for height, width in ((49, 53), (37, 61), (40, 33)):
        found = find(scene, scene[60 : 60 + height, 100 : 100 + width], adapt_size=False)
        size = found.boxes[0, 2:] - found.boxes[0, :2]
        assert size.tolist() == pytest.approx([width, height], abs=1e-3)


def test_there_is_no_dead_border(scene):
    """What hangs half over the border is found there, and the heat map reaches it."""
    other = texture(150, 210, seed=5)
    other[50:98, :30] = scene[60:108, 120:150]
    found = find(other, scene[60:108, 90:150], threshold=0, adapt_size=False)
    assert found.boxes[0].tolist() == pytest.approx([-30, 50, 30, 98], abs=3)
    y, x = divmod(int(found.heatmap.argmax()), 210)
    assert x <= 4
    assert abs(y - 74) <= 4


def test_colours_are_not_swapped():
    """Two objects that differ by red and blue alone, and the scene as a file."""
    red = texture(150, 210, seed=3)
    red[..., 2] //= 8
    scene = texture(150, 210, seed=5)
    scene[20:70, 20:70], scene[80:130, 120:170] = red[:50, :50], red[:50, :50, ::-1]
    found = find(scene, red[:50, :50], threshold=0, max_detections=1)
    assert found.boxes[0, :2].tolist() == pytest.approx([20, 20], abs=2)


def test_changed_content_of_a_file_is_read_again(scene, tmp_path):
    path = str(tmp_path / "scene.png")
    for x, y in ((20, 30), (130, 90)):
        other = texture(150, 210, seed=5)
        other[y : y + 40, x : x + 50] = scene[60:100, 100:150]
        cv2.imwrite(path, other[..., ::-1])
        found = find(path, scene[60:100, 100:150])
        assert found.boxes[0, :2].tolist() == pytest.approx([x, y], abs=2)


def test_a_photograph_on_its_side_is_turned_upright(scene, tmp_path):
    template = Image.fromarray(np.rot90(scene[60:110, 90:160]).copy())
    exif = template.getexif()
    exif[0x0112] = 6  # to be shown turned clockwise
    template.save(tmp_path / "side.png", exif=exif)
    found = find(scene, tmp_path / "side.png")
    assert found.boxes[0].tolist() == pytest.approx([90, 60, 160, 110], abs=2)


def test_gray_alpha_and_16_bits_find_the_same_place(scene, tmp_path):
    template = scene[60:110, 90:160]
    gray = cv2.cvtColor(template, cv2.COLOR_RGB2GRAY)
    with_alpha = np.dstack([template, np.full((50, 70), 128, np.uint8)])
    cv2.imwrite(str(tmp_path / "deep.png"), template[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(with_alpha).save(tmp_path / "alpha.png")
    for other in (gray, with_alpha, tmp_path / "deep.png", tmp_path / "alpha.png"):
        found = find(scene, other, threshold=0)
        assert found.boxes[0].tolist() == pytest.approx([90, 60, 160, 110], abs=4)


@pytest.fixture
def weights(tmp_path):
    """Two files of weights for the first layer of a network."""

    def write(name, seed):
        generator = torch.Generator().manual_seed(seed)
        state = {"features.0.weight": torch.randn(64, 3, 11, 11, generator=generator)}
        torch.save(state | {"features.0.bias": torch.zeros(64)}, tmp_path / name)
        return tmp_path / name

    return write


def test_weights_are_read_again_when_their_file_has_changed(scene, weights):
    layer = {"features": "alexnet", "layers": ["features.1"]}
    template = scene[60:110, 90:160]
    first = patchmatch.match_template(scene, template, weights=weights("a.pth", 0), **layer)
    other = patchmatch.match_template(scene, template, weights=weights("b.pth", 1), **layer)
    assert not torch.equal(first.heatmap, other.heatmap)
    replaced = patchmatch.match_template(scene, template, weights=weights("a.pth", 1), **layer)
    torch.testing.assert_close(replaced.heatmap, other.heatmap)


def test_weights_of_another_network_raise(scene, weights):
    with pytest.raises(InputError, match="weights of another network than resnet18"):
        patchmatch.match_template(scene, scene, "resnet18", weights("a.pth", 0), layers=["layer1"])


def test_a_mask_of_another_size_is_told(scene):
    found = find(scene, scene[60:110, 90:160], mask=np.ones((50, 69), bool))
    assert "its mask of 69x50 pixels must have the template's size" in found.reason


def test_the_alpha_channel_of_a_template_is_its_mask(scene, tmp_path):
    template = scene[50:98, 90:146].copy()
    template[:, 28:] = texture(48, 28, seed=9)
    alpha = np.zeros(template.shape[:2], np.uint8)
    alpha[:, :28] = 255
    layered = np.dstack([template, alpha])
    Image.fromarray(layered).save(tmp_path / "cup.png")
    expected = find(scene, template, mask=alpha)
    for image in (layered, Image.fromarray(layered), tmp_path / "cup.png"):
        torch.testing.assert_close(find(scene, image).boxes, expected.boxes)
    everything = np.ones(template.shape[:2], bool)  # a mask that is given counts
    torch.testing.assert_close(
        find(scene, layered, mask=everything).scores, find(scene, template).scores
    )


def test_a_box_of_an_image_is_found(scene):
    found = find(scene, scene, box=(100, 60, 153, 109), max_detections=1)
    box = torch.tensor([100.0, 60, 153, 109])
    torch.testing.assert_close(found.boxes[0], box, atol=1.5, rtol=0)
    with pytest.raises(ValueError, match="box must be x0, y0, x1, y1, got 3 numbers"):
        find(scene, scene, box=(100, 60, 153))
    with pytest.raises(ValueError, match="must lie in its image of 210x150"):
        find(scene, scene, box=(100, 60, 90, 109))
