"""Scales and rotations of templates, several templates in a scene, and options."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from textures import detailed
from torch.testing import assert_close

from patchmatch.io import write_image
from patchmatch.templates.backbones import load_backbone
from patchmatch.templates.features import normalize_features
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.template_features import (
    Pose,
    extract_template_features,
    unsearchable_reason,
)
from patchmatch.templates.template_files import read_masks


def texture(height, width, seed=0):
    """Return an image with detail at several scales, (3, height, width) in [0, 1]."""
    return torch.from_numpy(detailed(height, width, seed)).permute(2, 0, 1).contiguous()


def scene_batch(scene, templates, thresholds=None):
    names = list(templates)
    return {
        "source": "shelf", "scene_name": "s0", "scene": scene, "template_names": names,
        "templates": list(templates.values()), "masks": [None] * len(names),
        "thresholds": thresholds or [None] * len(names), "boxes": [None] * len(names),
    }  # fmt: skip


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("handcrafted")


def matcher(**options):
    return TemplateMatcher("handcrafted", **options).eval()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_values_raise(value):
    scene, template = texture(60, 90), texture(30, 40)
    wrong = scene.clone()
    wrong[1, 20, 70] = value
    with pytest.raises(ValueError, match=r"^scene contains NaN or infinite values"):
        matcher().match(wrong, template)
    with pytest.raises(ValueError, match=r"^template contains NaN or infinite values"):
        matcher().match(scene, wrong[:, 10:40, 50:])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_rotation_gives_the_features_of_the_rotated_image(backbone, turns):
    template = texture(40, 64)
    expected = extract_template_features(
        backbone, torch.rot90(template, turns, (1, 2)), None, Pose()
    )
    found = extract_template_features(backbone, template, None, Pose(rotation=90.0 * turns))
    assert found.size == expected.size
    assert found.extent == expected.extent == pytest.approx((40 * 64) ** 0.5)
    assert_close(found.offsets, expected.offsets)
    for maps, others in zip(found.maps, expected.maps, strict=True):
        assert_close(maps, others, atol=2e-3, rtol=0)


def test_rotated_template_excludes_the_corners_of_its_box(backbone):
    found = extract_template_features(backbone, texture(40, 120), None, Pose(rotation=45))
    assert found.size == (113, 113)
    x, y = (found.offsets * 4).T  # pixels from the centre
    along, across = (x - y) / 2**0.5, (x + y) / 2**0.5
    assert len(x) == pytest.approx(40 * 120 / 16, rel=0.05)
    assert along.abs().max() <= 62  # the long side, which points up and to the right
    assert across.abs().max() <= 22


@pytest.mark.parametrize("angle", [40, 120, 250])
def test_rotated_object_is_found_with_rotations_only(angle):
    height, width = 48, 70
    matrix = cv2.getRotationMatrix2D((34.5, 23.5), angle, 1)  # counter-clockwise
    matrix[:, 2] += 100, 76
    drawn = [
        cv2.warpAffine(image, matrix, (260, 190), flags=cv2.INTER_LINEAR)
        for image in (texture(height, width, 3).permute(1, 2, 0).numpy(), np.ones((48, 70)))
    ]
    inside = torch.from_numpy(drawn[1] > 0.5)
    scene = torch.where(inside, torch.from_numpy(drawn[0]).permute(2, 0, 1), texture(190, 260, 7))
    template = texture(height, width, 3)
    assert not len(matcher().match(scene, template))
    found = matcher(rotations=tuple(range(0, 360, 30))).match(scene, template)
    rows, columns = torch.nonzero(inside.any(dim=1)), torch.nonzero(inside.any(dim=0))
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found.scores[0] > 0.9
    assert found.boxes[0].tolist() == pytest.approx([int(side) for side in box], abs=10)
    assert abs(found.rotations[0].item() - angle) <= 20
    assert len(found.rotations) == len(found)


def test_odds_of_a_score_are_divided_by_the_number_of_poses():
    scene = texture(97, 154)
    template = texture(40, 48, 1)
    template[:, :, :40] = scene[:, 30:70, 80:120]
    one, three = (
        matcher(threshold=0, scales=scales, max_detections=1).match(scene, template).scores.item()
        for scales in ((1.0,), (1.0, 0.5, 0.4))
    )
    assert one / (1 - one) == pytest.approx(3 * three / (1 - three), rel=0.1)


def test_template_that_fits_only_after_rotation_is_found():
    scene = texture(150, 90)
    template = torch.rot90(scene[:, 20:140, 30:70], -1, (1, 2))  # 120 wide, the scene has 90
    assert "larger than the scene" in matcher().match(scene, template).reason
    found = matcher(rotations=(0.0, 90.0)).match(scene, template)
    assert found.boxes[0].tolist() == pytest.approx([30, 20, 70, 140], abs=3)
    assert found.rotations.tolist() == [90]


def test_unsearchable_template_reports_the_reason_of_the_first_pose():
    template = texture(30, 60)
    assert "60x30 pixels is larger" in unsearchable_reason((40, 50), template, None, Pose())
    assert unsearchable_reason((70, 40), template, None, Pose(rotation=90)) == ""
    reason = matcher(scales=(1.0, 2.0)).match(texture(20, 50), template).reason
    assert "60x30 pixels is larger than the scene of 50x20" in reason


def test_features_are_normalised_by_the_scene_and_the_first_template():
    generator = torch.Generator().manual_seed(0)
    scene = [torch.randn(50, 3, generator=generator), 9 * torch.rand(50, 2, generator=generator)]
    first, second = ([torch.rand(n, 3), torch.rand(n, 2)] for n in (7, 4))
    scene_features, (features, others) = normalize_features(scene, [first, second])
    assert [len(f) for f in (scene_features, features, others)] == [50, 7, 4]
    for found, kinds in ((scene_features, scene), (features, first), (others, second)):
        parts = []
        for kind, values in enumerate(kinds):
            both = torch.cat([scene[kind], first[kind]])
            normalized = (values - both.mean(dim=0)) / both.std(dim=0, correction=0)
            parts.append(normalized / normalized.norm(dim=1, keepdim=True) / 2**0.5)
        assert_close(found, torch.cat(parts, dim=1), atol=1e-5, rtol=1e-4)


def test_overlapping_templates_keep_the_better_one_and_report_the_other():
    scene = texture(150, 210)
    templates = {"part": scene[:, 44:84, 60:108], "whole": scene[:, 40:90, 60:110]}
    found = matcher().predict_step(scene_batch(scene, templates), 0)
    assert len(found) == 1
    (kept,) = (found.templates[i] for i in found.template_index.tolist())
    (lost,) = set(templates) - {kept}
    assert found.reasons == {lost: "another template has a higher score at the same location"}
    both = matcher(max_overlap=0.9).predict_step(scene_batch(scene, templates), 0)
    assert sorted(both.template_index.tolist()) == [0, 1]
    assert both.reasons == {}


def test_each_template_uses_its_own_threshold():
    scene = texture(150, 210)
    templates = {"a": scene[:, 10:60, 10:60], "b": scene[:, 80:130, 120:180]}
    found = matcher().predict_step(scene_batch(scene, templates, [1.0, None]), 0)
    assert found.template_index.tolist() == [1]
    assert found.reasons == {"a": "nothing scores 1 or more"}


def test_scene_heatmap_is_the_maximum_over_templates():
    scene = texture(90, 130)
    templates = {"a": scene[:, 5:45, 10:60], "b": scene[:, 40:80, 70:120]}
    found = matcher().predict_step(scene_batch(scene, templates), 0)
    alone = [matcher().match(scene, template).heatmap for template in templates.values()]
    assert_close(found.detections.heatmap, torch.maximum(*alone))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotations": ()}, "rotations must be one or more angles"),
        ({"rotations": (float("nan"),)}, "rotations must be one or more angles"),
        ({"scales": (0.0,)}, "scales must be one or more numbers above 0"),
        ({"memory_mb": -1}, "memory_mb must be at least 0"),
        ({"features_mb": -1}, "features_mb must be at least 0"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"threshold": 1.5}, "threshold must lie between 0 and 1"),
        ({"max_detections": 0}, "max_detections must be at least 1"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        matcher(**options)


@pytest.mark.parametrize("memory_mb", [0, 1])
def test_memory_does_not_change_detections(memory_mb):
    scene = texture(150, 210)
    template = scene[:, 40:90, 60:110]
    expected = matcher().match(scene, template)
    found = matcher(memory_mb=memory_mb).match(scene, template)
    assert_close(found.boxes, expected.boxes)
    assert_close(found.scores, expected.scores)


@pytest.mark.parametrize(("stride", "rows"), [(4, 5), (1, 37)])
def test_features_in_strips_give_the_same_detections(stride, rows, monkeypatch):
    scene = texture(150, 210)
    template = scene[:, 40:90, 60:110]
    whole = matcher(stride=stride)
    expected, features = whole.match(scene, template), whole.extract_features(scene)
    row_bytes = features.grid[1] * sum(whole.backbone.channels) * 4
    monkeypatch.setattr("patchmatch.templates.features._STRIP_BYTES", rows * row_bytes)
    in_strips = matcher(stride=stride, features_mb=1)
    assert whole.features_mb * 2**20 > features.grid[0] * row_bytes > 2**20
    strips = in_strips.extract_features(scene)
    assert len(strips.cells(slice(0, 3))[0]) == 3
    for cells in (slice(0, 60), slice(4 * features.grid[1], 80 * features.grid[1] // stride)):
        for found, part in zip(strips.cells(cells), features.cells(cells), strict=True):
            assert_close(found, part, atol=1e-5, rtol=1e-4)
    assert_close(strips.moments.mean, features.moments.mean, atol=1e-5, rtol=1e-4)
    assert_close(strips.moments.variance, features.moments.variance, atol=1e-5, rtol=1e-4)
    found = in_strips.match(scene, template)
    assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=0)
    assert_close(found.scores, expected.scores, atol=1e-4, rtol=0)


def test_convention_cells_begin_at_multiples_of_the_stride(backbone):
    image = torch.full((1, 3, 26, 45), 0.5)
    image[..., 8:12, 20:24] = 0.9  # cell (2, 5)
    intensity = backbone(image)[-1][0, 0]  # smoothed over 3x3 cells
    assert intensity.shape == (7, 12)
    rows, columns = torch.nonzero(intensity > 0.51).T
    assert (rows.unique().tolist(), columns.unique().tolist()) == ([1, 2, 3], [4, 5, 6])


def test_convention_mask_is_true_where_the_template_counts(backbone, tmp_path):
    image = np.zeros((24, 40, 3), np.uint8)
    image[:, 20:, 1] = 7  # dark, but not black
    write_image(tmp_path / "cup.png", image)
    mask = read_masks(tmp_path, {"cup": torch.zeros(3, 24, 40)})["cup"]
    assert mask.sum() == 24 * 20
    found = extract_template_features(backbone, texture(24, 40), mask, Pose())
    assert len(found.offsets) == 6 * 5
    assert (found.offsets[:, 0] > 0).all()


def test_convention_heatmap_is_highest_at_the_centre_of_the_object():
    scene = texture(97, 154)  # not a multiple of the stride
    found = matcher().match(scene, scene[:, 30:70, 80:128])
    assert found.heatmap.shape == (97, 154)
    assert 0 <= found.heatmap.min() <= found.heatmap.max() <= 1
    y, x = divmod(int(found.heatmap.argmax()), 154)
    assert (x, y) == pytest.approx((104, 50), abs=3)


def test_convention_score_of_a_detection_is_kept_from_the_threshold_on():
    scene = texture(97, 154)
    template = texture(40, 48, 1)
    template[:, :, :40] = scene[:, 30:70, 80:120]
    score = matcher(threshold=0).match(scene, template).scores[0].item()
    assert 0 < score < 1
    assert len(matcher(threshold=score * 0.999).match(scene, template))
    assert not len(matcher(threshold=min(1.0, score * 1.001)).match(scene, template))
    exact = matcher(threshold=0).match(scene, scene[:, 30:70, 80:128])
    assert exact.scores[0] > score
    assert (exact.scores.diff() <= 0).all()


def test_convention_rotation_is_counter_clockwise():
    scene = texture(150, 210)
    template = scene[:, 40:90, 60:130].permute(1, 2, 0).numpy()
    rotated = torch.from_numpy(np.rot90(template, -1).copy()).permute(2, 0, 1)
    found = matcher(rotations=(0.0, 90.0, 180.0, 270.0)).match(scene, rotated)
    assert found.rotations[0] == 90
    assert found.boxes[0].tolist() == pytest.approx([60, 40, 130, 90], abs=2)


def test_score_decreases_if_the_object_has_another_size_than_the_box():
    """The object is twice as wide as the template; a box adapts to 1.4 times at most."""
    template, scene = texture(48, 48, seed=3), texture(160, 240, seed=4)
    scores = []
    for width in (48, 96):
        shown = scene.clone()
        wide = cv2.resize(template.permute(1, 2, 0).numpy(), (width, 48))
        shown[:, 50:98, 60 : 60 + width] = torch.from_numpy(wide).permute(2, 0, 1)
        found = matcher(threshold=0.0, max_detections=1).match(shown, template)
        assert found.boxes[0, 1].item() == pytest.approx(50, abs=8)
        scores.append(found.scores.item())
    assert scores[0] > 0.9
    assert scores[1] < 0.8


def test_scale_of_a_detection_and_the_score_of_a_miss_are_reported():
    template, scene = texture(40, 50, seed=3), texture(160, 240, seed=4)
    large = cv2.resize(template.permute(1, 2, 0).numpy(), (75, 60))
    scene[:, 50:110, 60:135] = torch.from_numpy(large).permute(2, 0, 1)
    found = matcher(scales=(1.0, 1.5)).match(scene, template)
    assert found.scales[0].item() == pytest.approx(1.5, abs=0.1)
    assert found.best_score == pytest.approx(found.scores[0].item())
    missed = matcher(scales=(1.5,), threshold=1.0).match(scene, template)
    assert len(missed) == len(missed.scales) == 0
    assert missed.best_score == pytest.approx(found.best_score, rel=0.2)
    assert np.isnan(matcher().match(scene, texture(500, 500)).best_score)


def test_surroundings_tell_an_object_from_its_double():
    image = texture(140, 220)
    image[:, 20:60, 20:60] = image[:, 80:120, 150:190]
    for box in (torch.tensor([20.0, 20, 60, 60]), torch.tensor([150.0, 80, 190, 120])):
        found = matcher(threshold=0, max_detections=1).match(image, image, box=box)
        assert_close(found.boxes[0], box, atol=2, rtol=0)


def test_an_object_is_found_as_often_as_it_is_there():
    image = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    box = torch.tensor([380.0, 100, 480, 260])
    assert_close(matcher().match(image, image, box=box).boxes, box[None], atol=1, rtol=0)
    image[:, 100:260, 20:120] = image[:, 100:260, 380:480]
    found = matcher().match(image, image[:, 100:260, 380:480]).boxes
    expected = torch.tensor([[20.0, 100, 120, 260], [380, 100, 480, 260]])
    assert_close(found[found[:, 0].argsort()], expected, atol=1, rtol=0)


@pytest.mark.parametrize(("scale", "rotation"), [(1.0, 0.0), (1.5, 0.0), (1.0, 90.0)])
def test_a_box_of_an_image_has_the_pose_of_its_crop(scale, rotation):
    image, box = texture(96, 128), torch.tensor([40.0, 32, 88, 64])
    pose = Pose(scale, rotation)
    one = extract_template_features(load_backbone("handcrafted"), image, None, pose, box)
    crop = extract_template_features(
        load_backbone("handcrafted"), image[:, 32:64, 40:88], None, pose
    )
    assert one.size == crop.size
    assert one.extent == crop.extent
    assert one.num_object == crop.num_object == len(crop.maps[0])
    assert len(one.maps[0]) > one.num_object
    assert_close(one.offsets.mean(dim=0), crop.offsets.mean(dim=0), atol=0.51, rtol=0)
    assert_close(one.offsets.amax(dim=0), crop.offsets.amax(dim=0), atol=0.51, rtol=0)


def test_box_outside_the_image_raises():
    with pytest.raises(ValueError, match="box must lie in its image of 128x96"):
        matcher().match(texture(96, 128), texture(96, 128), box=torch.tensor([0.0, 0, 129, 5]))
