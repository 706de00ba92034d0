"""What the exports for COLMAP and hloc share: names, keypoints and index pairs.

Both programs read the stored pixels of a file, without its EXIF orientation, and store one list of
keypoints for each image and one list of matches for each pair of images.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.writing.chunks import Row

Paths = tuple[str, str]  #: files of image 0 and image 1


@dataclass(kw_only=True)
class ImageFeatures:
    """Keypoints of an image, collected from all of its pairs.

    Attributes:
        size: Height and width of the stored image.
        index: Index of each keypoint by its x and y in the stored image.
        score: Best score of the matches of each keypoint.
        descriptors: (D,) of each keypoint; empty for matchers without descriptors.
    """

    size: tuple[int, int]
    index: dict[tuple[float, float], int] = field(default_factory=dict)
    score: list[float] = field(default_factory=list)
    descriptors: list[np.ndarray] = field(default_factory=list)

    def add(
        self, points: np.ndarray, score: np.ndarray, descriptors: np.ndarray | None
    ) -> list[int]:
        """Add points (N, 2) that are new, and return the keypoint index of each."""
        indices = []
        for row, (x, y) in enumerate(points.tolist()):
            index = self.index.setdefault((x, y), len(self.index))
            if index == len(self.score):
                self.score.append(-np.inf)
                if descriptors is not None:
                    self.descriptors.append(descriptors[row])
            self.score[index] = max(self.score[index], float(score[row]))
            indices.append(index)
        return indices


#: Best score of each pair of keypoint indices, by the names of image 0 and image 1.
PairMatches = dict[tuple[str, str], dict[tuple[int, int], float]]


def collect_matches(
    pairs: Path, files: Sequence[Row]
) -> tuple[dict[str, ImageFeatures], PairMatches]:
    """Return the keypoints of all images and the matches of all pairs, by the names of the images.

    Matches of a pair that is listed several times, in either order, are merged.

    Args:
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.
    """
    names = names_from_common_folder(paths_of(files))
    features: dict[str, ImageFeatures] = {}
    found: PairMatches = {}
    for row, (path0, path1) in zip(files, paths_of(files), strict=True):
        name0, name1 = names[path0], names[path1]
        indices: list[list[int]] = []
        with np.load(pairs / str(row["name"]) / "matches.npz") as arrays:
            score = arrays["score"]
            for i, name in enumerate((name0, name1)):
                orientation = int(arrays.get(f"orientation{i}", 1))
                height, width = arrays[f"size{i}"].tolist()
                points = to_stored_pixels(arrays[f"keypoints{i}"], (height, width), orientation)
                size = (width, height) if orientation in TRANSPOSED else (height, width)
                image = features.setdefault(name, ImageFeatures(size=size))
                indices.append(image.add(points, score, arrays.get(f"descriptors{i}")))
        if (name1, name0) in found and name0 != name1:
            name0, name1, indices = name1, name0, indices[::-1]
        matches = found.setdefault((name0, name1), {})
        for match, value in zip(zip(*indices, strict=True), score.tolist(), strict=True):
            matches[match] = max(value, matches.get(match, -np.inf))
    return features, found


TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def to_stored_pixels(points: np.ndarray, size: tuple[int, int], orientation: int) -> np.ndarray:
    """Return where points of the upright image are in the stored image.

    Args:
        points: (N, 2), x and y in the upright image.
        size: Height and width of the upright image.
        orientation: The EXIF orientation, 1 to 8, that turns the stored image upright.
    """
    x, y = points[:, 0].astype(float), points[:, 1].astype(float)
    mirrored_x, mirrored_y = size[1] - 1 - x, size[0] - 1 - y
    stored = {
        1: (x, y),
        2: (mirrored_x, y),
        3: (mirrored_x, mirrored_y),
        4: (x, mirrored_y),
        5: (y, x),
        6: (y, mirrored_x),
        7: (mirrored_y, mirrored_x),
        8: (mirrored_y, x),
    }[orientation]
    return np.stack(stored, axis=1)


def paths_of(files: Iterable[Row]) -> list[Paths]:
    """Return the paths of both images of each pair."""
    return [(str(row["image0"]), str(row["image1"])) for row in files]


def names_from_common_folder(pairs: Iterable[Paths]) -> dict[str, str]:
    """Return the name of each path: relative to the common folder of all images.

    ``..`` is resolved, so that an image has one name; symbolic links are kept.
    """
    absolute = {path: Path(os.path.abspath(path)) for pair in pairs for path in pair}  # noqa: PTH100
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {path: file.relative_to(common).as_posix() for path, file in absolute.items()}


def require_exportable_names(names: Mapping[str, str], option: str, in_lists: bool = False) -> None:
    """Check that an export can contain the names of the images.

    Args:
        names: The name of each path.
        option: The option that requests the export.
        in_lists: Whether the names are written to lists of pairs, ``name0 name1`` in each line.

    Raises:
        InputError: If a name is not Unicode or, in a list, contains a blank or begins with #.
    """
    for path, name in names.items():
        if not _is_unicode(name):
            reason = f"names are stored as UTF-8 text, but {name!r} is not Unicode"
        elif in_lists and any(character.isspace() for character in name):
            reason = f"lists of pairs separate names by blanks, but {name!r} contains one"
        elif in_lists and name.startswith("#"):
            reason = f"lines of lists that begin with # are comments, but {name!r} begins with it"
        else:
            continue
        printable = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(
            f"{printable}: cannot be exported: {reason}; rename it, or leave out {option}"
        )


def fits_lists(name: str) -> bool:
    """Return whether a name can be in a list of pairs, ``name0 name1`` in each line."""
    return not name.startswith("#") and not any(character.isspace() for character in name)


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
