"""Synthetic pairs: exact homography, valid mask, ranges, splits."""

import cv2
import numpy as np
import pytest
import torch
from textures import smooth

from patchmatch.pairs.homography.data import (
    HomographyDataset,
    WarpedImages,
    WarpRange,
    visible_after_warp,
)
from patchmatch.synthetic.photographs import (
    BENCHMARK,
    benchmark_photographs,
    photographs_beside_benchmark,
)
from patchmatch.synthetic.photometry import RIM, occlude, photograph


def pairs(**settings):
    defaults = {"corner_shift": 0.2, "turn": 40, "zoom": 0.3, "disturbed": None}
    warp = WarpRange(**(defaults | settings))
    return HomographyDataset([smooth(150, 170), smooth(130, 220, 1)], 6, 3, 64, warp)


def test_a_pixel_of_image0_equals_image1_at_the_mapped_point():
    """Checked by loops over pixels; the inverse homography has larger errors."""
    for i in range(4):
        item = pairs()[i]
        image0, image1 = (item[f"image{k}"].movedim(0, -1).numpy() for k in (0, 1))
        right, wrong = [], []
        for matrix, errors in ((item["homography"], right), (item["homography"].inverse(), wrong)):
            for y in range(0, 64, 3):
                for x in range(0, 64, 3):
                    u, v, w = matrix.numpy() @ [x, y, 1]
                    if not item["valid"][y, x] or not (0 <= u / w < 63 and 0 <= v / w < 63):
                        continue
                    left, top = int(u / w), int(v / w)
                    a, b = u / w - left, v / w - top
                    square = image1[top : top + 2, left : left + 2]
                    upper, lower = (row[0] * (1 - a) + row[1] * a for row in square)
                    errors.append(np.abs(image0[y, x] - upper * (1 - b) - lower * b).max())
        assert len(right) > 100
        assert np.quantile(right, 0.98) < 0.03
        assert np.mean(wrong) > 5 * np.mean(right)


def test_valid_pixels_are_visible_in_image1():
    visible1 = np.ones((4, 4), bool)
    visible1[2, 3] = False
    right_and_down = np.array([[1, 0, 1], [0, 1, 0.6], [0, 0, 1.0]])
    assert visible_after_warp(visible1, right_and_down).tolist() == [
        [True, True, True, False],  # row 0.6 is nearest to row 1
        [True, True, False, False],
        [True, True, True, False],
        [False, False, False, False],
    ]
    item = pairs()[2]
    y, x = np.nonzero(item["valid"].numpy())
    moved = np.stack([x, y, np.ones_like(x)], axis=1) @ item["homography"].numpy().T
    moved = moved[:, :2] / moved[:, 2:]
    assert moved.min() >= 0
    assert moved.max() <= 63
    assert 0.2 < item["valid"].float().mean() < 1


def test_pixels_occluded_in_either_image_are_not_valid():
    clean = pairs()
    hidden = pairs(disturbed=1.0)
    for i in range(6):
        before = clean.sample_pair(np.random.default_rng(i))
        after = hidden.sample_pair(np.random.default_rng(i))
        assert np.array_equal(before.homography, after.homography)
        assert not (after.valid & ~before.valid).any()
        assert not (after.valid & ~after.visible[0]).any()
        assert not (after.valid & ~visible_after_warp(after.visible[1], after.homography)).any()
        assert not after.visible[0].all()


def test_the_mask_of_an_occluder_includes_its_rim():
    image = np.zeros((60, 90, 3), np.float32)
    for seed in range(20):
        covered, shown = occlude(image, np.ones_like(image), np.random.default_rng(seed))
        white = covered[..., 0] == 1
        assert not (white & shown).any()
        near = cv2.dilate(white.astype(np.uint8), np.ones((2 * RIM + 1,) * 2)) > 0
        assert np.array_equal(near, ~shown)
        assert shown.mean() > 0.8
    assert not image.any()


