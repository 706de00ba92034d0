"""Finding stereo pairs: two files or folders, a table, or a data set in its own layout.

The layouts are those of SceneFlow (Mayer et al., CVPR 2016), KITTI 2012 and 2015 (Geiger et al.,
CVPR 2012; Menze and Geiger, CVPR 2015), Middlebury 2014 and 2021 (Scharstein et al., GCPR 2014)
and ETH3D (Schoeps et al., CVPR 2017). They are recognised by the names of their folders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.core.pair_files import pair_folders, table_file, table_rows, two_files
from patchmatch.io import read_image, stretch_window, to_float
from patchmatch.io.disparity import read_disparity
from patchmatch.io.frames import safe_name, unique_name

FOLDERS = COLUMNS = ("left", "right")
TRUTH = "truth"
_OR_TABLE = f"or give a table with the columns {','.join(COLUMNS)}"
#: KITTI: left and right images, truth of all pixels, and of those that are not occluded.
KITTI = {
    "KITTI 2015": ("image_2", "image_3", "disp_occ_0", "disp_noc_0"),
    "KITTI 2012": ("colored_0", "colored_1", "disp_occ", "disp_noc"),
    "KITTI 2012, gray": ("image_0", "image_1", "disp_occ", "disp_noc"),
}
TRUTH_FILES = ("disp0GT.pfm", "disp0.pfm")  # of Middlebury and ETH3D
MASK_FILE = "mask0nocc.png"  # 255 is not occluded
CALIBRATION_FILE = "calib.txt"
VISIBLE = 255


@dataclass(frozen=True, kw_only=True)
class StereoFiles:
    """The files of a pair.

    Attributes:
        name: Unique within the run and safe in file names.
        left: Left image.
        right: Right image.
        truth: True disparity, if there is one.
        visible: Mask (255) or disparity of the pixels that are not occluded, if there is one.
        calibration: Calibration of the pair, if the layout has one.
        either_sign: Whether the sign of the true disparity has no meaning, as in SceneFlow.
    """

    name: str
    left: Path
    right: Path
    truth: Path | None = None
    visible: Path | None = None
    calibration: Path | None = None
    either_sign: bool = False

    @property
    def paths(self) -> list[Path]:
        """All files that exist."""
        files = (self.left, self.right, self.truth, self.visible, self.calibration)
        return [path for path in files if path is not None]


def find_stereo_pairs(source: str | Path) -> tuple[list[StereoFiles], list[str]]:
    """Find the pairs of two files, of a table, of two folders or of a data set.

    Args:
        source: ``LEFT,RIGHT``, two images; a table with the columns left, right and optionally
            truth; a folder with the subfolders left and right, and optionally truth; or the folder
            of SceneFlow, KITTI, Middlebury or ETH3D, or of one of their parts, in its own layout.

    Returns:
        The pairs, at least one, and a line for each warning.

    Raises:
        InputError: If a file or folder is missing.
    """
    path = Path(source)
    if path.is_file():
        return _pairs_of_table(path), []
    if not path.is_dir():
        left, right = two_files(str(source))
        return [StereoFiles(name=safe_name(left.stem), left=left, right=right)], []
    if not (path / FOLDERS[0]).is_dir():
        for layout in (_kitti, _scene_folders, _sceneflow):
            if found := list(layout(path)):
                return _rename(found), []
    return _pairs_of_folders(path)


def read_images(files: StereoFiles) -> list[np.ndarray]:
    """Read both images of a pair, (H, W, C) float in [0, 1], stretched alike.

    Raises:
        InputError: If a file cannot be read.
    """
    images = [read_image(path) for path in (files.left, files.right)]
    window = stretch_window(*images)
    return [np.atleast_3d(to_float(image, window)) for image in images]


def read_truth(
    files: StereoFiles, size: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read the true disparity, and where it is known and visible in both images.

    Args:
        files: Files of a pair.
        size: Height and width of the left image; None for that of the disparity.

    Returns:
        (H, W) float32 in pixels, NaN where unknown, and (H, W) bool; None without truth. Without a
        mask all known pixels count as visible.

    Raises:
        InputError: If a file cannot be read or has another size.
    """
    if files.truth is None:
        return None
    truth = read_disparity(files.truth, either_sign=files.either_sign)
    size = size or (truth.shape[0], truth.shape[1])
    _require_size(files.truth, truth, size)
    visible = np.isfinite(truth)
    if files.visible is not None:
        if files.visible.name == MASK_FILE:
            mask = read_image(files.visible)
            mask = (mask if mask.ndim == 2 else mask[..., 0]) == VISIBLE
        else:
            mask = np.isfinite(read_disparity(files.visible))
        _require_size(files.visible, mask, size)
        visible &= mask
    return truth, visible


