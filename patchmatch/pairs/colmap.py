"""Matches in the text files that COLMAP imports."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from patchmatch.io import write_text_atomic
from patchmatch.writing.chunks import Row

CORNER = 0.5  # COLMAP counts from the corner of the top-left pixel, the house from its centre
DESCRIPTOR = " 0" * 128  # its importer wants one, and matches that are given make it idle


def write_colmap(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write {image}.txt with the places of every picture, and matches.txt with their pairs.

    ``colmap feature_importer --import_path FOLDER`` reads the former and ``colmap matches_importer
    --match_list_path FOLDER/matches.txt --match_type raw`` the latter. Pictures are named from the
    folder that holds all of them, which is COLMAP's image_path.

    Args:
        folder: Where to write.
        pairs: Where the matches.npz of each pair lies, in a folder of its name.
        files: Name, image0 and image1 of each pair, the latter as paths.
    """
    names = names_from_common_folder(files)
    places: dict[str, dict[tuple[float, float], int]] = {name: {} for name in names.values()}
    blocks = []
    for row in files:
        image0, image1 = (names[str(row[key])] for key in ("image0", "image1"))
        with np.load(pairs / str(row["name"]) / "matches.npz") as arrays:
            index0 = [place_index(places[image0], place) for place in arrays["keypoints0"].tolist()]
            index1 = [place_index(places[image1], place) for place in arrays["keypoints1"].tolist()]
        lines = [f"{i} {j}" for i, j in zip(index0, index1, strict=True)]
        blocks.append("\n".join([f"{image0} {image1}", *lines, ""]))
    write_text_atomic(folder / "matches.txt", "\n".join(blocks) + "\n")
    for name, known in places.items():
        rows = [f"{x + CORNER:.3f} {y + CORNER:.3f} 1 0{DESCRIPTOR}" for x, y in known]
        text = "\n".join([f"{len(rows)} 128", *rows, ""])
        write_text_atomic(folder / f"{name}.txt", text)


def place_index(known: dict[tuple[float, float], int], place: Sequence[float]) -> int:
    """Return the number of a place in its picture, the same for all pairs."""
    return known.setdefault((place[0], place[1]), len(known))


def names_from_common_folder(files: Sequence[Row]) -> Mapping[str, str]:
    """Return the paths of image0 and image1 from the folder that holds all pictures."""
    paths = [str(row[key]) for row in files for key in ("image0", "image1")]
    whole = {path: Path(path).absolute() for path in paths}
    common = os.path.commonpath([path.parent for path in whole.values()])
    return {name: path.relative_to(common).as_posix() for name, path in whole.items()}
