"""The learned matchers: weights from a file, never random ones; no network in any test."""

import urllib.error

import cv2
import kornia.feature
import numpy as np
import pytest
import torch
from kornia.feature import HardNet, LAFAffNetShapeEstimator, LoFTR

from patchmatch.core.errors import InputError
from patchmatch.pairs.kornia_matchers import AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).random((45, 50)).astype(np.float32)
    large = cv2.resize(noise, (200, 180), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files in kornia's layout, of networks that learned nothing."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    affnet = LAFAffNetShapeEstimator(pretrained=False)
    torch.nn.init.zeros_(affnet.features[-3].weight)  # leaves every region round
    torch.nn.init.zeros_(affnet.features[-3].bias)
    for name, net in (
        ("affnet", affnet),
        ("hardnet", HardNet(pretrained=False)),
        ("loftr", LoFTR(None)),
    ):
        torch.save({"state_dict": net.state_dict()}, folder / f"{name}.pth")
    return folder


@pytest.fixture
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    for module in ("hardnet", "affine_shape", "loftr.loftr"):
        path = f"kornia.feature.{module}.load_state_dict_from_url"
        monkeypatch.setattr(path, refuse)


def as_image(picture):
    return torch.from_numpy(np.ascontiguousarray(picture))[None, None]


@pytest.mark.parametrize(("turned", "affine"), [(1, True), (1, False), (2, False)])
def test_regions_are_described_in_their_own_frame(picture, weights, turned, affine):
    """Turned regions look the same only if place, radius and angle are carried over rightly."""
    matcher = AffNetHardNetMatcher(
        affnet_weights=str(weights / "affnet.pth"),
        hardnet_weights=str(weights / "hardnet.pth"),
        affine=affine,
        ratio=0.95,
        max_keypoints=150,
    )
    found = matcher.match(as_image(picture), as_image(np.rot90(picture, turned)))
    x, y = found.keypoints0.unbind(dim=1)
    expected = torch.stack({1: (y, 199 - x), 2: (199 - x, 179 - y)}[turned], dim=1)
    assert len(found) > 30
    assert ((found.keypoints1 - expected).norm(dim=1) < 1).float().mean() > 0.9


def test_loftr_counts_from_the_centre_of_the_top_left_pixel(picture, weights, monkeypatch):
    matcher = LoFTRMatcher(weights=str(weights / "loftr.pth"), max_size=None)
    matcher.prepare()
    found = {
        "keypoints0": torch.tensor([[8.0, 16.0], [8.0, 8.0]]),
        "keypoints1": torch.tensor([[9.0, 17.0], [3.0, 4.0]]),
        "confidence": torch.tensor([0.5, 0.9]),
    }
    monkeypatch.setattr(matcher.net, "forward", lambda batch: found)
    answer = matcher.match(as_image(picture), as_image(picture))
    assert answer.score.tolist() == pytest.approx([0.9, 0.5])
    assert answer.keypoints0.tolist() == [[7.5, 7.5], [7.5, 15.5]]
    assert answer.keypoints1.tolist() == [[2.5, 3.5], [8.5, 16.5]]


def test_loftr_runs_with_weights_of_a_file(picture, weights):
    matcher = LoFTRMatcher(weights=str(weights / "loftr.pth"), max_size=96)
    found = matcher.match(as_image(picture), as_image(picture))
    assert found.keypoints0.shape == found.keypoints1.shape == (len(found), 2)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    ("matcher", "option"),
    [(LoFTRMatcher(), "--model.weights"), (AffNetHardNetMatcher(), "--model.hardnet_weights")],
)
def test_without_network_one_line_says_what_to_do(matcher, option, picture):
    with pytest.raises(InputError, match=f"cannot be downloaded .*no route to host.*{option}"):
        matcher.match(as_image(picture), as_image(picture))


def test_weights_of_another_model_are_refused(weights):
    matcher = LoFTRMatcher(weights=str(weights / "hardnet.pth"))
    with pytest.raises(InputError, match=r"hardnet.pth: these are not the weights of LoFTR"):
        matcher.prepare()
    matcher = AffNetHardNetMatcher(
        affnet_weights=str(weights / "loftr.pth"), hardnet_weights=str(weights / "hardnet.pth")
    )
    with pytest.raises(InputError, match=r"loftr.pth: these are not the weights of AffNet"):
        matcher.prepare()


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        LoFTRMatcher(weights=str(tmp_path / "none.ckpt")).prepare()
    (tmp_path / "damaged.ckpt").write_bytes(b"no weights")
    with pytest.raises(InputError, match="these are not the weights of LoFTR"):
        LoFTRMatcher(weights=str(tmp_path / "damaged.ckpt")).prepare()


def test_nothing_is_fetched_before_it_is_needed(monkeypatch):
    monkeypatch.setattr(kornia.feature, "LoFTR", None)
    LoFTRMatcher()


def test_another_model_name_is_refused():
    with pytest.raises(ValueError, match="pretrained must be one of outdoor, indoor, indoor_new"):
        LoFTRMatcher(pretrained="megadepth")
