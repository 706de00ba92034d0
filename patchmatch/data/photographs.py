"""Colour pictures to learn from: those that installed libraries carry, or those of a folder."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from patchmatch.errors import InputError
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
LARGEST = 512  # pixels: larger pictures are reduced to it


def bundled_photographs() -> list[Path]:
    """Return the paths of the photographs that installed libraries carry; none is downloaded."""
    paths = []
    for place, names in BUNDLED.items():
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


def load_picture(path: Path, largest: int = LARGEST) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB, reduced if its longer side is above ``largest``."""
    picture = to_rgb_uint8(read_image(path))
    scale = largest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