def test_photometric_changes_keep_the_range():
    image = smooth(60, 80).astype(np.float32) / 255
    strong = [photograph(image, 1.0, np.random.default_rng(i)) for i in range(12)]
    for changed in strong:
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
    assert np.mean([np.abs(changed - image).mean() for changed in strong]) > 0.1
    weak = [photograph(image, 0.0, np.random.default_rng(i)) for i in range(12)]
    assert max((changed - image).std() for changed in weak) < 2 / 255


def test_homographies_cover_the_range():
    rng = np.random.default_rng(0)
    identity = WarpRange(corner_shift=0.0).sample_homography(50, rng)
    assert identity == pytest.approx(np.eye(3), abs=1e-9)
    corners = np.array([[0, 0, 1], [49, 0, 1], [49, 49, 1], [0, 49, 1.0]])
    far, turns, scales = [], [], []
    for _ in range(200):
        moved = corners @ WarpRange(corner_shift=0.2).sample_homography(50, rng).T
        far.append(np.abs(moved[:, :2] / moved[:, 2:] - corners[:, :2]).max())
        matrix = WarpRange(corner_shift=0.0, turn=30, zoom=0.5).sample_homography(50, rng)
        assert matrix[2, :2] == pytest.approx([0, 0], abs=1e-9)
        assert matrix[:2] @ [24.5, 24.5, 1] == pytest.approx([24.5, 24.5])
        turns.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        scales.append(np.log2(np.hypot(matrix[1, 0], matrix[0, 0])))
    assert 9.5 < max(far) <= 10
    assert 28 < max(turns) <= 30
    assert -30 <= min(turns) < -28
    assert 0.45 < max(scales) <= 0.5
    assert -0.5 <= min(scales) < -0.45


def test_both_images_are_equally_sharp():
    dataset = pairs(turn=10, zoom=0.0, corner_shift=0.1)
    items = [dataset[i] for i in range(6)]
    sharpness = [
        torch.stack([item[name] for item in items]).diff(dim=3).abs().mean()
        for name in ("image0", "image1")
    ]
    assert 0.8 < sharpness[0] / sharpness[1] < 1.25


def test_a_pair_depends_only_on_epoch_index_and_seed():
    dataset = pairs(disturbed=0.5)
    one, again = dataset[1, 4], pairs(disturbed=0.5)[1, 4]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(dataset[0, 4]["homography"], one["homography"])
    assert torch.equal(dataset[4]["image1"], dataset[0, 4]["image1"])


def test_images_of_the_benchmark_are_never_used_for_training():
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    beside = {path.name for path in photographs_beside_benchmark()}
    assert len(beside) >= 13
    assert not beside & set(BENCHMARK)
    assert {path.name for path in benchmark_photographs()} == set(BENCHMARK)
    data = WarpedImages(canvases=2)
    data.setup("fit")
    data.setup("test")
    kept = [{image.tobytes() for image in data.sets[s].sources} for s in data.sets]
    assert not kept[0] & kept[1]
    assert not (kept[0] | kept[1]) & kept[2]
    assert [len(k) for k in kept] == [len(beside) * 3 // 4 + 1 + 2, 3, 7]


def test_the_benchmark_matches_the_held_out_images():
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    from benchmark_match import photographs

    held = [image.shape for image in map(cv2.imread, map(str, benchmark_photographs()))]
    ratios = sorted(round(shape[0] / shape[1], 2) for shape in held)
    matched = sorted(round(p.shape[0] / p.shape[1], 2) for p in photographs(7))
    assert matched == pytest.approx(ratios, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 31}, "side must be at least 32 pixels, got 31"),
        ({"corner_shift": 0.3}, "corner_shift must be between 0 and 0.25, got 0.3"),
        ({"turn": -1.0}, "turn must be between 0 and 180 degrees, got -1.0"),
        ({"zoom": 3.0}, "zoom must be between 0 and 2 octaves, got 3.0"),
        ({"disturbed": 1.5}, "disturbed must be between 0 and 1, got 1.5"),
        ({"eval_pairs": 0}, "eval_pairs must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        WarpedImages(**settings)
