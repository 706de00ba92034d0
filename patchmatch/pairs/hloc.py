"""Export of matches to the HDF5 files of hloc."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from patchmatch.io import atomic_path, write_text_atomic
from patchmatch.pairs.colmap import keypoint_index, names_from_common_folder
from patchmatch.writing.chunks import Row

UNMATCHED = -1


class _ImageFeatures:
    """Keypoints of an image, collected from all of its pairs."""

    def __init__(self, size: np.ndarray) -> None:
        self.size = size  # height and width
        self.index: dict[tuple[float, float], int] = {}
        self.score: list[float] = []
        self.descriptors: list[np.ndarray] = []

    def add(
        self, points: np.ndarray, score: np.ndarray, descriptors: np.ndarray | None
    ) -> list[int]:
        """Add points (N, 2) that are new, and return the keypoint index of each."""
        indices = [keypoint_index(self.index, point) for point in points.tolist()]
        for row, index in enumerate(indices):
            if index == len(self.score):
                self.score.append(-np.inf)
                if descriptors is not None:
                    self.descriptors.append(descriptors[row])
            self.score[index] = max(self.score[index], float(score[row]))
        return indices


def write_hloc(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write features.h5, matches.h5 and pairs.txt in the layout of hloc.

    features.h5 has a group for each image, named by its path relative to the common folder:
    keypoints (N, 2), x and y with (0, 0) at the centre of the top-left pixel; scores (N,), the
    best score of the matches of each keypoint; image_size (2,), width and height; and descriptors
    (D, N) if the matcher computes them. matches.h5 has a group image0/image1 for each pair, with
    dashes for the slashes of the names: matches0 (N0,), index into the keypoints of image 1 or -1,
    and matching_scores0 (N0,). pairs.txt lists the names of both images of each pair.

    Args:
        folder: Folder to write to.
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.
    """
    names = names_from_common_folder(files)
    features: dict[str, _ImageFeatures] = {}
    found: list[tuple[str, str, list[int], list[int], np.ndarray]] = []
    for row in files:
        indices: list[list[int]] = []
        name0, name1 = (names[str(row[key])] for key in ("image0", "image1"))
        with np.load(pairs / str(row["name"]) / "matches.npz") as arrays:
            for i, name in enumerate((name0, name1)):
                known = features.setdefault(name, _ImageFeatures(arrays[f"size{i}"]))
                descriptors = arrays.get(f"descriptors{i}")
                indices.append(known.add(arrays[f"keypoints{i}"], arrays["score"], descriptors))
            found.append((name0, name1, indices[0], indices[1], arrays["score"]))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "features.h5") as path, h5py.File(path, "w") as file:
        for name, known in features.items():
            group = file.create_group(name)
            group["keypoints"] = np.array(list(known.index), np.float32).reshape(-1, 2)
            group["scores"] = np.array(known.score, np.float32)
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
