"""Masks of any brightness, alpha channels, and formats that Pillow reads by plugins."""

import struct
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from patchmatch.core.errors import InputError
from patchmatch.io import find_sequences, read_image, read_image_size, read_opacity, to_mask

RGBA = np.zeros((6, 9, 4), np.uint8)
RGBA[..., 0] = 200
RGBA[:, :5, 3] = 255
RGBA[:, 5, 3] = 127  # more transparent than opaque
OPAQUE = RGBA[..., 3] > 127


@pytest.mark.parametrize("white", [1, 7, 100, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_of_a_mask_is_its_brightest_value(white, dtype):
    image = np.zeros((4, 6), dtype)
    image[:, 2:] = white
    assert np.array_equal(to_mask(image), image > 0)
    assert np.array_equal(to_mask(np.repeat(image[..., None], 3, axis=2)), image > 0)


def test_edges_of_a_mask_are_cut_at_half():
    image = np.array([[0, 100, 127, 128, 255]], np.uint8)
    assert to_mask(image).tolist() == [[False, False, False, True, True]]
    assert not to_mask(np.zeros((3, 3), np.uint8)).any()
    assert to_mask(np.array([[0.2, 0.6, 1.0]], np.float32)).tolist() == [[False, True, True]]


def test_alpha_is_read_from_every_format_that_has_it(tmp_path):
    for name in ("a.png", "a.webp", "a.tif"):
        Image.fromarray(RGBA).save(tmp_path / name, lossless=True)
        assert np.array_equal(read_opacity(tmp_path / name), OPAQUE), name
    deep = cv2.cvtColor(RGBA.astype(np.uint16) * 257, cv2.COLOR_RGBA2BGRA)
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.array_equal(read_opacity(tmp_path / "deep.png"), OPAQUE)
    gray = Image.fromarray(RGBA[..., 0]).convert("LA")
    gray.putalpha(Image.fromarray(RGBA[..., 3]))
    gray.save(tmp_path / "gray.png")
    assert np.array_equal(read_opacity(tmp_path / "gray.png"), OPAQUE)
    palette = Image.fromarray(np.where(OPAQUE, 1, 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "p.gif", transparency=0)
    assert np.array_equal(read_opacity(tmp_path / "p.gif"), OPAQUE)


def test_alpha_has_the_orientation_of_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGBA).save(tmp_path / "a.png", exif=exif)
    opaque = read_opacity(tmp_path / "a.png")
    assert opaque is not None
    assert opaque.shape == read_image(tmp_path / "a.png").shape[:2] == (9, 6)
    assert np.array_equal(opaque, np.rot90(OPAQUE, -1))


def test_images_without_transparent_pixels_have_no_mask(tmp_path):
    full = RGBA.copy()
    full[..., 3] = 255
    Image.fromarray(full).save(tmp_path / "full.png")
    Image.fromarray(full[..., :3]).save(tmp_path / "rgb.png")
    assert read_opacity(tmp_path / "full.png") is None
    assert read_opacity(tmp_path / "rgb.png") is None


def test_the_same_opacity_everywhere_is_no_mask(tmp_path):
    alpha = np.full((*OPAQUE.shape, 4), 9, np.uint8)
    Image.fromarray(alpha, "RGBA").save(tmp_path / "faint.png")
    assert read_opacity(tmp_path / "faint.png") is None


def test_avif_is_read(tmp_path):
    values = np.full((32, 48, 3), 90, np.uint8)
    for i in range(2):
        try:
            Image.fromarray(values + 60 * i).save(tmp_path / f"{i}.avif", quality=95)
        except (KeyError, OSError):
            pytest.skip("this Pillow has no AVIF")
    image = read_image(tmp_path / "0.avif")
    assert np.abs(image.astype(int) - 90).max() < 4
    assert read_image_size(tmp_path / "0.avif") == (32, 48)
    (sequence,) = find_sequences(tmp_path).sequences
    assert len(sequence) == 2


def test_heic_names_the_package_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    if "HEIF" in Image.registered_extensions().values():
        pytest.skip("pillow-heif is installed")
    with pytest.raises(InputError, match="HEIC requires pillow-heif"):
        read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero_of_16_bits_is_inverted(tmp_path, order):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    images = []
    for photometric in (0, 1):
        data = values.astype(f"{order}u2").tobytes()
        tags = [(256, 3, 30), (257, 3, 20), (258, 3, 16), (259, 3, 1), (262, 3, photometric)]
        tags += [(273, 4, 8), (277, 3, 1), (278, 3, 20), (279, 4, len(data))]
        content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
        content += data + struct.pack(f"{order}H", len(tags))
        for tag, kind, value in tags:
            content += struct.pack(f"{order}HHI", tag, kind, 1)
            content += struct.pack(
                f"{order}{'HH' if kind == 3 else 'I'}", value, *[0] * (kind == 3)
            )
        path = tmp_path / f"{photometric}.tif"
        path.write_bytes(content + bytes(4))
        images.append(read_image(path))
    assert np.array_equal(images[1], values)
    assert np.array_equal(images[0], 65535 - values)
