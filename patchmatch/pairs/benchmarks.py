"""Reading of matching benchmarks in their original layouts: pairs and ground truth."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES
from patchmatch.io.files import read_bytes
from patchmatch.pairs.benchmark_files import read_matrix, read_npz

# Excluded in D2-Net (Dusmanu et al. 2019) for their size, and by most evaluations since.
EXCLUDED = frozenset(
    {
        *("i_contruction", "i_crownnight", "i_dc", "i_pencils", "i_whitebuilding"),
        *("v_artisans", "v_astronautis", "v_talent"),
    }
)
TARGETS = range(2, 7)  # images of a sequence of HPatches that image 1 is matched with
PAIR_LIST, MARKED = "pairs_with_gt.txt", "_H.txt"
SCANNET_SIZE = (480, 640)  # height and width at which the intrinsics of ScanNet-1500 hold


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
    return bool(
        _sequences(root)
        or _is_scannet(root)
        or any(map(_lists_pairs, root.glob("*.npz")))
        or (root / PAIR_LIST).is_file()
        or _oxford_homographies(root)
        or any(_marked_images(path) for path in root.glob(f"*{MARKED}"))
    )


def read_benchmark(
    root: str | Path, exclude: bool = False, skipped: list[str] | None = None
) -> list[TruePair]:
    """Read the pairs of a benchmark with homographies or relative poses.

    Args:
        root: Folder of the benchmark. HPatches: folders i_* and v_*, each with 1.ppm to 6.ppm and
            H_1_2 to H_1_6. MegaDepth-1500 and ScanNet-1500 in the layout of LoFTR: *.npz with
            image_paths (relative to the root), intrinsics, poses and pair_infos; test.npz with
            name, intrinsics.npz, and scene*/color/*.jpg and scene*/pose/*.txt. Oxford Affine
            (Mikolajczyk et al. 2005): folders with img1 to img6 and H1to2p to H1to6p. Pairs with
            marked points: NAMEA, NAMEB and NAME_H.txt, the homography from A to B. A list of poses
            as SuperGlue has it: pairs_with_gt.txt, each line with two images, their rotations, K0,
            K1 and T_0to1.
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
    if (root / PAIR_LIST).is_file():
        return list(_listed_poses(root / PAIR_LIST))
    if found := _oxford_homographies(root):
        return [_oxford(root, path) for path in found]
    if found := [path for path in sorted(root.glob(f"*{MARKED}")) if _marked_images(path)]:
        return [_marked(path) for path in found]
    raise InputError(
        f"{root}: contains neither HPatches (folders i_* and v_*) nor MegaDepth-1500 (*.npz) nor "
        "ScanNet-1500 (test.npz, intrinsics.npz) nor another benchmark; check the path"
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
            homography=read_matrix(path, (3, 3)),
        )


def _megadepth(path: Path) -> Iterator[TruePair]:
    arrays = read_npz(path, ("image_paths", "intrinsics", "poses", "pair_infos"))
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
    names = read_npz(root / "test.npz", ("name",))["name"]
    intrinsics = read_npz(root / "intrinsics.npz", ())
    for scene, part, first, second in names.tolist():
        name = f"scene{scene:04d}_{part:02d}"
        if name not in intrinsics:
            raise InputError(f"{root / 'intrinsics.npz'}: {name} is missing; copy the file again")
        # both map their camera to the world
        pose0, pose1 = (read_matrix(root / name / f"pose/{i}.txt", (4, 4)) for i in (first, second))
        yield TruePair(
            group="ScanNet-1500",
            image0=f"{name}/color/{first}.jpg",
            image1=f"{name}/color/{second}.jpg",
            intrinsics0=np.asarray(intrinsics[name], float)[:3, :3],
            intrinsics1=np.asarray(intrinsics[name], float)[:3, :3],
            pose=np.linalg.inv(pose1) @ pose0,
            size=SCANNET_SIZE,
        )


def _listed_poses(path: Path) -> Iterator[TruePair]:
    """Yield the pairs of a list of SuperGlue; lines without ground truth are skipped."""
    for line in read_bytes(path).decode().splitlines():
        image0, image1, *entries = line.split()
        if len(entries) != 2 + 9 + 9 + 16:
            continue
        values = np.array(entries[2:], float)  # after the rotations of both images
        yield TruePair(
            group=path.parent.name,
            image0=image0,
            image1=image1,
            intrinsics0=values[:9].reshape(3, 3),
            intrinsics1=values[9:18].reshape(3, 3),
            pose=values[18:].reshape(4, 4),
        )


def _oxford_homographies(root: Path) -> list[Path]:
    return sorted(root.glob("*/H1to[2-6]p"))


def _oxford(root: Path, path: Path) -> TruePair:
    images = [_image(path.parent / f"img{k}") for k in (1, path.name[4])]
    return TruePair(
        group=path.parent.name,
        image0=images[0].relative_to(root).as_posix(),
        image1=images[1].relative_to(root).as_posix(),
        homography=read_matrix(path, (3, 3)),
    )


def _marked_images(path: Path) -> list[Path]:
    """Return the two images of a file NAME_H.txt; an empty list if one is missing."""
    stem = path.with_name(path.name.removesuffix(MARKED))
    try:
        return [_image(stem.with_name(stem.name + side)) for side in "AB"]
    except InputError:
        return []


def _marked(path: Path) -> TruePair:
    image0, image1 = (image.name for image in _marked_images(path))
    homography = read_matrix(path, (3, 3))
    return TruePair(group=path.parent.name, image0=image0, image1=image1, homography=homography)


def _image(stem: Path) -> Path:
    """Return the image file with a path but for its suffix."""
    for path in sorted(stem.parent.glob(f"{stem.name}.*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return path
    raise InputError(f"{stem}: no image has this name; copy the folder again")
