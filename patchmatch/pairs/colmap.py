"""Export of matches to the text files that COLMAP imports."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from patchmatch.io import write_text_atomic
from patchmatch.writing.chunks import Row

CORNER = 0.5  # COLMAP's origin is the corner of the top-left pixel, ours is its centre
DESCRIPTOR = " 0" * 128  # required by the importer, but not used with given matches


def write_colmap(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write {image}.txt with the keypoints of each image, and matches.txt with all matches.

    ``colmap feature_importer --import_path FOLDER`` reads the former and ``colmap matches_importer
    --match_list_path FOLDER/matches.txt --match_type raw`` the latter. Images are named relative
    to their common folder, which is COLMAP's image_path.

    Args:
        folder: Folder to write to.
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.
    """
    names = names_from_common_folder(files)
    keypoints: dict[str, dict[tuple[float, float], int]] = {name: {} for name in names.values()}
    blocks = []
    for row in files:
        image0, image1 = (names[str(row[key])] for key in ("image0", "image1"))
        with np.load(pairs / str(row["name"]) / "matches.npz") as arrays:
            index0 = [keypoint_index(keypoints[image0], p) for p in arrays["keypoints0"].tolist()]
            index1 = [keypoint_index(keypoints[image1], p) for p in arrays["keypoints1"].tolist()]
        lines = [f"{i} {j}" for i, j in zip(index0, index1, strict=True)]
        blocks.append("\n".join([f"{image0} {image1}", *lines, ""]))
    write_text_atomic(folder / "matches.txt", "\n".join(blocks) + "\n")
    for name, points in keypoints.items():
        rows = [f"{x + CORNER:.3f} {y + CORNER:.3f} 1 0{DESCRIPTOR}" for x, y in points]
        text = "\n".join([f"{len(rows)} 128", *rows, ""])
        write_text_atomic(folder / f"{name}.txt", text)


def keypoint_index(known: dict[tuple[float, float], int], point: Sequence[float]) -> int:
    """Return the index of a keypoint in its image; a new keypoint is appended to ``known``."""
    return known.setdefault((point[0], point[1]), len(known))


def names_from_common_folder(files: Sequence[Row]) -> Mapping[str, str]:
    """Return the paths of image0 and image1 relative to the common folder of all images."""
    paths = [str(row[key]) for row in files for key in ("image0", "image1")]
    absolute = {path: Path(path).absolute() for path in paths}
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {name: path.relative_to(common).as_posix() for name, path in absolute.items()}
