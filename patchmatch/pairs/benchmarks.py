"""Reading of matching benchmarks in their original layouts: pairs and ground truth."""

import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.files import read_bytes

# Excluded in D2-Net (Dusmanu et al. 2019) for their size, and by most evaluations since.
EXCLUDED = frozenset(
    {
        *("i_contruction", "i_crownnight", "i_dc", "i_pencils", "i_whitebuilding"),
        *("v_artisans", "v_astronautis", "v_talent"),
    }
)
TARGETS = range(2, 7)  # images of a sequence of HPatches that image 1 is matched with
SCANNET_SIZE = (480, 640)  # height and width at which the intrinsics of ScanNet-1500 hold
# What pickles of object arrays of numpy refer to.
_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_NAMES = ("_reconstruct", "ndarray", "dtype", "scalar")


@dataclass(frozen=True, kw_only=True)
class TruePair:
    """A pair of a benchmark and its ground truth.

    Attributes:
        group: Row of the results table: illumination, viewpoint, or the name of the benchmark.
        image0: Path relative to the root of the benchmark.
        image1: Path relative to the root of the benchmark.
        homography: (3, 3), from image 0 to image 1; None for scenes that are not planar.
        intrinsics0: (3, 3), camera matrix of image 0; None where not known.
        intrinsics1: (3, 3), camera matrix of image 1; None where not known.
        pose: (4, 4), maps points from camera 0 to camera 1; None where not known.
        size: Height and width at which the intrinsics hold; None for the size of the files.
    """

    group: str
    image0: str
    image1: str
    homography: np.ndarray | None = None
    intrinsics0: np.ndarray | None = None
    intrinsics1: np.ndarray | None = None
    pose: np.ndarray | None = None
    size: tuple[int, int] | None = None


def is_benchmark(root: str | Path) -> bool:
    """Return whether a folder contains one of the benchmarks."""
    root = Path(root)
    return bool(_sequences(root) or _is_scannet(root) or any(map(_lists_pairs, root.glob("*.npz"))))


def read_benchmark(
    root: str | Path, exclude: bool = False, skipped: list[str] | None = None
) -> list[TruePair]:
    """Read the pairs of HPatches, MegaDepth-1500 or ScanNet-1500.

    Args:
        root: Folder of the benchmark. HPatches: folders i_* and v_*, each with 1.ppm to 6.ppm and
            H_1_2 to H_1_6. The other two in the layout of LoFTR. MegaDepth-1500: *.npz with
            image_paths (relative to the root), intrinsics, poses and pair_infos. ScanNet-1500:
            test.npz with name, intrinsics.npz, and scene*/color/*.jpg and scene*/pose/*.txt.
        exclude: Whether to skip the eight sequences of HPatches in ``EXCLUDED``.
        skipped: Gets a note on each sequence of HPatches that is incomplete and left out; None
            raises instead.

    Raises:
        InputError: If the folder contains none of them, or a file is missing or damaged.
    """
    root = Path(root)
    if sequences := _sequences(root):
        chosen = [f for f in sequences if not (exclude and f.name in EXCLUDED)]
        return [pair for folder in chosen for pair in _complete(folder, skipped)]
    if _is_scannet(root):
        return list(_scannet(root))
    if found := sorted(root.glob("*.npz")):
        return [pair for path in found for pair in _megadepth(path)]
    raise InputError(
        f"{root}: contains neither HPatches (folders i_* and v_*) nor MegaDepth-1500 (*.npz) nor "
        "ScanNet-1500 (test.npz, intrinsics.npz); check the path"
    )


def _sequences(root: Path) -> list[Path]:
    return sorted(
        folder
        for kind in ("i_*", "v_*")
        for folder in root.glob(kind)
        if (folder / "1.ppm").is_file() or any(folder.glob("H_1_*"))
    )


def _is_scannet(root: Path) -> bool:
    return (root / "test.npz").is_file() and (root / "intrinsics.npz").is_file()


