"""The shipped weights of LoFTR and SE(2)-LoFTR, on photographs that neither was trained on."""

import pytest
import skimage.data
import torch

import patchmatch
from patchmatch.draw import shrink_to_fit
from patchmatch.ops.homography import corner_error
from patchmatch.pairs.geometry import matching_accuracy
from patchmatch.pairs.synthetic_benchmark import warped_pair
from patchmatch.public.pairs import load_pair_matcher


@pytest.fixture(scope="module")
def matchers():
    return {name: load_pair_matcher(name, device="cpu") for name in ("loftr", "se2_loftr")}


def match_turned(matcher, angle):
    """Return the number of matches, the share within 3 pixels, and the corner error."""
    image = shrink_to_fit(skimage.data.astronaut(), 256)
    image0, image1, truth = warped_pair(image, "rotation", angle, seed=0)
    found = patchmatch.match_images(image0, image1, matcher)
    points = found.keypoints0.numpy(), found.keypoints1.numpy()
    error = float("inf")
    if found.homography is not None:
        error = corner_error(found.homography, torch.from_numpy(truth), *image.shape[:2])
    return len(found), matching_accuracy(*points, truth, [3])[0], error


@pytest.mark.parametrize("angle", [0, 45, 90, 150])
def test_se2_loftr_matches_at_any_rotation(matchers, angle):
    matches, accuracy, error = match_turned(matchers["se2_loftr"], angle)
    assert matches > 60
    assert accuracy > 0.75
    assert error < 3


@pytest.mark.parametrize(("angle", "works"), [(0, True), (20, True), (90, False)])
def test_loftr_matches_upright_images_only(matchers, angle, works):
    _, accuracy, error = match_turned(matchers["loftr"], angle)
    assert (accuracy > 0.75) == (error < 3) == works
