"""AffNet-HardNet and LoFTR of kornia; no test downloads weights."""

import urllib.error

import cv2
import numpy as np
import pytest
import torch
from kornia.feature import HardNet, LAFAffNetShapeEstimator, LoFTR, OriNet, TFeat

from patchmatch.core.errors import InputError
from patchmatch.pairs.kornia_matchers import AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).random((45, 50)).astype(np.float32)
    large = cv2.resize(noise, (200, 180), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of random weights in the layout of kornia."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    affnet = LAFAffNetShapeEstimator(pretrained=False)
    torch.nn.init.zeros_(affnet.features[-3].weight)  # keeps every region circular
    torch.nn.init.zeros_(affnet.features[-3].bias)
    for name, net in (
        ("affnet", affnet),
        ("hardnet", HardNet(pretrained=False)),
        ("tfeat", TFeat(pretrained=False)),
        ("orinet", OriNet(pretrained=False)),
        ("loftr", LoFTR(None)),
    ):
        torch.save({"state_dict": net.state_dict()}, folder / f"{name}.pth")
    return folder


@pytest.fixture
def _no_network(monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    for module in ("hardnet", "affine_shape", "loftr.loftr"):
        path = f"kornia.feature.{module}.load_state_dict_from_url"
        monkeypatch.setattr(path, fail)


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


@pytest.mark.parametrize(("quarters", "affine"), [(1, True), (1, False), (2, False)])
def test_regions_are_described_in_their_canonical_frame(image, weights, quarters, affine):
    """Rotated images match only if position, radius and angle are converted correctly."""
    matcher = AffNetHardNetMatcher(
        affnet_weights=str(weights / "affnet.pth"),
        descriptor_weights=str(weights / "hardnet.pth"),
        affine=affine,
        ratio=0.95,
        max_keypoints=150,
    )
    found = matcher.match(as_tensor(image), as_tensor(np.rot90(image, quarters)))
    x, y = found.keypoints0.unbind(dim=1)
    expected = torch.stack({1: (y, 199 - x), 2: (199 - x, 179 - y)}[quarters], dim=1)
    assert len(found) > 30
    assert ((found.keypoints1 - expected).norm(dim=1) < 1).float().mean() > 0.9


@pytest.mark.parametrize("descriptor", ["tfeat", "hardtfeat", "mkd"])
def test_other_descriptors_match_a_rotated_image(image, weights, descriptor):
    """Random networks and MKD, which has no weights, tell patches of noise apart."""
    matcher = AffNetHardNetMatcher(
        descriptor,
        affnet_weights=str(weights / "affnet.pth"),
        descriptor_weights=str(weights / "tfeat.pth"),
        ratio=0.95,
        max_keypoints=150,
    )
    found = matcher.match(as_tensor(image), as_tensor(np.rot90(image)))
    x, y = found.keypoints0.unbind(dim=1)
    expected = torch.stack([y, 199 - x], dim=1)
    assert len(found) > 30
    assert ((found.keypoints1 - expected).norm(dim=1) < 1).float().mean() > 0.9
    assert found.descriptors0.norm(dim=1).numpy() == pytest.approx(1, abs=1e-4)


def test_orinet_replaces_the_orientation_of_sift(image, weights, monkeypatch):
    """A patch that is rotated by a known angle has another descriptor."""
    plain = AffNetHardNetMatcher("mkd", affine=False, max_keypoints=50)
    turned = AffNetHardNetMatcher(
        "mkd", affine=False, max_keypoints=50, orinet_weights=str(weights / "orinet.pth")
    )
    turned.prepare()
    detector = turned.orienter.angle_detector
    features = {}
    for angle in (0.0, 0.7):
        monkeypatch.setattr(
            detector,
            "forward",
            lambda patches, angle=angle: patches.new_full([len(patches)], angle),
        )
        features[angle] = turned._extract_in_tiles(as_tensor(image), None).descriptors
    expected = plain._extract_in_tiles(as_tensor(image), None).descriptors
    assert (features[0.0] - expected).norm(dim=1).max() < 1e-3
    assert (features[0.7] - expected).norm(dim=1).median() > 0.3


def test_descriptor_without_published_weights_requires_a_file():
    with pytest.raises(InputError, match=r"HardTFeat: .* give .* as --model.descriptor_weights"):
        AffNetHardNetMatcher("hardtfeat").prepare()


def test_unknown_descriptor_raises():
    with pytest.raises(
        ValueError, match="descriptor must be one of hardnet, tfeat, hardtfeat, mkd"
    ):
        AffNetHardNetMatcher("sift")


def test_origin_of_loftr_is_the_centre_of_the_top_left_pixel(image, weights, monkeypatch):
    matcher = LoFTRMatcher(weights=str(weights / "loftr.pth"), max_size=None)
    matcher.prepare()
    found = {
        "keypoints0": torch.tensor([[8.0, 16.0], [8.0, 8.0]]),
        "keypoints1": torch.tensor([[9.0, 17.0], [3.0, 4.0]]),
        "confidence": torch.tensor([0.5, 0.9]),
    }
    monkeypatch.setattr(matcher.net, "forward", lambda batch: found)
    matches = matcher.match(as_tensor(image), as_tensor(image))
    assert matches.score.tolist() == pytest.approx([0.9, 0.5])
    assert matches.keypoints0.tolist() == [[7.5, 7.5], [7.5, 15.5]]
    assert matches.keypoints1.tolist() == [[2.5, 3.5], [8.5, 16.5]]


def test_loftr_reads_weights_from_a_file(image, weights):
    matcher = LoFTRMatcher(weights=str(weights / "loftr.pth"), max_size=96)
    found = matcher.match(as_tensor(image), as_tensor(image))
    assert found.keypoints0.shape == found.keypoints1.shape == (len(found), 2)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    ("matcher", "option"),
    [
        (LoFTRMatcher(pretrained="outdoor"), "--model.weights"),
        (AffNetHardNetMatcher(), "--model.descriptor_weights"),
    ],
)
def test_failed_download_names_the_option(matcher, option, image):
    with pytest.raises(InputError, match=f"cannot be downloaded .*no route to host.*{option}"):
        matcher.match(as_tensor(image), as_tensor(image))


def test_weights_of_another_network_raise(weights):
    matcher = LoFTRMatcher(weights=str(weights / "hardnet.pth"))
    with pytest.raises(InputError, match=r"hardnet.pth: these are not the weights of LoFTR"):
        matcher.prepare()
    matcher = AffNetHardNetMatcher(
        affnet_weights=str(weights / "loftr.pth"), descriptor_weights=str(weights / "hardnet.pth")
    )
    with pytest.raises(InputError, match=r"loftr.pth: these are not the weights of AffNet"):
        matcher.prepare()


def test_missing_or_damaged_file_raises(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        LoFTRMatcher(weights=str(tmp_path / "none.ckpt")).prepare()
    (tmp_path / "damaged.ckpt").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"cannot be read as weights.*give the weights of LoFTR"):
        LoFTRMatcher(weights=str(tmp_path / "damaged.ckpt")).prepare()


@pytest.mark.usefixtures("_no_network")
def test_constructor_loads_no_weights():
    assert not LoFTRMatcher().is_trained


def test_unknown_pretrained_name_raises():
    with pytest.raises(ValueError, match="must be one of small, outdoor, indoor, indoor_new"):
        LoFTRMatcher(pretrained="megadepth")
