import cv2
import numpy as np
import torch
from textures import blobs

from patchmatch.pairs.keypoints import detect_in_tensor, detect_sift_keypoints, to_uint8
from patchmatch.pairs.sift import SIFTMatcher


def test_mask_restricts_the_keypoints():
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


def test_keypoints_of_a_tensor_are_those_of_its_uint8_image():
    gray = blobs(90, 120)[..., 1]
    valid = np.zeros_like(gray)
    valid[:, :60] = 1
    expected = detect_sift_keypoints(gray, mask=valid)
    image = torch.from_numpy(gray)[None, None] / 255
    found = detect_in_tensor(image, torch.from_numpy(valid)[None].bool(), 0.04)
    assert torch.equal(found.points, expected.points)
    assert torch.equal(found.angle, expected.angle)


def test_image_of_low_contrast_is_stretched_to_uint8():
    gray = torch.tensor([[[[0.1, 0.2], [0.14, 0.1]]]])
    assert to_uint8(gray).tolist() == [[0, 255], [102, 0]]
    assert to_uint8(torch.tensor([[[[0.0, 1.0, 2.0]]]])).tolist() == [[0, 255, 255]]


def test_contrast_threshold_adapts_to_a_faint_image():
    """Noise of 4 gray levels on a sharp image with a few strong blobs."""
    rng = np.random.default_rng(0)
    soft = cv2.GaussianBlur(rng.normal(size=(200, 240)).astype(np.float32), (0, 0), 2.5)
    faint = np.rint(100 + 30 * soft).clip(0, 255).astype(np.uint8)
    faint[0, 0] = 255  # the range of the image is not narrow
    usual = detect_sift_keypoints(faint, 0.04)
    adapted = detect_sift_keypoints(faint, None, describe=True)
    assert len(adapted.points) > 5 * len(usual.points)
    assert adapted.descriptors.shape == (len(adapted.points), 128)
    found = SIFTMatcher().extract_features(torch.from_numpy(faint)[None, None] / 255, None)
    assert len(found.points) == len(adapted.points)


def test_the_strongest_keypoints_are_kept_and_rich_images_keep_the_usual_threshold(monkeypatch):
    gray = blobs(90, 120)[..., 1]
    usual = detect_sift_keypoints(gray, 0.04)
    low = detect_sift_keypoints(gray, 0.01)
    assert len(low.points) > len(usual.points) + 5
    limit = len(usual.points) + 5
    monkeypatch.setattr("patchmatch.pairs.keypoints.ENOUGH_KEYPOINTS", limit)
    adapted = detect_sift_keypoints(gray, None)
    assert sorted(adapted.response.tolist()) == sorted(low.response.tolist())[-limit:]
    monkeypatch.setattr("patchmatch.pairs.keypoints.ENOUGH_KEYPOINTS", len(usual.points))
    assert torch.equal(detect_sift_keypoints(gray, None).points, usual.points)
