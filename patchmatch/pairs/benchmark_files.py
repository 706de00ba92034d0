"""Reading of the files of matching benchmarks: matrices in text, and arrays of plain objects."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.files import read_bytes

# What pickles of object arrays of numpy refer to.
_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_NAMES = ("_reconstruct", "ndarray", "dtype", "scalar")
_NAMESPACE = ("argparse", "Namespace")  # holds plain values, in the pair files of Patch2Pix


def read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a matrix from a text file."""
    content = read_bytes(path)
    try:
        values = np.array(content.decode().split(), float).reshape(shape)
    except ValueError as error:
        count = shape[0] * shape[1]
        raise InputError(f"{path}: must contain {count} numbers; copy the file again") from error
    return values


_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.PickleError)


class _Unpickler(pickle.Unpickler):
    """Unpickles object arrays of numpy and namespaces, but no names that could run code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a name that object arrays need."""
        if (module_name in _NUMPY_MODULES and global_name in _NUMPY_NAMES) or (
            module_name,
            global_name,
        ) == _NAMESPACE:
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed in an array")


def read_npz(path: Path, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz, with plain Python objects at most.

    Args:
        path: The file.
        required: Names of the arrays to read; empty for all.

    Raises:
        InputError: If it is damaged, contains other objects, or lacks an array.
    """
    arrays: dict[str, np.ndarray] = {}
    read_bytes(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if required and name.removesuffix(".npy") not in required:
                    continue
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = _read_array(file)
    except _DAMAGED as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from error
    if missing := [name for name in required if name not in arrays]:
        raise InputError(
            f"{path}: {', '.join(missing)} is missing; give the root folder of a benchmark"
        )
    return arrays


def read_npy_dict(path: Path) -> dict[Any, Any]:
    """Read a dictionary of plain Python objects that ``numpy.save`` wrote.

    Raises:
        InputError: If the file is damaged, or contains other objects.
    """
    try:
        content = _read_array(io.BytesIO(read_bytes(path)))
        found = content.item() if content.ndim == 0 else None
    except _DAMAGED as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: contains no dictionary; copy the file again")
    return found


def _read_array(file: Any) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        return _Unpickler(file).load()
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
