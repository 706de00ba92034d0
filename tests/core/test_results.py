"""How results are printed."""

import torch

from patchmatch.nnf.results import NearestNeighbourField
from patchmatch.pairs.results import Matches


def test_large_tensors_are_printed_as_their_shapes_and_small_ones_as_values():
    matches = Matches(
        keypoints0=torch.zeros(300, 2),
        keypoints1=torch.zeros(300, 2),
        score=torch.ones(300),
        homography=torch.eye(3),
        matcher="sift",
    )
    text = repr(matches)
    assert text.startswith("Matches(keypoints0=(300, 2), keypoints1=(300, 2), score=(300,),")
    assert "homography=tensor([[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]])" in text
    assert "matcher='sift'" in text
    field = NearestNeighbourField(torch.zeros(2, 30, 40), torch.zeros(30, 40))
    assert repr(field) == "NearestNeighbourField(flow=(2, 30, 40), cost=(30, 40))"
