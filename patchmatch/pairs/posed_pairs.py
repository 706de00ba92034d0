"""Pairs of photographs with known cameras: MegaDepth as D2-Net prepares it, and PhotoTourism."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.pairs.benchmark_files import read_npy_dict, read_npz
from patchmatch.pairs.sparse_model import overlaps, read_sparse_model

RATIO_RANGE = 0.2  # aspect ratios that a crop may change to that of the training images
SCENE_ARRAYS = ("image_paths", "depth_paths", "intrinsics", "poses", "overlap_matrix")
UNDISTORTED = "Undistorted_SfM"  # folder of the images; the pair files leave it out
OVERLAP_FILE, OVERLAPS = "ov_pairs.npy", (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, kw_only=True)
class PosedPair:
    """Two photographs with known cameras.

    Attributes:
        images: Both files.
        intrinsics: Their camera matrices (3, 3); (0, 0) is the corner of the top-left pixel.
        pose: (3, 4), rotation and translation from camera 0 to camera 1.
        crops: Columns and rows that are cut from the right and from the bottom of each image.
    """

    images: tuple[Path, Path]
    intrinsics: tuple[np.ndarray, np.ndarray]
    pose: np.ndarray
    crops: tuple[tuple[int, int], tuple[int, int]]


Scenes = dict[str, list[PosedPair]]


def read_megadepth(
    root: Path, pairs: Path | None, overlap: float, limit: int, ratio: float, seed: int
) -> Scenes:
    """Read the training pairs of MegaDepth, by scene.

    Args:
        root: Folder of MegaDepth as D2-Net (Dusmanu et al. 2019) prepares it: scene_info/SCENE.npz,
            and the images in Undistorted_SfM/SCENE/images, or in SCENE/images.
        pairs: Pair file of Patch2Pix (megadepth_pairs.ov0.35_imrat1.5.pair500.excl_test.npy); None
            selects pairs from scene_info.
        overlap: Minimum overlap; without a pair file, that of scene_info.
        limit: Number of pairs of a scene; without a pair file, a random choice.
        ratio: Width over height to which images are cropped. Without a pair file, pairs with other
            than landscape images of about this ratio are left out.
        seed: Seed of the choice.

    Raises:
        InputError: If the folder or file has another layout.
    """
    if pairs is not None:
        return _listed_scenes(root, pairs, overlap, limit)
    files = sorted((root / "scene_info").glob("*.npz"))
    if not files:
        raise InputError(
            f"{root}: contains no scene_info/*.npz; give MegaDepth as D2-Net prepares it, or the "
            "pair file as --data.pairs"
        )
    scenes = {}
    for file in files:
        arrays = read_npz(file, SCENE_ARRAYS)
        rows, columns = np.nonzero(np.triu((arrays["overlap_matrix"] >= overlap), 1))
        usable = [
            (row, column)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if all(arrays[name][i] is not None for name in SCENE_ARRAYS[:2] for i in (row, column))
        ]
        build = functools.partial(_scene_pair, root, arrays, ratio)
        scenes[file.stem] = _checked(file, _choose(usable, limit, seed, build))
    return _require_pairs(root, scenes)


def read_phototourism(root: Path, overlap: float, limit: int, ratio: float, seed: int) -> Scenes:
    """Read pairs of the validation scenes of PhotoTourism (Jin et al. 2020), by scene.

    Args:
        root: Folder with SCENE/dense/images and SCENE/dense/sparse/{cameras,images}.bin. Overlaps
            are read from SCENE/dense/sparse/ov_pairs.npy, where it exists.
        overlap: Minimum overlap: the share of common 3D points.
        limit: Number of pairs of a scene, a random choice.
        ratio: Width over height to which images are cropped; pairs with other than landscape images
            of about this ratio are left out.
        seed: Seed of the choice.

    Raises:
        InputError: If the folder has another layout.
    """
    folders = sorted(path.parent for path in root.glob("*/dense/sparse/images.bin"))
    if not folders:
        raise InputError(
            f"{root}: contains no SCENE/dense/sparse/images.bin; give the folder of the extracted "
            "scenes of PhotoTourism"
        )
    scenes = {}
    for folder in folders:
        images = read_sparse_model(folder)
        names = _read_overlaps(folder, overlap) or overlapping_pairs(folder, (overlap,))[overlap]

        def build(pair: tuple[str, str], images=images, folder=folder) -> PosedPair | None:
            if missing := [name for name in pair if name not in images]:
                raise InputError(
                    f"{folder / OVERLAP_FILE}: {missing[0]} is not in images.bin; delete the file"
                )
            ends = images[pair[0]], images[pair[1]]
            crops = [crop_to_ratio(end.size, ratio) for end in ends]
            if crops[0] is None or crops[1] is None:
                return None
            return PosedPair(
                images=_two(folder.parent / "images" / name for name in pair),
                intrinsics=(ends[0].intrinsics, ends[1].intrinsics),
                pose=(ends[1].pose @ np.linalg.inv(ends[0].pose))[:3],
                crops=(crops[0], crops[1]),
            )

        chosen = _choose(names, limit, seed, build)
        scenes[folder.parents[1].name] = _checked(folder / "images.bin", chosen)
    return _require_pairs(root, scenes)


def overlapping_pairs(
    folder: Path, limits: Iterable[float] = OVERLAPS
) -> dict[float, list[tuple[str, str]]]:
    """Return the names of the images of a sparse model that overlap, as ``ov_pairs.npy`` has them.

    Args:
        folder: Folder with cameras.bin and images.bin.
        limits: Minimum overlaps.

    Returns:
        The pairs of each minimum; the name that is later in the alphabet comes first. Pairs with an
        overlap of 1 are left out, as they are the same image twice.
    """
    images = read_sparse_model(folder)
    names, shares = list(images), overlaps(images)
    return {
        limit: [
            (names[column], names[row])
            for row, column in zip(
                *np.nonzero(np.triu((shares >= limit) & (shares < 1), 1)), strict=True
            )
        ]
        for limit in limits
    }


def crop_to_ratio(size: tuple[float, float], ratio: float) -> tuple[int, int] | None:
    """Return the columns and rows to cut for an aspect ratio; None if it is another one.

    Args:
        size: Height and width of the image in pixels.
        ratio: Width over height of the result.
    """
    height, width = size
    if abs(width / height - ratio) > RATIO_RANGE:
        return None
    return max(0, round(width - height * ratio)), max(0, round(height - width / ratio))


def _listed_scenes(root: Path, path: Path, overlap: float, limit: int) -> Scenes:
    """Return the pairs of a pair file of Patch2Pix with at least an overlap."""
    try:
        scenes = {
            str(scene): [_listed_pair(root, p) for p in content["pairs"] if p.overlap >= overlap]
            for scene, content in read_npy_dict(path).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a pair file of Patch2Pix ({error}); give one as --data.pairs, or leave "
            "the option out"
        ) from error
    return _require_pairs(path, {k: _checked(path, v[:limit]) for k, v in scenes.items()})


def _listed_pair(root: Path, pair: Any) -> PosedPair:
    return PosedPair(
        images=_two(_undistorted(root, name) for name in (pair.im1, pair.im2)),
        intrinsics=_two(np.asarray(matrix, float) for matrix in (pair.K1, pair.K2)),
        pose=np.c_[np.asarray(pair.R, float), np.asarray(pair.t, float)],
        crops=_two((int(crop[0]), int(crop[1])) for crop in (pair.crop1, pair.crop2)),
    )


def _scene_pair(
    root: Path, arrays: dict[str, np.ndarray], ratio: float, pair: tuple[int, int]
) -> PosedPair | None:
    """Return a pair of a scene of D2-Net; None if the aspect ratios are other ones."""
    intrinsics = _two(np.asarray(arrays["intrinsics"][i], float) for i in pair)
    # the principal point of an undistorted image is its centre
    crops = [crop_to_ratio((2 * k[1, 2], 2 * k[0, 2]), ratio) for k in intrinsics]
    if crops[0] is None or crops[1] is None:
        return None
    poses = [np.asarray(arrays["poses"][i], float).reshape(4, 4) for i in pair]
    return PosedPair(
        images=_two(_undistorted(root, str(arrays["image_paths"][i])) for i in pair),
        intrinsics=intrinsics,
        pose=(poses[1] @ np.linalg.inv(poses[0]))[:3],
        crops=(crops[0], crops[1]),
    )


def _read_overlaps(folder: Path, overlap: float) -> list[tuple[str, str]] | None:
    """Return the precomputed pairs of a scene; None if there are none with this overlap."""
    path = folder / OVERLAP_FILE
    if not path.is_file():
        return None
    found = read_npy_dict(path)
    key = next((key for key in found if isinstance(key, float) and abs(key - overlap) < 1e-6), None)
    return None if key is None else [(str(a), str(b)) for a, b in found[key]]


def _choose(candidates: list[Any], limit: int, seed: int, build: Any) -> Iterator[PosedPair]:
    """Yield a random choice of at most ``limit`` pairs that ``build`` does not reject."""
    count = 0
    for index in np.random.default_rng(seed).permutation(len(candidates)):
        if count == limit:
            return
        pair = build(candidates[index])
        if pair is not None:
            count += 1
            yield pair


def _checked(path: Path, pairs: Iterable[PosedPair]) -> list[PosedPair]:
    """Return the pairs; the cameras of each must differ in position."""
    found = list(pairs)
    for pair in found:
        if not np.isfinite(pair.pose).all() or not np.abs(pair.pose[:, 3]).max() > 0:
            names = " and ".join(image.name for image in pair.images)
            raise InputError(
                f"{path}: the pose of {names} has no translation, so that there are no epipolar "
                "lines; remove the pair"
            )
    return found


def _require_pairs(path: Path, scenes: Scenes) -> Scenes:
    if not any(scenes.values()):
        raise InputError(f"{path}: contains no pairs with this overlap; give a smaller one")
    return {name: pairs for name, pairs in scenes.items() if pairs}


def _undistorted(root: Path, name: str) -> Path:
    """Return the path of an image, whose name may begin with ``Undistorted_SfM`` or lack it."""
    name = name.removeprefix(f"{UNDISTORTED}/")
    inner = root / UNDISTORTED / name
    return inner if (root / UNDISTORTED).is_dir() else root / name


def _two(values: Iterable[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second
