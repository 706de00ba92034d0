import cv2
import numpy as np
import pytest
import torch
from kornia.feature import LoFTR

from patchmatch.pairs.loftr.se2 import se2_loftr
from patchmatch.pairs.loftr.se2_backbone import SE2Backbone


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return SE2Backbone(24, 20, fields=(6, 8, 10)).eval()


def texture(side, seed=0):
    noise = np.random.default_rng(seed).random((side // 8, side // 8)).astype(np.float32)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_of_the_image_rotates_the_features(backbone, quarters):
    image = as_tensor(texture(105)[:73])  # 8 k + 1 pixels a side
    with torch.no_grad():
        before, after = backbone(image), backbone(torch.rot90(image, quarters, dims=(-2, -1)))
    for one, other, shape in zip(before, after, ((24, 10, 14), (20, 37, 53)), strict=True):
        assert one.shape == (1, *shape)
        expected = torch.rot90(one, quarters, dims=(-2, -1))
        assert (other - expected).norm() < 1e-5 * one.norm()


def error_at_45_degrees(net):
    """Return the error of the central features relative to their spread, coarse and fine."""
    side = 129
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), 45, 1)
    border = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT}
    image = texture(side)
    with torch.no_grad():
        before = net(as_tensor(image))
        after = net(as_tensor(cv2.warpAffine(image, turn, (side, side), **border)))
    errors = []
    for one, other in zip(before, after, strict=True):
        count = one.shape[-1]
        turn = cv2.getRotationMatrix2D((count // 2, count // 2), 45, 1)
        moved = [cv2.warpAffine(m, turn, (count, count), **border) for m in one[0].numpy()]
        middle = slice(count // 2 - count // 5, count // 2 + count // 5 + 1)
        expected = torch.from_numpy(np.stack(moved))[:, middle, middle]
        spread = (expected - expected.mean(dim=(1, 2), keepdim=True)).norm()
        errors.append(float((other[0, :, middle, middle] - expected).norm() / spread))
    return errors


def test_features_change_little_under_a_rotation_of_45_degrees():
    torch.manual_seed(0)
    ours = error_at_45_degrees(SE2Backbone().eval())
    plain = error_at_45_degrees(LoFTR(None).eval().backbone)
    assert max(ours) < 0.45
    assert min(plain) > 1


@pytest.mark.parametrize("shape", [(64, 72), (65, 70), (61, 83)])
def test_feature_sizes_equal_those_of_kornia(backbone, shape):
    image = torch.rand(2, 1, *shape)
    with torch.no_grad():
        found = [tuple(maps.shape[-2:]) for maps in backbone(image)]
        expected = [tuple(maps.shape[-2:]) for maps in LoFTR(None).eval().backbone(image)]
    assert found == expected


def test_every_weight_has_a_gradient():
    net = SE2Backbone(6, 4, fields=(2, 2, 2))
    coarse, fine = net(torch.rand(2, 1, 40, 48))
    (coarse.square().mean() + fine.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_inputs_and_outputs_are_those_of_loftr():
    net = se2_loftr().eval()
    image = torch.rand(1, 1, 64, 80)
    with torch.no_grad():
        found = net({"image0": image, "image1": image})
    assert found["keypoints0"].shape == found["keypoints1"].shape == (len(found["confidence"]), 2)
    assert any(name.startswith("backbone.stem") for name in net.state_dict())
