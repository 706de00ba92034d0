"""Every form of an image gives the same tensor, and what is not an image a clear error."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from patchmatch.io import read_image, to_float
from patchmatch.public.images import scaled, to_mask, to_rgb, to_tensor, to_tensors


@pytest.fixture(scope="module")
def colors():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def expected(colors):
    return torch.from_numpy(colors.astype(np.float32) / 255).permute(2, 0, 1)[None]


def forms(colors):
    """Return the same RGB image in every form that callers have."""
    deep, read_only = colors.astype(np.uint16) * 257, colors.copy()
    read_only.setflags(write=False)
    channels_first = torch.from_numpy(colors).permute(2, 0, 1)
    bgr = np.ascontiguousarray(colors[..., ::-1])
    padded = np.zeros((10, 14, 3), np.uint8)
    padded[::2, ::2] = colors
    return {
        "uint8": colors,
        "uint16": deep,
        "float32": colors.astype(np.float32) / 255,
        "float64": colors / 255,
        "read-only": read_only,
        "negative strides": bgr[..., ::-1],
        "every second pixel": padded[::2, ::2],
        "Fortran order": np.asfortranarray(colors),
        "big endian": (colors / 255).astype(">f4"),
        "RGBA": np.dstack([colors, np.full(colors.shape[:2], 9, np.uint8)]),
        "tensor HWC": torch.from_numpy(colors),
        "tensor CHW": channels_first,
        "tensor 1CHW": channels_first[None],
        "float tensor": channels_first.double() / 255,
        "uint16 tensor": torch.from_numpy(deep),
        "tensor with gradient": (channels_first.float() / 255).requires_grad_(),
        "PIL": Image.fromarray(colors),
        "PIL RGBA": Image.fromarray(np.dstack([colors, colors[..., 0]])),
    }


@pytest.mark.parametrize("form", forms(np.zeros((1, 1, 3), np.uint8)))
def test_every_form_of_an_rgb_image_gives_the_same_tensor(colors, form):
    found = to_tensor(forms(colors)[form])
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert not found.requires_grad
    assert_close(found, expected(colors), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "F"]
)
def test_a_pil_image_is_converted_like_its_file(tmp_path, mode):
    colors = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(colors)
    if mode == "I;16":
        image = Image.fromarray(colors[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(colors[..., 0].astype(np.float32) / 255)
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    else:
        image = image.convert(mode)
    suffix = {"1": "png", "CMYK": "tif", "YCbCr": "tif", "LAB": "tif", "F": "tif"}.get(mode, "png")
    if mode in ("PA", "HSV"):  # no format stores them; they are RGB to a reader
        image.convert("RGB").save(tmp_path / "image.png")
        suffix = "png"
    else:
        image.save(tmp_path / f"image.{suffix}")
    from_file = to_tensor(tmp_path / f"image.{suffix}")
    assert_close(to_tensor(image), from_file, rtol=0, atol=1e-6)
    assert to_tensor(image).shape[1] == (1 if mode in ("1", "L", "LA", "I;16", "F") else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_of_a_pil_image_is_applied(tmp_path, colors, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colors).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        found = to_tensor(image)
        assert image.size == (7, 5)  # the image of the caller stays as it was
    assert_close(found, to_tensor(tmp_path / "turned.png"))
    assert found.shape[2:] == ((7, 5) if orientation >= 5 else (5, 7))


def test_the_argument_is_copied(colors):
    array, tensor = colors.astype(np.float32) / 255, torch.rand(1, 1, 4, 5)
    kept = tensor.clone()
    to_tensor(array).zero_()
    to_tensor(tensor).zero_()
    assert array.max() > 0
    assert torch.equal(tensor, kept)


def test_gray_images_have_one_channel_and_become_rgb_by_repetition(colors):
    assert to_tensor(colors[..., 0]).shape == (1, 1, 5, 7)
    assert to_tensor(colors[..., :1]).shape == (1, 1, 5, 7)
    assert_close(to_rgb(colors[..., 0])[0, 2], to_tensor(colors[..., 0])[0, 0])


@pytest.mark.parametrize(
    ("values", "stretched"),
    [
        (np.array([0, 1023]), [0, 1]),  # 10 of 16 bits
        (np.array([0, 511, 4095]), [0, 511 / 4095, 1]),  # 12 bits
        (np.array([3, 200]), [3 / 255, 200 / 255]),  # 8 bits
        (np.array([0, 16383]), [0, 1]),  # 14 bits
        (np.array([29500, 30010]), [(29500 - 29184) / 1023, (30010 - 29184) / 1023]),  # thermal
        (np.array([0, 65535]), [0, 1]),
        (np.array([0, 20000]), [0, 20000 / 65535]),  # more than a quarter of the range
        (np.array([500, 500]), [500 / 65535] * 2),  # uniform: no range to stretch
    ],
)
def test_16_bit_images_with_a_narrow_range_are_stretched(values, stretched):
    image = values.astype(np.uint16)[None]
    assert_close(to_tensor(image)[0, 0, 0], torch.tensor(stretched, dtype=torch.float32))
    assert to_float(image).ravel().tolist() == pytest.approx(stretched)


def test_two_images_of_one_camera_are_stretched_alike():
    rng = np.random.default_rng(2)
    ranges = [(29_500, 30_010), (29_480, 30_050), (29_610, 29_990)]
    images = [rng.integers(*r, (8, 8)).astype(np.uint16) for r in ranges]
    offsets = {(to_float(i) * 1023 - i.astype(np.float32)).round().max().item() for i in images}
    assert len(offsets) == 1


def test_images_that_are_compared_share_one_window():
    image0 = np.array([[0, 100, 200]], np.uint16)
    image1 = np.array([[0, 100, 300]], np.uint16)  # a hot pixel above 8 bits
    first, second = to_tensors({"image0": image0, "image1": image1})
    assert first[0, 0, 0, 1] == second[0, 0, 0, 1] == pytest.approx(100 / 1023)
    assert to_tensor(image0)[0, 0, 0, 1] == pytest.approx(100 / 255)


def test_a_feature_map_may_have_any_channels_and_values():
    features = 100 * torch.randn(1, 7, 4, 5)
    for given in (features, features[0]):
        assert torch.equal(to_tensors({"maps": given}, features=True)[0], features)
    with pytest.raises(ValueError, match=r"image must be \(H, W\), .* got \(1, 7, 4, 5\)"):
        to_tensor(features)
    with pytest.raises(ValueError, match="maps contains NaN or infinite values"):
        to_tensors({"maps": features / 0}, features=True)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 5), np.nan), "image0 contains NaN or infinite values"),
        (torch.full((4, 5), -torch.inf), "image0 contains NaN or infinite values"),
        (np.full((4, 5), 255.0), "image0 must be float in [0, 1], uint8 or uint16, got values fro"),
        (torch.full((3, 4, 5), -3.0), "got values from -3 to -3; divide gray levels by 255"),
        (np.zeros((4, 5), np.int64), "image0 must be uint8, uint16 or float, got int64; convert"),
        (torch.zeros(4, 5, dtype=torch.int32), "must be uint8, uint16 or float, got int32"),
        (np.zeros((4, 5), complex), "must be uint8, uint16 or float, got complex128"),
        (np.array([["a"]]), "must be uint8, uint16 or float, got <U1"),
        (np.zeros((2, 4, 5, 3)), "image0 must be (H, W), (H, W, 3) or (H, W, 4) with at least"),
        (np.zeros((4, 5, 2)), "with at least one pixel, got (4, 5, 2)"),
        (np.zeros((0, 5)), "with at least one pixel, got (0, 5)"),
        (torch.zeros(5), "with at least one pixel, got (5,)"),
        ([[0.1, 0.2]], "image0 must be a path, an array, a tensor or a PIL image, got a list"),
        (None, "got a NoneType"),
        (Image.fromarray(np.full((4, 5), 70_000, np.int32)), "image0: expected pixels of 8 or 16"),
    ],
)
def test_what_is_not_an_image_raises(image, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_tensor(image, "image0")


def test_a_truncated_pil_image_raises(tmp_path, colors):
    Image.fromarray(np.tile(colors, (40, 40, 1))).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with (
        Image.open(tmp_path / "cut.jpg") as image,
        pytest.raises(ValueError, match="image0: image file is truncated"),
    ):
        to_tensor(image, "image0")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.png"):
        to_tensor(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"none\.png"):
        to_tensor(str(tmp_path / "none.png"))


def test_a_mask_is_true_where_it_is_brighter_than_half(tmp_path):
    mask = np.array([[0, 127, 128], [255, 0, 200]], np.uint8)
    wanted = torch.tensor([[[False, False, True], [True, False, True]]])
    assert torch.equal(to_mask(mask, "mask0", (2, 3)), wanted)
    assert torch.equal(to_mask(mask > 127, "mask0", (2, 3)), wanted)
    assert torch.equal(to_mask(torch.from_numpy(mask), "mask0", (2, 3)), wanted)
    for dtype in (np.uint8, np.uint16, np.int64):  # integers 0 and 1
        ones = (mask > 127).astype(dtype)
        assert torch.equal(to_mask(ones, "mask0", (2, 3)), wanted)
        assert torch.equal(to_mask(torch.from_numpy(ones), "mask0", (2, 3)), wanted)
    with pytest.raises(ValueError, match=r"mask0 must have the size of its image, 4x2, got 3x2"):
        to_mask(mask, "mask0", (2, 4))


def test_patches_of_any_dtype_are_scaled():
    patches = np.random.default_rng(3).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
    for given in (
        patches,
        patches / 255,
        torch.from_numpy(patches),
        patches[:, :, ::-1][:, :, ::-1],
    ):
        assert_close(scaled(given, "patches0"), torch.from_numpy(patches).float() / 255)
    assert scaled(np.zeros((0, 1, 8, 8)), "patches0").shape == (0, 1, 8, 8)


def test_images_that_were_read_are_accepted(tmp_path, colors):
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert_close(to_tensor(read_image(tmp_path / "a.png")), to_tensor(tmp_path / "a.png"))