def _require_size(path: Path, values: np.ndarray, size: tuple[int, int]) -> None:
    if values.shape != size:
        raise InputError(
            f"{path}: expected the size of the left image, {size[1]}x{size[0]}, got "
            f"{values.shape[1]}x{values.shape[0]}; give its disparity"
        )


def _rename(found: list[StereoFiles]) -> list[StereoFiles]:
    """Return the pairs with unique names."""
    taken: set[str] = set()
    return [
        StereoFiles(**{**vars(files), "name": unique_name(safe_name(files.name), taken)})
        for files in found
    ]


def _pairs_of_table(table: Path) -> list[StereoFiles]:
    """Return the pairs of a table."""
    found = []
    for number, row in enumerate(table_rows(table, COLUMNS), 1):
        left, right = (table_file(table, number, row, column) for column in COLUMNS)
        truth = None
        if row.get(TRUTH, "").strip():
            truth = table_file(table, number, row, TRUTH)
        found.append(StereoFiles(name=left.stem, left=left, right=right, truth=truth))
    return _rename(found)


def _pairs_of_folders(folder: Path) -> tuple[list[StereoFiles], list[str]]:
    """Return the pairs of the subfolders left and right, and warnings."""
    sequences, notes = pair_folders(folder, FOLDERS, _OR_TABLE)
    lefts, rights = (sequence.paths for sequence in sequences)
    truths = {p.stem: p for p in sorted((folder / TRUTH).glob("*")) if p.is_file()}
    stems = {left.stem for left in lefts}
    notes += [
        f"{folder / TRUTH}: no image of left has the name of {path.name}, which is ignored"
        for stem, path in truths.items()
        if stem not in stems
    ]
    return _rename(
        [
            StereoFiles(name=left.stem, left=left, right=right, truth=truths.get(left.stem))
            for left, right in zip(lefts, rights, strict=True)
        ]
    ), notes


def _kitti(folder: Path) -> Iterator[StereoFiles]:
    """Yield the pairs of KITTI 2012 or 2015; the frames _11 have no truth and are left out."""
    parts = [p for p in (folder / "training", folder / "testing", folder) if p.is_dir()]
    for part in parts:
        for lefts, rights, truths, visibles in KITTI.values():
            if not ((part / lefts).is_dir() and (part / rights).is_dir()):
                continue
            for left in sorted((part / lefts).glob("*_10.png")):
                truth, visible = part / truths / left.name, part / visibles / left.name
                calibration = _kitti_calibration(part, left.name.removesuffix("_10.png"))
                yield StereoFiles(
                    name=left.stem,
                    left=left,
                    right=_partner(left, part / rights / left.name),
                    truth=_if_file(truth),
                    visible=_if_file(visible) if truth.is_file() else None,
                    calibration=calibration,
                )
            break


def _kitti_calibration(part: Path, number: str) -> Path | None:
    """Return the calibration of a frame of KITTI 2015 or 2012."""
    return _if_file(part / "calib_cam_to_cam" / f"{number}.txt") or _if_file(
        part / "calib" / f"{number}.txt"
    )


def _scene_folders(folder: Path) -> Iterator[StereoFiles]:
    """Yield the pairs of Middlebury or ETH3D: a folder for each scene, or one scene."""
    lefts = [folder / "im0.png", *sorted(folder.glob("*/im0.png"))]
    lefts += sorted(folder.glob("*/*/im0.png"))
    for left in filter(Path.is_file, lefts):
        scene = left.parent
        # ETH3D has the truth in a folder beside that of the images
        places = [scene, scene.parent.with_name(f"{scene.parent.name}_gt") / scene.name]
        truth = next(
            (p / name for p in places for name in TRUTH_FILES if (p / name).is_file()), None
        )
        yield StereoFiles(
            name=scene.name,
            left=left,
            right=_partner(left, scene / "im1.png"),
            truth=truth,
            visible=_if_file(truth.with_name(MASK_FILE)) if truth else None,
            calibration=_if_file(scene / CALIBRATION_FILE),
        )


def _sceneflow(folder: Path) -> Iterator[StereoFiles]:
    """Yield the pairs of SceneFlow: FlyingThings3D, Driving and Monkaa."""
    passes = [p for p in sorted(folder.glob("**/frames_*pass")) if p.is_dir()]
    if folder.name.startswith("frames_"):
        passes = [folder]
    for root in passes:
        files = sorted(p for kind in ("png", "webp") for p in root.glob(f"**/left/*.{kind}"))
        for left in files:
            inside = left.relative_to(root)
            truth = root.parent / "disparity" / inside.with_suffix(".pfm")
            yield StereoFiles(
                name="_".join([*inside.parts[:-2], left.stem]),
                left=left,
                right=_partner(left, left.parent.with_name("right") / left.name),
                truth=_if_file(truth),
                either_sign=True,
            )


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _partner(left: Path, right: Path) -> Path:
    if not right.is_file():
        raise InputError(f"{right}: no such file, but it is the right image of {left}; add it")
    return right
