import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from patchmatch.core.errors import InputError
from patchmatch.io import read_image, read_image_size, to_rgb_uint8, write_image

LOSSLESS = [".png", ".bmp", ".tif", ".tiff", ".webp"]
HEIGHT, WIDTH = 13, 29


def noise(*channels: int, dtype=np.uint8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    top = np.iinfo(dtype).max
    shape = (height, width, *channels)
    return np.random.default_rng(7).integers(0, top, shape, dtype=dtype, endpoint=True)


def encode(image: np.ndarray | Image.Image, name: str, **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, name, **options)
    return stream.getvalue()


def encode_with_opencv(image: np.ndarray, suffix: str) -> bytes:
    """Encode RGB of 16 or 32 bits, which Pillow cannot write."""
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == ".tif" else []
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
    return cv2.imencode(suffix, image, options)[1].tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def oriented(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to stored pixels, by the table of the standard."""
    transposed = np.swapaxes(image, 0, 1)
    return {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }[orientation]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def tiff_with_orientation(data: bytes, orientation: int) -> bytes:
    """Append a header with an orientation tag to a little-endian TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    header = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + header


@pytest.fixture
def read(tmp_path):
    """Read bytes as a file, and check that the size from the header agrees."""

    def read_bytes_as_file(data: bytes) -> np.ndarray:
        path = tmp_path / "bild ünder test.png"
        path.write_bytes(data)
        image = read_image(path)
        assert read_image_size(path) == image.shape[:2]
        assert image.flags.writeable
        assert image.flags.c_contiguous
        return image

    return read_bytes_as_file


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_lossless_round_trip(tmp_path, suffix, channels):
    image = noise(*channels)
    path = tmp_path / f"a b é{suffix.upper()}"
    write_image(path, image)
    back = read_image(str(path))
    # WebP has no gray.
    expected = to_rgb_uint8(image) if suffix == ".webp" else image
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, expected)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_round_trip_is_close(tmp_path, suffix):
    column = np.linspace(0, 255, WIDTH, dtype=np.uint8)
    image = np.stack([np.tile(column, (HEIGHT, 1)), np.full((HEIGHT, WIDTH), 200, np.uint8)] * 2)
    image = np.moveaxis(image[:3], 0, 2)
    write_image(tmp_path / f"a{suffix}", image)
    difference = read_image(tmp_path / f"a{suffix}").astype(int) - image
    assert np.abs(difference).mean() < 3


def test_array_that_is_not_contiguous_is_written(tmp_path):
    image = noise(3)[::-1, ::2]
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_palette_becomes_rgb_with_and_without_transparency(read):
    palette = Image.fromarray(noise(3)).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read(encode(palette, "PNG")), expected)
    np.testing.assert_array_equal(read(encode(palette, "PNG", transparency=0)), expected)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
def test_bilevel_image_becomes_0_and_255(read, name):
    bits = noise() > 99
    np.testing.assert_array_equal(read(encode(bits, name)), np.where(bits, 255, 0))


def test_alpha_is_dropped_without_blending(read):
    rgba, la = noise(4), noise(2)
    rgba[:5, :5, 3] = 0
    for name in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read(encode(rgba, name)), rgba[..., :3])
        np.testing.assert_array_equal(read(encode(la, name)), la[..., 0])
    np.testing.assert_array_equal(
        read(encode(rgba, "WEBP", lossless=True, exact=True)), rgba[..., :3]
    )


def test_cmyk_jpeg_becomes_rgb(read):
    image = np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)
    back = read(encode(Image.fromarray(image).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(back.astype(int) - image).max() < 5


def test_gray_jpeg_stays_gray(read):
    assert read(encode(noise(), "JPEG")).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_16_bits_are_kept(read, suffix, channels):
    image = noise(*channels, dtype=np.uint16)
    back = read(encode_with_opencv(image, suffix))
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, image[..., :3] if channels else image)


def test_16_bit_gray_with_alpha_is_read_as_gray(read):
    image = noise(2, dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 4, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    np.testing.assert_array_equal(read(data), image[..., 0])


@pytest.mark.parametrize("big", [False, True])
def test_big_tiff_and_classic_tiff_agree(read, big):
    image = noise(dtype=np.uint16)
    np.testing.assert_array_equal(read(encode(image, "TIFF", big_tiff=big)), image)


@pytest.mark.parametrize("pixel_type", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_floating_point_tiff_is_read_as_float32(read, pixel_type, channels):
    image = (noise(*channels) / 255).astype(pixel_type)
    back = read(encode_with_opencv(image, ".tif"))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, image.astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied(read, orientation, name):
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100}}[name]
    image = np.repeat(np.repeat(noise(3, height=2, width=3), 16, 0), 16, 1)
    back = read(encode(image, name, exif=exif(orientation), **options))
    expected = oriented(image, orientation)
    assert back.shape == expected.shape
    tolerance = 40 if name == "JPEG" else 0
    assert np.abs(back.astype(int) - expected).mean() <= tolerance / 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_16_bit_and_float_images(read, orientation):
    gray, rgb = noise(dtype=np.uint16), noise(3, dtype=np.uint16)
    for name in ("PNG", "TIFF"):
        back = read(encode(gray, name, exif=exif(orientation)))
        np.testing.assert_array_equal(back, oriented(gray, orientation))
    png = encode_with_opencv(rgb, ".png")
    chunk = png_chunk(b"eXIf", exif(orientation).tobytes()[6:])
    np.testing.assert_array_equal(read(png[:33] + chunk + png[33:]), oriented(rgb, orientation))
    for image in (rgb, (rgb / 65535).astype(np.float32)):
        data = tiff_with_orientation(encode_with_opencv(image, ".tif"), orientation)
        np.testing.assert_array_equal(read(data), oriented(image, orientation))


def test_format_is_detected_from_the_content(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(noise(), "BMP"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise())


def test_writing_other_suffixes_dtypes_and_shapes_raises(tmp_path):
    with pytest.raises(InputError, match=r"a\.gif: cannot write \.gif; use \.png"):
        write_image(tmp_path / "a.gif", noise())
    with pytest.raises(InputError, match="cannot write an image without suffix"):
        write_image(tmp_path / "a", noise())
    with pytest.raises(ValueError, match="must be uint8, got uint16"):
        write_image(tmp_path / "a.png", noise(dtype=np.uint16))
    with pytest.raises(ValueError, match=r"got \(13, 29, 4\)"):
        write_image(tmp_path / "a.png", noise(4))
    with pytest.raises(InputError, match="WEBP cannot hold 1x20000 pixels"):
        write_image(tmp_path / "a.webp", np.zeros((1, 20000), np.uint8))
    assert list(tmp_path.iterdir()) == []
