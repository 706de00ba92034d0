"""Export of matches to the text files that COLMAP imports."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io import write_text_atomic
from patchmatch.pairs.exports import (
    Paths,
    collect_matches,
    names_from_common_folder,
    paths_of,
    require_names_for_lists,
)
from patchmatch.writing.chunks import Row

CORNER = 0.5  # COLMAP's origin is the corner of the top-left pixel, ours is its centre
DESCRIPTOR = " 0" * 128  # required by the importer, but not used with given matches
LONGEST_NAME = 251  # bytes; a file name has at most 255
MATCH_LIST = "matches.txt"
OPTION = "--writer.colmap true"


def write_colmap(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write {image}.txt with the keypoints of each image, and matches.txt with all matches.

    ``colmap feature_importer --import_path FOLDER`` reads the former and ``colmap matches_importer
    --match_list_path FOLDER/matches.txt --match_type raw`` the latter. Images are named relative
    to their common folder, which is COLMAP's image_path. Keypoints are in pixels of the stored
    image, without its EXIF orientation, which COLMAP does not apply.

    Args:
        folder: Folder to write to.
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.

    Raises:
        InputError: If the files cannot contain the name of an image.
    """
    require_colmap_names(paths_of(files))
    features, found = collect_matches(pairs, files)
    blocks = []
    for (name0, name1), matches in found.items():
        lines = [f"{i} {j}" for i, j in matches]
        blocks.append("\n".join([f"{name0} {name1}", *lines, ""]))
    write_text_atomic(folder / MATCH_LIST, "\n".join(blocks) + "\n")
    for name, image in features.items():
        rows = [f"{x + CORNER:.3f} {y + CORNER:.3f} 1 0{DESCRIPTOR}" for x, y in image.index]
        text = "\n".join([f"{len(rows)} 128", *rows, ""])
        write_text_atomic(folder / f"{name}.txt", text)


def colmap_files(pairs: Sequence[Paths]) -> list[str]:
    """Return the names of the files that ``write_colmap`` writes for pairs of images."""
    names = names_from_common_folder(pairs) if pairs else {}
    return [MATCH_LIST, *sorted({f"{name}.txt" for name in names.values()})]


def require_colmap_names(pairs: Iterable[Paths]) -> None:
    """Raise InputError if the files of COLMAP cannot contain the name of an image."""
    names = names_from_common_folder(pairs)
    require_names_for_lists(names, OPTION)
    for path, name in names.items():
        if f"{name}.txt".casefold().split("/")[0] == MATCH_LIST:
            raise InputError(
                f"{path}: cannot be exported: its keypoints would replace {MATCH_LIST}; rename it, "
                f"or leave out {OPTION}"
            )
        if len(os.fsencode(Path(name).name)) > LONGEST_NAME:
            raise InputError(
                f"{path}: cannot be exported: the name is too long to append .txt, as COLMAP "
                f"requires; shorten it, or leave out {OPTION}"
            )
