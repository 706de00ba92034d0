"""Colour pictures to learn from: those that installed libraries carry, or those of a folder."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_image, to_rgb_uint8

#: Photographs inside scikit-image and scikit-learn, in an order that puts scenes and textures into
#: every split. The stereo pair among them is left for tests.
BUNDLED = {
    "skimage/data": (
        *("astronaut.png", "coffee.png", "brick.png", "chelsea.png", "clock_motion.png"),
        *("grass.png", "rocket.jpg", "hubble_deep_field.jpg", "camera.png", "gravel.png"),
        *("ihc.png", "moon.png", "retina.jpg", "coins.png"),
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
#: What ``dev/benchmark_match.py`` matches: no system that it compares learns from these.
BENCHMARK = (
    *("astronaut.png", "coffee.png", "brick.png", "chelsea.png", "camera.png"),
    *("china.jpg", "flower.jpg"),
)
#: Pictures beside ``BUNDLED`` that may be learned from where those of the benchmark may not.
MORE = {
    "skimage/data": ("cell.png", "page.png", "text.png", "microaneurysms.png"),
    "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg",),
}
LARGEST = 512  # pixels: larger pictures are reduced to it


def bundled_photographs() -> list[Path]:
    """Return the paths of the photographs that installed libraries carry; none is downloaded."""
    return _installed(BUNDLED)


def non_benchmark_photographs() -> list[Path]:
    """Return the paths of the pictures that installed libraries carry and no benchmark matches."""
    return [path for path in _installed(BUNDLED) + _installed(MORE) if path.name not in BENCHMARK]


def benchmark_photographs() -> list[Path]:
    """Return the paths of the pictures of the benchmark."""
    return [path for path in _installed(BUNDLED) if path.name in BENCHMARK]


def _installed(places: Mapping[str, Sequence[str]]) -> list[Path]:
    """Return the paths of files, by the folders of the libraries that carry them."""
    paths = []
    for place, names in places.items():
        library, _, folder = place.partition("/")
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.origin is not None:
            paths += [Path(spec.origin).parent / folder / name for name in names]
    return [path for path in paths if path.is_file()]


def folder_images(folder: str | Path) -> list[Path]:
    """Return the images of a folder and its subfolders in natural order."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; data.source is photographs, embedded, mnist or a folder "
            "of images"
        )
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(paths, key=lambda path: natural_key(str(path.relative_to(folder))))


def load_rgb_image(path: Path, largest: int = LARGEST) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB, reduced if its longer side is above ``largest``."""
    picture = to_rgb_uint8(read_image(path))
    scale = largest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
