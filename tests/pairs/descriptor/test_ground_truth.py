import numpy as np
import torch

from patchmatch.pairs.descriptor.ground_truth import match_by_homography
from patchmatch.pairs.descriptor.keypoints import Keypoints

#: A rotation by 90 degrees and a scale of 2.
MATRIX = np.array([[0.0, -2.0, 100.0], [2.0, 0.0, 10.0], [0.0, 0.0, 1.0]])


def keypoints(rows):
    table = torch.tensor(rows).reshape(-1, 4)
    count = len(table)
    return Keypoints(
        points=table[:, :2],
        size=table[:, 2],
        angle=table[:, 3],
        response=torch.ones(count),
        descriptors=torch.zeros(count, 0),
    )


def test_matches_agree_in_position_size_and_angle():
    first = keypoints(
        [[10.0, 20.0, 4.0, 30.0], [30.0, 5.0, 3.0, 350.0], [8.0, 8.0, 4.0, 0.0], [1.0, 1.0, 9, 9]]
    )
    second = keypoints(
        [
            [84.0, 26.0, 8.0, 90.0],  # the third of image 0
            [60.3, 30.0, 8.5, 121.0],  # the first of image 0
            [90.0, 71.0, 6.0, 75.0],  # the second of image 0
            [60.0, 30.0, 16.0, 120.0],  # at the first, but too large
            [98.0, 12.0, 18.0, 200.0],  # at the last, but rotated
        ]
    )
    index0, index1 = match_by_homography(first, second, MATRIX)
    assert index0.tolist() == [0, 1, 2]
    assert index1.tolist() == [1, 2, 0]
    index0, _ = match_by_homography(keypoints([]), second, MATRIX)
    assert len(index0) == 0
    index0, _ = match_by_homography(first, keypoints([]), MATRIX)
    assert len(index0) == 0


def test_the_nearer_of_two_keypoints_is_the_match():
    first = keypoints([[10.0, 20.0, 4.0, 30.0], [10.4, 20.0, 4.0, 30.0]])
    index0, index1 = match_by_homography(first, keypoints([[60.0, 30.2, 8.0, 120.0]]), MATRIX)
    assert (index0.tolist(), index1.tolist()) == ([0], [0])
