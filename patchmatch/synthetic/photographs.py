"""Photographs bundled with installed libraries, and the images of a folder."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_image, to_gray_float, to_rgb_uint8

#: Photographs bundled with scikit-image and scikit-learn, in an order that gives every split scenes
#: and textures. Their stereo pair is left for tests.
BUNDLED = {
    "skimage/data": (
        *("astronaut.png", "coffee.png", "brick.png", "chelsea.png", "clock_motion.png"),
        *("grass.png", "rocket.jpg", "hubble_deep_field.jpg", "camera.png", "gravel.png"),
        *("ihc.png", "moon.png", "retina.jpg", "coins.png"),
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
#: Test images of ``dev/benchmark_match.py``; no matcher in that benchmark is trained on them.
BENCHMARK = (
    *("astronaut.png", "coffee.png", "brick.png", "chelsea.png", "camera.png"),
    *("china.jpg", "flower.jpg"),
)
#: Additional training images where those of the benchmark are excluded.
EXTRA = {
    "skimage/data": ("cell.png", "page.png", "text.png", "microaneurysms.png"),
    "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg",),
}
MAX_SIDE = 512  # pixels: larger images are downscaled


def bundled_photographs() -> list[Path]:
    """Return the paths of photographs bundled with installed libraries, without downloads."""
    return _installed(BUNDLED)


def non_benchmark_photographs() -> list[Path]:
    """Return the paths of bundled images that are not in the benchmark."""
    return [path for path in _installed(BUNDLED) + _installed(EXTRA) if path.name not in BENCHMARK]


def benchmark_photographs() -> list[Path]:
    """Return the paths of the images of the benchmark."""
    return [path for path in _installed(BUNDLED) if path.name in BENCHMARK]


def _installed(names_by_folder: Mapping[str, Sequence[str]]) -> list[Path]:
    """Return the paths of the existing files; a folder starts with the name of its library."""
    paths = []
    for library_folder, names in names_by_folder.items():
        library, _, folder = library_folder.partition("/")
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.origin is not None:
            paths += [Path(spec.origin).parent / folder / name for name in names]
    return [path for path in paths if path.is_file()]


def folder_images(
    folder: str | Path, sources: Sequence[str] = ("photographs", "embedded", "mnist")
) -> list[Path]:
    """Return the paths of the images of a folder and its subfolders, in natural order.

    Raises:
        InputError: If the folder does not exist or has no images; ``sources`` are the other values
            of the option ``data.source``, for the message.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; data.source is {', '.join(sources)} or a folder of images"
        )
    images = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    paths = [p for p in images if not p.name.startswith(".") and p.is_file()]
    if not paths:
        raise InputError(f"{folder}: contains no images ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(paths, key=lambda path: natural_key(str(path.relative_to(folder))))


def load_rgb_image(path: Path, max_side: int = MAX_SIDE) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, downscaled if a side exceeds ``max_side``."""
    return _downscale(to_rgb_uint8(read_image(path)), max_side)


def load_gray_images(folder: str | Path, max_side: int = MAX_SIDE) -> list[np.ndarray]:
    """Return the images of a folder as (H, W) float32 in [0, 1], see ``folder_images``."""
    paths = folder_images(folder, sources=("embedded", "mnist"))
    return [_downscale(to_gray_float(read_image(path)), max_side) for path in paths]


def _downscale(image: np.ndarray, max_side: int) -> np.ndarray:
    scale = max_side / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
