"""SE(2)-LoFTR with a weight file."""

import cv2
import numpy as np
import pytest
import torch
from kornia.feature import LoFTR

from patchmatch.core.errors import InputError
from patchmatch.pairs.loftr.matcher import SE2LoFTRMatcher
from patchmatch.pairs.loftr.se2 import se2_loftr


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "se2.pth"
    torch.save(se2_loftr().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).random((23, 25)).astype(np.float32)
    return torch.from_numpy(cv2.resize(noise, (200, 184), interpolation=cv2.INTER_CUBIC))[
        None, None
    ]


def test_the_weights_of_the_file_are_loaded(weights, image):
    matcher = SE2LoFTRMatcher(weights=str(weights), max_size=96)
    found = matcher.match(image, image)
    assert found.keypoints0.shape == found.keypoints1.shape == (len(found), 2)
    expected = torch.load(weights, weights_only=True)["backbone.stem.0.weight"]
    assert torch.equal(matcher.net.backbone.stem[0].weight, expected)
    assert not matcher.net.training


def test_weights_of_plain_loftr_raise(tmp_path):
    torch.save({"state_dict": LoFTR(None).state_dict()}, tmp_path / "loftr.ckpt")
    matcher = SE2LoFTRMatcher(weights=str(tmp_path / "loftr.ckpt"))
    with pytest.raises(InputError, match=r"loftr.ckpt: these are not the weights of SE\(2\)-LoFTR"):
        matcher.prepare()
