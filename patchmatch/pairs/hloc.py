"""Export of matches to the HDF5 files of hloc."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io import atomic_path, write_text_atomic
from patchmatch.pairs.exports import (
    Paths,
    collect_matches,
    names_from_common_folder,
    paths_of,
    require_exportable_names,
)
from patchmatch.writing.chunks import Row

UNMATCHED = -1
FEATURES, MATCHES, PAIRS = HLOC_FILES = ("features.h5", "matches.h5", "pairs.txt")
OPTION = "--writer.hloc true"


def write_hloc(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write features.h5, matches.h5 and pairs.txt in the layout of hloc.

    features.h5 has a group for each image, named by its path relative to the common folder:
    keypoints (N, 2), x and y with (0, 0) at the centre of the top-left pixel of the stored image,
    without its EXIF orientation, which hloc does not apply; scores (N,), the best score of the
    matches of each keypoint; image_size (2,), width and height as stored; and descriptors (D, N)
    if the matcher computes them. matches.h5 has a group image0/image1 for each pair, with dashes
    for the slashes of the names: matches0 (N0,), index into the keypoints of image 1 or -1, and
    matching_scores0 (N0,). pairs.txt lists the names of both images of each pair.

    Args:
        folder: Folder to write to.
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.

    Raises:
        InputError: If the files cannot contain the name of an image.
    """
    require_hloc_names(paths_of(files))
    features, found = collect_matches(pairs, files)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / FEATURES) as path, h5py.File(path, "w") as file:
        for name, image in features.items():
            group = file.create_group(name)
            group["keypoints"] = np.array(list(image.index), np.float32).reshape(-1, 2)
            group["scores"] = np.array(image.score, np.float32)
            group["image_size"] = np.array(image.size[::-1], np.int64)
            if image.descriptors:
                group["descriptors"] = np.stack(image.descriptors, axis=1)  # (D, N)
    with atomic_path(folder / MATCHES) as path, h5py.File(path, "w") as file:
        for (name0, name1), matches in found.items():
            count = len(features[name0].index)
            matches0, scores0 = np.full(count, UNMATCHED, np.int32), np.zeros(count, np.float32)
            # a keypoint has one match: the best is written last
            for (index0, index1), score in sorted(matches.items(), key=lambda item: item[1]):
                matches0[index0], scores0[index0] = index1, score
            group = file.create_group(_group_name(name0, name1))
            group["matches0"], group["matching_scores0"] = matches0, scores0
    write_text_atomic(folder / PAIRS, "".join(f"{name0} {name1}\n" for name0, name1 in found))


def require_hloc_names(pairs: Iterable[Paths]) -> None:
    """Raise InputError if the files of hloc cannot contain the name of an image or of a pair."""
    pairs = list(pairs)
    names = names_from_common_folder(pairs)
    require_exportable_names(names, OPTION, in_lists=True)
    groups: dict[str, tuple[str, str]] = {}
    for path0, path1 in pairs:
        name0, name1 = sorted((names[path0], names[path1]))
        # hloc looks for a pair in both orders
        group = min(_group_name(name0, name1), _group_name(name1, name0))
        other0, other1 = groups.setdefault(group, (name0, name1))
        if (other0, other1) != (name0, name1):
            raise InputError(
                f"{path0}: cannot be exported: hloc replaces / in names by -, so the pair {name0} "
                f"{name1} would replace the pair {other0} {other1}; rename an image, or leave out "
                f"{OPTION}"
            )


def _group_name(name0: str, name1: str) -> str:
    """Return the group of a pair in matches.h5, as names_to_pair of hloc does."""
    return "/".join(name.replace("/", "-") for name in (name0, name1))
