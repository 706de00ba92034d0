"""Matches in the HDF5 files that hloc reads."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from patchmatch.io import atomic_path, write_text_atomic
from patchmatch.pairs.colmap import names_from_common_folder, place_index
from patchmatch.writing.chunks import Row

UNMATCHED = -1


class _Features:
    """The places of a picture over all of its pairs, as they come."""

    def __init__(self, size: np.ndarray) -> None:
        self.size = size  # height and width
        self.index: dict[tuple[float, float], int] = {}
        self.score: list[float] = []
        self.descriptors: list[np.ndarray] = []

    def add(
        self, places: np.ndarray, score: np.ndarray, descriptors: np.ndarray | None
    ) -> list[int]:
        """Return the numbers of places (N, 2), which are new or known from another pair."""
        numbers = [place_index(self.index, place) for place in places.tolist()]
        for row, number in enumerate(numbers):
            if number == len(self.score):
                self.score.append(-np.inf)
                if descriptors is not None:
                    self.descriptors.append(descriptors[row])
            self.score[number] = max(self.score[number], float(score[row]))
        return numbers


def write_hloc(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write features.h5, matches.h5 and pairs.txt as hloc has them.

    features.h5 has a group for each picture, named by its path from the folder that holds all:
    keypoints (N, 2), x and y with (0, 0) at the centre of the top-left pixel, scores (N,), the
    best of each place's matches, image_size (2,), width and height, and descriptors (D, N) where
    the matcher describes places. matches.h5 has a group for each pair, image0/image1 with the
    slashes of their names made dashes: matches0 (N0,), an index into the keypoints of image 1 or
    -1, and matching_scores0 (N0,). pairs.txt names both pictures of each pair.

    Args:
        folder: Where to write.
        pairs: Where the matches.npz of each pair lies, in a folder of its name.
        files: Name, image0 and image1 of each pair, the latter as paths.
    """
    names = names_from_common_folder(files)
    features: dict[str, _Features] = {}
    found: list[tuple[str, str, list[int], list[int], np.ndarray]] = []
    for row in files:
        numbers: list[list[int]] = []
        both = [names[str(row[key])] for key in ("image0", "image1")]
        with np.load(pairs / str(row["name"]) / "matches.npz") as arrays:
            for i, name in enumerate(both):
                known = features.setdefault(name, _Features(arrays[f"size{i}"]))
                values = arrays.get(f"descriptors{i}")
                numbers.append(known.add(arrays[f"keypoints{i}"], arrays["score"], values))
            found.append((both[0], both[1], numbers[0], numbers[1], arrays["score"]))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "features.h5") as path, h5py.File(path, "w") as file:
        for name, known in features.items():
            group = file.create_group(name)
            places = np.array(list(known.index), np.float32).reshape(-1, 2)
            group["keypoints"], group["scores"] = places, np.array(known.score, np.float32)
            group["image_size"] = known.size[::-1].astype(np.int64)
            if known.descriptors:
                group["descriptors"] = np.stack(known.descriptors, axis=1)  # (D, N)
    with atomic_path(folder / "matches.h5") as path, h5py.File(path, "w") as file:
        for name0, name1, index0, index1, score in found:
            count = len(features[name0].index)
            matches0, scores0 = np.full(count, UNMATCHED, np.int32), np.zeros(count, np.float32)
            matches0[index0], scores0[index0] = index1, score
            group = file.require_group("/".join(name.replace("/", "-") for name in (name0, name1)))
            group["matches0"], group["matching_scores0"] = matches0, scores0
    lines = "".join(f"{name0} {name1}\n" for name0, name1, *_ in found)
    write_text_atomic(folder / "pairs.txt", lines)
