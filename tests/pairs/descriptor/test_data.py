import numpy as np
import pytest
import torch
from textures import blobs

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import warp_points
from patchmatch.pairs.descriptor.data import (
    KeypointPatches,
    KeypointPatchPairs,
    Keypoints,
    find_keypoints,
    partners,
)
from patchmatch.pairs.homography.data import HomographyPairs, Warp

MATRIX = np.array([[0.0, -2.0, 100.0], [2.0, 0.0, 10.0], [0.0, 0.0, 1.0]])  # 90 degrees, twice


def keypoints(rows):
    table = torch.tensor(rows).reshape(-1, 4)
    count = len(table)
    return Keypoints(
        table[:, :2], table[:, 2], table[:, 3], torch.ones(count), torch.zeros(count, 0)
    )


def test_partners_agree_in_place_size_and_direction():
    first = keypoints(
        [[10.0, 20.0, 4.0, 30.0], [30.0, 5.0, 3.0, 350.0], [8.0, 8.0, 4.0, 0.0], [1.0, 1.0, 9, 9]]
    )
    second = keypoints(
        [
            [84.0, 26.0, 8.0, 90.0],  # where the third lies
            [60.3, 30.0, 8.5, 121.0],  # where the first lies
            [90.0, 71.0, 6.0, 75.0],  # where the second lies
            [60.0, 30.0, 16.0, 120.0],  # there as well, but too large
            [98.0, 12.0, 18.0, 200.0],  # where the last lies, but turned
        ]
    )
    index0, index1 = partners(first, second, MATRIX)
    assert index0.tolist() == [0, 1, 2]
    assert index1.tolist() == [1, 2, 0]
    index0, _ = partners(keypoints([]), second, MATRIX)
    assert len(index0) == 0
    index0, _ = partners(first, keypoints([]), MATRIX)
    assert len(index0) == 0


def test_of_two_keypoints_for_one_the_better_is_the_partner():
    first = keypoints([[10.0, 20.0, 4.0, 30.0], [10.4, 20.0, 4.0, 30.0]])
    index0, index1 = partners(first, keypoints([[60.0, 30.2, 8.0, 120.0]]), MATRIX)
    assert (index0.tolist(), index1.tolist()) == ([0], [0])


def test_keypoints_are_found_where_the_mask_allows():
    gray = blobs(90, 120)[..., 1]
    mask = np.zeros_like(gray)
    mask[:, :60] = 1
    whole, left = find_keypoints(gray, describe=True), find_keypoints(gray, mask=mask)
    assert len(whole.points) > len(left.points) > 10
    assert left.points[:, 0].max() < 60.5
    assert whole.sift.shape == (len(whole.points), 128)
    assert left.sift.shape[1] == 0
    assert len(find_keypoints(np.full((40, 50), 9, np.uint8), describe=True).points) == 0


@pytest.fixture(scope="module")
def made():
    warp = Warp(0.1, turn=30, zoom=0.3, disturbed=None)
    images = HomographyPairs([blobs(260, 300), blobs(300, 240, 1)], 5, 2, 160, warp)
    return KeypointPatchPairs(images, 20, describe=True)


def test_patches_of_a_pair_show_the_same(made):
    for i in range(3):
        item = made[i]
        assert item["patches0"].shape == item["patches1"].shape == (20, 1, 32, 32)
        flat = [item[name].flatten(1) for name in ("patches0", "patches1")]
        flat = [f - f.mean(dim=1, keepdim=True) for f in flat]
        unit0, unit1 = (f / f.norm(dim=1, keepdim=True) for f in flat)
        alike = unit0 @ unit1.T
        assert alike.diagonal().median() > 0.85
        others = alike[~torch.eye(20, dtype=torch.bool)]
        assert alike.diagonal().median() > others.quantile(0.99)
        assert item["sift0"].shape == (20, 128)


def test_the_place_is_where_the_keypoint_lies_in_the_picture(made):
    """Two views of one picture: keypoints at one place of it show the same patch."""
    rng = np.random.default_rng(1)
    pair = made.images.pair(rng)
    item = made.make(np.random.default_rng(1))
    assert set(item["place"][:, 0].tolist()) == {float(pair.picture)}
    back = torch.from_numpy(np.linalg.inv(pair.placing)).float()
    points = warp_points(back, item["place"][:, 1:3])
    assert points.min() >= 0
    assert points.max() <= 159
    scale = float(np.sqrt(np.linalg.det(pair.placing[:2, :2])))
    assert item["place"][:, 3].min() > 1.5 * scale


def test_pictures_without_texture_are_refused():
    images = HomographyPairs([np.full((90, 90, 3), 99, np.uint8)] * 2, 5, 2, 64, Warp())
    with pytest.raises(InputError, match=r"none had 8 keypoints in common; give pictures with"):
        KeypointPatchPairs(images, 8)[0]


def test_only_what_is_measured_carries_sift():
    data = KeypointPatches(eval_pairs=1, train_pairs=1, canvases=1)
    data.setup("fit")
    assert not data.sets["train"].describe
    assert data.sets["val"].describe
    assert not set(map(id, data.sets["train"].images.pictures)) & set(
        map(id, data.sets["val"].images.pictures)
    )
    with pytest.raises(ValueError, match="patches must be at least 1, got 0"):
        KeypointPatches(patches=0)
