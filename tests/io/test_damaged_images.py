import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from patchmatch.core.errors import InputError
from patchmatch.io import read_image, read_image_size


def encode(image: np.ndarray, name: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, name, **options)
    return stream.getvalue()


def encode_with_opencv(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


# BMP rows of 84 pixels have no padding, so the last byte belongs to a pixel.
RGB = np.random.default_rng(3).integers(0, 256, (61, 84, 3), dtype=np.uint8)
RGB16 = RGB.astype(np.uint16) * 257
FILES = {
    "png": encode(RGB, "PNG"),
    "interlaced gray png": encode(RGB[..., 0], "PNG", optimize=True),
    "16-bit png": encode_with_opencv(RGB16, ".png"),
    "jpeg": encode(RGB, "JPEG"),
    "progressive jpeg": encode(RGB, "JPEG", progressive=True),
    "bmp": encode(RGB, "BMP"),
    "tiff": encode(RGB, "TIFF"),
    "lzw tiff": encode(RGB, "TIFF", compression="tiff_lzw"),
    "deflate tiff": encode(RGB, "TIFF", compression="tiff_adobe_deflate"),
    "16-bit tiff": encode_with_opencv(RGB16, ".tif"),
    "float tiff": encode_with_opencv(RGB.astype(np.float32) / 255, ".tif"),
    "webp": encode(RGB, "WEBP"),
    "lossless webp": encode(RGB, "WEBP", lossless=True),
}


@pytest.fixture
def file(tmp_path):
    def write(data: bytes):
        path = tmp_path / "frame 1.png"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize("kind", FILES)
def test_truncated_file_raises_at_any_length(file, kind):
    data = FILES[kind]
    read_image(file(data))  # the complete file is valid
    for keep in [1, 5, 9, 20, 40, *(len(data) * k // 8 for k in range(1, 8))]:
        with pytest.raises(InputError, match=r"frame 1\.png: cannot be read as an image: \S+"):
            read_image(file(data[:keep]))
    for lost in (1, 2, 3, 5, 9, 12, 50):
        with pytest.raises(InputError, match="copy or export it again") as caught:
            read_image(file(data[:-lost]))
        assert "\n" not in str(caught.value)
        assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "16-bit png"])
def test_png_with_a_changed_byte_raises(file, kind):
    data = bytearray(FILES[kind])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InputError, match="the PNG is damaged in its 'IDAT' chunk"):
        read_image(file(bytes(data)))


def test_truncated_tiff_message_has_both_lengths(file):
    data = FILES["tiff"]
    with pytest.raises(
        InputError, match=f"the TIFF is truncated: expected {len(data)} bytes, got 9000"
    ):
        read_image(file(data[:9000]))


@pytest.mark.parametrize("kind", FILES)
def test_size_is_read_without_decoding_pixels(file, monkeypatch, kind):
    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert read_image_size(file(FILES[kind])) == RGB.shape[:2]


def test_bytes_after_the_end_of_a_png_are_ignored(file):
    np.testing.assert_array_equal(read_image(file(FILES["png"] + b"appended")), RGB)


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_files_that_are_not_images_raise(file, read, tmp_path):
    with pytest.raises(InputError, match=r"expected PNG, .*, GIF, PPM, got another"):
        read(file(b"a text with suffix .png\n"))
    with pytest.raises(InputError, match="expected PNG, JPEG"):
        read(file(encode(RGB, "PCX")))
    with pytest.raises(InputError, match=r"frame 1\.png: the file is empty"):
        read(file(b""))
    with pytest.raises(InputError, match=r"absent\.png: no such file"):
        read(tmp_path / "absent.png")
    with pytest.raises(InputError, match="expected a file, got a folder"):
        read(tmp_path)
    with pytest.raises(InputError, match="cannot be reached"):
        read(tmp_path / ("a" * 300 + ".png"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "permission denied"),
        (OSError(5, "Input/output error"), r"cannot be read \(Input/output error\)"),
    ],
)
def test_file_that_the_system_cannot_read_raises(file, monkeypatch, error, message):
    path = file(FILES["png"])

    def read_bytes(self):
        raise error

    monkeypatch.setattr(type(path), "read_bytes", read_bytes)
    with pytest.raises(InputError, match=rf"frame 1\.png: {message}"):
        read_image(path)


@pytest.mark.parametrize("kind", FILES)
def test_decompression_bomb_raises_before_decoding(file, monkeypatch, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(InputError, match="the image has more than 4,000 pixels"):
        read_image(file(FILES[kind]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_float_pixels_that_are_not_finite_raise(file, value, shape):
    image = np.full(shape, 0.5, np.float32)
    image[2, 3] = value
    with pytest.raises(InputError, match="contain NaN or infinite values"):
        read_image(file(encode_with_opencv(image, ".tif")))


def test_float_pixels_outside_0_to_1_raise(file):
    image = np.linspace(-3, 255, 35, dtype=np.float32).reshape(5, 7)
    with pytest.raises(InputError, match=r"must be in \[0, 1\], got -3 to 255"):
        read_image(file(encode_with_opencv(image, ".tif")))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixel_type", [np.int8, np.int16, np.int32, np.uint32])
def test_integer_pixels_of_other_types_raise(file, pixel_type, channels):
    image = np.ones((5, 7, channels), pixel_type)
    with pytest.raises(
        InputError, match=r"signed integers|expected pixels of 8 or 16|unsupported encoding"
    ):
        read_image(file(encode_with_opencv(image, ".tif")))
