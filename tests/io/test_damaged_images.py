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


def encode_deep(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


# The rows of 84 pixels need no padding in a BMP, so that its last byte is one of a pixel.
RGB = np.random.default_rng(3).integers(0, 256, (61, 84, 3), dtype=np.uint8)
DEEP = RGB.astype(np.uint16) * 257
FILES = {
    "png": encode(RGB, "PNG"),
    "interlaced gray png": encode(RGB[..., 0], "PNG", optimize=True),
    "16-bit png": encode_deep(DEEP, ".png"),
    "jpeg": encode(RGB, "JPEG"),
    "progressive jpeg": encode(RGB, "JPEG", progressive=True),
    "bmp": encode(RGB, "BMP"),
    "tiff": encode(RGB, "TIFF"),
    "lzw tiff": encode(RGB, "TIFF", compression="tiff_lzw"),
    "deflate tiff": encode(RGB, "TIFF", compression="tiff_adobe_deflate"),
    "16-bit tiff": encode_deep(DEEP, ".tif"),
    "float tiff": encode_deep(RGB.astype(np.float32) / 255, ".tif"),
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
def test_a_truncated_file_is_refused_wherever_it_ends(file, kind):
    data = FILES[kind]
    read_image(file(data))  # whole, it is fine
    for keep in [1, 5, 9, 20, 40, *(len(data) * k // 8 for k in range(1, 8))]:
        with pytest.raises(InputError, match=r"frame 1\.png: cannot be read as an image: \S+"):
            read_image(file(data[:keep]))
    for lost in (1, 2, 3, 5, 9, 12, 50):
        with pytest.raises(InputError, match="copy or export it again") as caught:
            read_image(file(data[:-lost]))
        assert "\n" not in str(caught.value)
        assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "16-bit png"])
def test_a_png_with_one_changed_byte_of_pixels_is_refused(file, kind):
    data = bytearray(FILES[kind])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InputError, match="the PNG is damaged in its 'IDAT' chunk"):
        read_image(file(bytes(data)))


def test_a_tiff_that_is_cut_off_says_how_much_of_it_is_there(file):
    data = FILES["tiff"]
    with pytest.raises(InputError, match=f"the TIFF is cut off: 9000 of {len(data)} bytes"):
        read_image(file(data[:9000]))


@pytest.mark.parametrize("kind", FILES)
def test_the_size_is_told_without_decoding_the_pixels(file, monkeypatch, kind):
    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert read_image_size(file(FILES[kind])) == RGB.shape[:2]


def test_bytes_after_the_end_of_a_png_do_no_harm(file):
    np.testing.assert_array_equal(read_image(file(FILES["png"] + b"appended")), RGB)


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_what_is_no_picture_is_refused(file, read, tmp_path):
    with pytest.raises(InputError, match="its content is none of PNG, JPEG, BMP, TIFF, WEBP"):
        read(file(b"a text that somebody called .png\n"))
    with pytest.raises(InputError, match="its content is none of PNG"):
        read(file(encode(RGB, "GIF")))
    with pytest.raises(InputError, match=r"frame 1\.png: the file is empty"):
        read(file(b""))
    with pytest.raises(InputError, match=r"absent\.png: no such file"):
        read(tmp_path / "absent.png")
    with pytest.raises(InputError, match="this is a folder"):
        read(tmp_path)
    with pytest.raises(InputError, match="cannot be reached"):
        read(tmp_path / ("a" * 300 + ".png"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "you may not read this file"),
        (OSError(5, "Input/output error"), r"cannot be read \(Input/output error\)"),
    ],
)
def test_a_file_that_the_system_does_not_give_is_refused(file, monkeypatch, error, message):
    path = file(FILES["png"])

    def read_bytes(self):
        raise error

    monkeypatch.setattr(type(path), "read_bytes", read_bytes)
    with pytest.raises(InputError, match=rf"frame 1\.png: {message}"):
        read_image(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(file, monkeypatch, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(InputError, match="too large to decode safely, more than 4,000 pixels"):
        read_image(file(FILES[kind]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_float_that_is_no_number_is_refused(file, value, shape):
    image = np.full(shape, 0.5, np.float32)
    image[2, 3] = value
    with pytest.raises(InputError, match="hold NaN or infinity"):
        read_image(file(encode_deep(image, ".tif")))


def test_floats_beyond_0_and_1_are_refused_with_their_range(file):
    image = np.linspace(-3, 255, 35, dtype=np.float32).reshape(5, 7)
    with pytest.raises(InputError, match=r"must lie in \[0, 1\], got -3 to 255"):
        read_image(file(encode_deep(image, ".tif")))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_integers_that_are_no_brightness_are_refused(file, dtype, channels):
    image = np.ones((5, 7, channels), dtype)
    with pytest.raises(
        InputError, match=r"signed integers|8 or 16 bits are needed|stored in a way"
    ):
        read_image(file(encode_deep(image, ".tif")))
