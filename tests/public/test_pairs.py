"""``patchmatch.match_images``: what it takes and what it refuses."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.pairs.sift import SIFTMatcher


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.float32)
    large = cv2.resize(noise, (240, 200), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 255).astype(np.uint8)


def require_in_place(found, dx=0.0, dy=0.0):
    assert len(found) > 30
    apart = found.keypoints1 - found.keypoints0
    off = apart.median(dim=0).values - torch.tensor([dx, dy])
    assert off.abs().max() < 0.1


def test_numpy_integers_are_converted(photo):
    options = {"max_size": 200, "max_matches": 40, "rotations": 2, "seed": 3}
    found = patchmatch.match_images(photo, photo[:, 8:], **options)
    numpys = {name: np.uint8(value) for name, value in options.items()}
    again = patchmatch.match_images(photo, photo[:, 8:], **numpys)
    assert torch.equal(again.keypoints1, found.keypoints1)
    assert len(again) == 40


def test_arrays_tensors_and_paths_match_alike(photo, tmp_path):
    path = tmp_path / "a photo.png"
    Image.fromarray(photo).save(path)
    reference = patchmatch.match_images(photo, photo[:, 8:])
    require_in_place(reference, dx=-8)
    floats = photo.astype(np.float32) / 255
    tensor = torch.from_numpy(floats)
    for image in (
        str(path),
        path,
        floats,
        floats.astype(np.float64),
        tensor,
        tensor.permute(2, 0, 1)[None],
    ):
        found = patchmatch.match_images(image, photo[:, 8:])
        assert torch.equal(found.keypoints0, reference.keypoints0)
        assert torch.equal(found.score, reference.score)


def test_gray_alpha_and_16_bits_are_matched_with_each_other(photo):
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    deep = gray.astype(np.uint16) * 257
    dark = gray.astype(np.uint16) * 8  # twelve bits in a file of sixteen
    for image0, image1 in ((gray, alpha), (alpha, deep), (deep, gray), (dark, photo)):
        require_in_place(patchmatch.match_images(image0, image1))


def test_keypoints_are_in_pixels_of_the_image_as_it_stands(photo, tmp_path):
    """The camera was held upright: the file says so, and the photo is shown and matched so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "upright.png"
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(path, exif=exif)
    require_in_place(patchmatch.match_images(path, photo))


def test_resizing_inside_does_not_move_the_keypoints(photo):
    large = cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = patchmatch.match_images(large, large[:, 24:], "sift", max_size=300)
    require_in_place(found, dx=-24)


def test_masks_restrict_the_matches(photo):
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, :120] = 255
    found = patchmatch.match_images(photo, photo, mask0=mask, mask1=mask > 0)
    assert len(found) > 10
    assert found.keypoints0[:, 0].max() < 121
    with pytest.raises(ValueError, match="mask0 must have the size of its image, 240x200"):
        patchmatch.match_images(photo, photo, mask0=mask[:-1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (2, 500)])
def test_images_with_nothing_in_them_give_no_matches(photo, shape):
    found = patchmatch.match_images(np.zeros(shape, np.uint8), photo)
    assert [tuple(t.shape) for t in (found.keypoints0, found.keypoints1, found.score)] == [
        (0, 2),
        (0, 2),
        (0,),
    ]
    assert found.homography is None


def test_a_matcher_may_be_kept(photo):
    matcher = SIFTMatcher(max_matches=5)
    assert len(patchmatch.match_images(photo, photo, matcher)) == 5
    with pytest.raises(ValueError, match="expected a matcher or its options, got both: max_size"):
        patchmatch.match_images(photo, photo, matcher, max_size=100)


def test_asift_and_fields_are_matchers_as_well(photo):
    require_in_place(patchmatch.match_images(photo, photo, "asift", tilts=1))
    require_in_place(patchmatch.match_images(photo, photo[:, 8:], "field"), dx=-8)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5)), "at least one pixel"),
        (np.zeros((5, 5, 2)), r"must be \(H, W\), \(H, W, 3\) or \(H, W, 4\)"),
        (np.zeros((2, 5, 5, 3)), "must be"),
        (np.full((5, 5), np.nan), "NaN or infinite"),
        (np.full((5, 5), 200.0), "divide gray levels by 255"),
        (np.zeros((5, 5), np.int64), "must be uint8, uint16 or float, got int64"),
    ],
)
def test_what_is_not_an_image_raises(image, message, photo):
    with pytest.raises(ValueError, match=message):
        patchmatch.match_images(photo, image)


def test_a_broken_file_and_an_unknown_matcher_raise(photo, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and nothing more")
    with pytest.raises(InputError, match=r"broken.png: cannot be read"):
        patchmatch.match_images(tmp_path / "broken.png", photo)
    with pytest.raises(ValueError, match="sift has no option tilts; it has root, contrast"):
        patchmatch.match_images(photo, photo, "sift", tilts=3)
    with pytest.raises(ValueError, match="matcher must be one of auto, sift, asift"):
        patchmatch.match_images(photo, photo, "surf")
