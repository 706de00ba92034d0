"""The verdict on a pair, by the model that describes the scene."""

import pytest
import torch

from patchmatch.pairs.results import Matches
from patchmatch.pairs.verdict import explain, is_flat, overlap_kind


def matches(count=100, inliers=None, aligned=None, epipolar=None):
    """Matches with that many inliers of a homography and of an epipolar matrix."""
    index, model = torch.arange(count), torch.eye(3, dtype=torch.float64)
    return Matches(
        keypoints0=torch.zeros(count, 2),
        keypoints1=torch.zeros(count, 2),
        score=torch.ones(count),
        inliers=None if inliers is None else index < inliers,
        homography=None if inliers is None else model,
        aligned=aligned,
        epipolar=model if epipolar else None,
        epipolar_inliers=None if epipolar is None else index < epipolar,
    )


@pytest.mark.parametrize(
    ("found", "kind", "reason"),
    [
        (matches(inliers=39), "overlapping", None),
        (matches(inliers=38), "doubtful", "only 38 of 100 matches are inliers of the homography"),
        (matches(inliers=100, aligned=0.34), "doubtful", "aligns only 34% of the overlap"),
        (matches(inliers=100, aligned=0.36), "overlapping", None),
        (matches(inliers=20, aligned=1.0), "doubtful", "only 20 of 100 matches"),
        (matches(), "no_homography", "100 matches, no homography: too few agree on one"),
        (matches(3), "no_homography", "3 matches, no homography: four are required"),
        (matches(inliers=9, aligned=0.1, epipolar=60), "overlapping", None),
        (matches(inliers=90, epipolar=20), "doubtful", "20 of 100 matches are inliers of the epi"),
        (matches(inliers=90, epipolar=0), "no_epipolar", "100 matches, no epipolar matrix"),
    ],
)
def test_one_model_decides_on_kind_and_reason(found, kind, reason):
    assert overlap_kind(found) == kind
    if reason is None:
        assert explain(found) is None
    else:
        assert reason in explain(found)


def test_scene_is_flat_where_the_homography_fits_the_epipolar_inliers():
    assert is_flat(matches(inliers=10))
    assert is_flat(matches(inliers=80, epipolar=100))
    assert not is_flat(matches(inliers=79, epipolar=100))
    assert not is_flat(matches())
