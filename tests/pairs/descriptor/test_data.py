import numpy as np
import pytest
import torch
from textures import blobs

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import warp_points
from patchmatch.pairs.descriptor.data import KeypointPatchDataset, KeypointPatches
from patchmatch.pairs.descriptor.keypoints import detect_sift_keypoints
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange


def test_the_mask_restricts_the_keypoints():
    gray = blobs(90, 120)[..., 1]
    mask = np.zeros_like(gray)
    mask[:, :60] = 1
    whole = detect_sift_keypoints(gray, describe=True)
    left = detect_sift_keypoints(gray, mask=mask)
    assert len(whole.points) > len(left.points) > 10
    assert left.points[:, 0].max() < 60.5
    assert whole.descriptors.shape == (len(whole.points), 128)
    assert left.descriptors.shape[1] == 0
    blank = np.full((40, 50), 9, np.uint8)
    assert len(detect_sift_keypoints(blank, describe=True).points) == 0


@pytest.fixture(scope="module")
def dataset():
    warp = WarpRange(corner_shift=0.1, turn=30, zoom=0.3, disturbed=None)
    image_pairs = HomographyDataset([blobs(260, 300), blobs(300, 240, 1)], 5, 2, 160, warp)
    return KeypointPatchDataset(image_pairs, 20, describe=True)


def test_matching_patches_correlate(dataset):
    for i in range(3):
        item = dataset[i]
        assert item["patches0"].shape == item["patches1"].shape == (20, 1, 32, 32)
        flat = [item[name].flatten(1) for name in ("patches0", "patches1")]
        flat = [f - f.mean(dim=1, keepdim=True) for f in flat]
        unit0, unit1 = (f / f.norm(dim=1, keepdim=True) for f in flat)
        correlation = unit0 @ unit1.T
        assert correlation.diagonal().median() > 0.85
        others = correlation[~torch.eye(20, dtype=torch.bool)]
        assert correlation.diagonal().median() > others.quantile(0.99)
        assert item["sift0"].shape == (20, 128)


def test_a_blob_is_in_pixels_of_the_source_image(dataset):
    pair = dataset.image_pairs.sample_pair(np.random.default_rng(1))
    item = dataset.make(np.random.default_rng(1))
    assert set(item["blobs"][:, 0].tolist()) == {float(pair.source)}
    from_source = torch.from_numpy(np.linalg.inv(pair.to_source)).float()
    points = warp_points(from_source, item["blobs"][:, 1:3])
    assert points.min() >= 0
    assert points.max() <= 159
    scale = float(np.sqrt(np.linalg.det(pair.to_source[:2, :2])))
    assert item["blobs"][:, 3].min() > 1.5 * scale


def test_images_without_texture_raise():
    blank = HomographyDataset([np.full((90, 90, 3), 99, np.uint8)] * 2, 5, 2, 64)
    with pytest.raises(InputError, match=r"none of 50 image pairs has 8 keypoints in common; give"):
        KeypointPatchDataset(blank, 8)[0]


def test_only_validation_and_test_compute_sift_descriptors():
    data = KeypointPatches(eval_pairs=1, train_pairs=1, canvases=1)
    data.setup("fit")
    assert not data.sets["train"].describe
    assert data.sets["val"].describe
    sources = [data.sets[split].image_pairs.sources for split in ("train", "val")]
    assert not set(map(id, sources[0])) & set(map(id, sources[1]))
    with pytest.raises(ValueError, match="patches must be at least 1, got 0"):
        KeypointPatches(patches=0)
