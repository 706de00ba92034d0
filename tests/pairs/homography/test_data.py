"""Pairs with an exact homography: what image 0 shows is where it should be in image 1."""

import cv2
import numpy as np
import pytest
import torch
from textures import smooth

from patchmatch.pairs.homography.data import HomographyPairs, Warp, WarpedImages, seen_in
from patchmatch.synthetic.photographs import (
    BENCHMARK,
    benchmark_photographs,
    non_benchmark_photographs,
)
from patchmatch.synthetic.photometry import RIM, jitter_photometry, occlude


def pairs(**settings):
    warp = Warp(**({"corner_shift": 0.2, "turn": 40, "zoom": 0.3, "disturbed": None} | settings))
    return HomographyPairs([smooth(150, 170), smooth(130, 220, 1)], 6, 3, 64, warp)


def test_a_pixel_of_image0_shows_the_same_where_the_homography_takes_it():
    """Pixel by pixel in plain loops, and not so under the inverse."""
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


def test_valid_pixels_are_seen_in_image1():
    shown = np.ones((4, 4), bool)
    shown[2, 3] = False
    right_and_down = np.array([[1, 0, 1], [0, 1, 0.6], [0, 0, 1.0]])
    assert seen_in(shown, right_and_down).tolist() == [
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


def test_what_is_hidden_in_either_image_is_not_valid():
    clean = pairs()
    hidden = pairs(disturbed=1.0)
    for i in range(6):
        before, after = clean.pair(np.random.default_rng(i)), hidden.pair(np.random.default_rng(i))
        assert np.array_equal(before.homography, after.homography)
        assert not (after.valid & ~before.valid).any()
        assert not (after.valid & ~after.shown[0]).any()
        assert not (after.valid & ~seen_in(after.shown[1], after.homography)).any()
        assert not after.shown[0].all()


def test_an_occluder_hides_a_part_and_tells_which():
    image = np.zeros((60, 90, 3), np.float32)
    for seed in range(20):
        covered, shown = occlude(image, np.ones_like(image), np.random.default_rng(seed))
        white = covered[..., 0] == 1
        assert not (white & shown).any()
        near = cv2.dilate(white.astype(np.uint8), np.ones((2 * RIM + 1,) * 2)) > 0
        assert np.array_equal(near, ~shown)
        assert shown.mean() > 0.8
    assert not image.any()


def test_light_and_camera_change_the_image_and_keep_its_range():
    image = smooth(60, 80).astype(np.float32) / 255
    strong = [jitter_photometry(image, 1.0, np.random.default_rng(i)) for i in range(12)]
    for changed in strong:
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
    assert np.mean([np.abs(changed - image).mean() for changed in strong]) > 0.1
    weak = [jitter_photometry(image, 0.0, np.random.default_rng(i)) for i in range(12)]
    assert max((changed - image).std() for changed in weak) < 2 / 255


def test_the_warp_is_as_strong_as_asked():
    rng = np.random.default_rng(0)
    still = Warp(corner_shift=0.0).draw(50, rng)
    assert still == pytest.approx(np.eye(3), abs=1e-9)
    corners = np.array([[0, 0, 1], [49, 0, 1], [49, 49, 1], [0, 49, 1.0]])
    far, turns, scales = [], [], []
    for _ in range(200):
        moved = corners @ Warp(corner_shift=0.2).draw(50, rng).T
        far.append(np.abs(moved[:, :2] / moved[:, 2:] - corners[:, :2]).max())
        matrix = Warp(corner_shift=0.0, turn=30, zoom=0.5).draw(50, rng)
        assert matrix[2, :2] == pytest.approx([0, 0], abs=1e-9)
        assert matrix[:2] @ [24.5, 24.5, 1] == pytest.approx([24.5, 24.5])
        turns.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        scales.append(np.log2(np.hypot(matrix[1, 0], matrix[0, 0])))
    assert 9.5 < max(far) <= 10
    assert 28 < max(turns) <= 30
    assert -30 <= min(turns) < -28
    assert 0.45 < max(scales) <= 0.5
    assert -0.5 <= min(scales) < -0.45


def test_neither_image_is_the_sharper():
    made = pairs(turn=10, zoom=0.0, corner_shift=0.1)
    items = [made[i] for i in range(6)]
    sharpness = [
        torch.stack([item[name] for item in items]).diff(dim=3).abs().mean()
        for name in ("image0", "image1")
    ]
    assert 0.8 < sharpness[0] / sharpness[1] < 1.25


def test_a_pair_depends_on_its_index_epoch_and_seed_alone():
    made = pairs(disturbed=0.5)
    one, again = made[1, 4], pairs(disturbed=0.5)[1, 4]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(made[0, 4]["homography"], one["homography"])
    assert torch.equal(made[4]["image1"], made[0, 4]["image1"])


def test_pictures_of_the_benchmark_are_never_learned_from():
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    beside = {path.name for path in non_benchmark_photographs()}
    assert len(beside) >= 13
    assert not beside & set(BENCHMARK)
    assert {path.name for path in benchmark_photographs()} == set(BENCHMARK)
    data = WarpedImages(canvases=2)
    data.setup("fit")
    data.setup("test")
    kept = [{picture.tobytes() for picture in data.sets[s].pictures} for s in data.sets]
    assert not kept[0] & kept[1]
    assert not (kept[0] | kept[1]) & kept[2]
    assert [len(k) for k in kept] == [len(beside) * 3 // 4 + 1 + 2, 3, 7]


def test_the_benchmark_matches_what_is_held_out():
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    from benchmark_match import photographs

    held = [picture.shape for picture in map(cv2.imread, map(str, benchmark_photographs()))]
    ratios = sorted(round(shape[0] / shape[1], 2) for shape in held)
    matched = sorted(round(p.shape[0] / p.shape[1], 2) for p in photographs(7))
    assert matched == pytest.approx(ratios, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 31}, "side must be at least 32 pixels, got 31"),
        ({"corner_shift": 0.3}, "corner_shift must lie between 0 and 0.25, got 0.3"),
        ({"turn": -1.0}, "turn must lie between 0 and 180 degrees, got -1.0"),
        ({"zoom": 3.0}, "zoom must lie between 0 and 2 octaves, got 3.0"),
        ({"disturbed": 1.5}, "disturbed must lie between 0 and 1, got 1.5"),
        ({"eval_pairs": 0}, "eval_pairs must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WarpedImages(**settings)