def _lists_pairs(path: Path) -> bool:
    """Return whether an .npz belongs to MegaDepth-1500; image folders may contain others."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "pair_infos.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _complete(folder: Path, skipped: list[str] | None) -> list[TruePair]:
    """Return the pairs of a sequence; none, and a note, if it is incomplete."""
    try:
        return list(_hpatches(folder))
    except InputError as error:
        if skipped is None:
            raise
        skipped.append(f"{folder.name} is left out: {error}")
        return []


def _hpatches(folder: Path) -> Iterator[TruePair]:
    suffix = next((s for s in (".ppm", ".png", ".jpg") if (folder / f"1{s}").is_file()), None)
    if suffix is None:
        raise InputError(f"{folder}: 1.ppm is missing; copy the sequence again")
    for k in TARGETS:
        path = folder / f"H_1_{k}"
        yield TruePair(
            group="illumination" if folder.name.startswith("i_") else "viewpoint",
            image0=f"{folder.name}/1{suffix}",
            image1=f"{folder.name}/{k}{suffix}",
            homography=_read_matrix(path, (3, 3)),
        )


def _megadepth(path: Path) -> Iterator[TruePair]:
    arrays = _read_npz(path, ("image_paths", "intrinsics", "poses", "pair_infos"))
    for info in arrays["pair_infos"]:
        first, second = info[0]
        pose0, pose1 = (np.asarray(arrays["poses"][i], float) for i in (first, second))
        yield TruePair(
            group="MegaDepth-1500",
            image0=str(arrays["image_paths"][first]),
            image1=str(arrays["image_paths"][second]),
            intrinsics0=np.asarray(arrays["intrinsics"][first], float),
            intrinsics1=np.asarray(arrays["intrinsics"][second], float),
            pose=pose1 @ np.linalg.inv(pose0),  # both map the world to their camera
        )


def _scannet(root: Path) -> Iterator[TruePair]:
    names = _read_npz(root / "test.npz", ("name",))["name"]
    intrinsics = _read_npz(root / "intrinsics.npz", ())
    for scene, part, first, second in names.tolist():
        name = f"scene{scene:04d}_{part:02d}"
        if name not in intrinsics:
            raise InputError(f"{root / 'intrinsics.npz'}: {name} is missing; copy the file again")
        # both map their camera to the world
        pose0, pose1 = (
            _read_matrix(root / name / f"pose/{i}.txt", (4, 4)) for i in (first, second)
        )
        yield TruePair(
            group="ScanNet-1500",
            image0=f"{name}/color/{first}.jpg",
            image1=f"{name}/color/{second}.jpg",
            intrinsics0=np.asarray(intrinsics[name], float)[:3, :3],
            intrinsics1=np.asarray(intrinsics[name], float)[:3, :3],
            pose=np.linalg.inv(pose1) @ pose0,
            size=SCANNET_SIZE,
        )


def _read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a matrix from a text file."""
    content = read_bytes(path)
    try:
        values = np.array(content.decode().split(), float).reshape(shape)
    except ValueError as error:
        count = shape[0] * shape[1]
        raise InputError(f"{path}: must contain {count} numbers; copy the file again") from error
    return values


class _Unpickler(pickle.Unpickler):
    """Unpickles object arrays of numpy, but no names that could run code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a name of numpy that object arrays need."""
        if module_name in _NUMPY_MODULES and global_name in _NUMPY_NAMES:
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed in an array")


def _read_npz(path: Path, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz, with plain Python objects at most.

    Raises:
        InputError: If it is damaged, contains other objects, or lacks an array.
    """
    arrays: dict[str, np.ndarray] = {}
    read_bytes(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = _read_array(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.PickleError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from error
    if missing := [name for name in required if name not in arrays]:
        raise InputError(
            f"{path}: {', '.join(missing)} is missing; give the root folder of a benchmark"
        )
    return arrays


def _read_array(file: Any) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        return _Unpickler(file).load()
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
