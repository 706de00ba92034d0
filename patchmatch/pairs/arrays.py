"""The matches of a pair as arrays of an .npz file, which the exports and the evaluation read."""

import io
from pathlib import Path

import numpy as np
from torch import Tensor

from patchmatch.core.image_pairs import ImagePair
from patchmatch.io import write_bytes_atomic
from patchmatch.pairs.results import Matches
from patchmatch.pairs.rows import homography_inliers


def write_match_arrays(path: Path, matches: Matches, batch: ImagePair, descriptors: bool) -> None:
    """Write matches.npz of a pair; a missing matrix is NaN, a missing pose left out.

    Args:
        path: The .npz to write.
        matches: Matches in pixels of the upright images.
        batch: The pair.
        descriptors: Whether to write the descriptors of the keypoints, if there are any.
    """
    content = io.BytesIO()
    arrays = {
        "keypoints0": matches.keypoints0.numpy().astype(np.float32),
        "keypoints1": matches.keypoints1.numpy().astype(np.float32),
        "score": matches.score.numpy().astype(np.float32),
        "inliers": homography_inliers(matches).numpy(),
        "homography": _or_nan(matches.homography, (3, 3)),
        "size0": np.array(batch["sizes"][0]),
        "size1": np.array(batch["sizes"][1]),
        "orientation0": np.array(batch["orientations"][0]),
        "orientation1": np.array(batch["orientations"][1]),
        "image0": np.array(Path(batch["paths"][0]).as_posix()),
        "image1": np.array(Path(batch["paths"][1]).as_posix()),
    }
    if matches.epipolar_inliers is not None:
        arrays["epipolar"] = _or_nan(matches.epipolar, (3, 3))
        arrays["epipolar_inliers"] = matches.epipolar_inliers.numpy()
    if matches.pose is not None:
        arrays["pose"] = matches.pose.numpy()
    if descriptors and matches.descriptors0 is not None and matches.descriptors1 is not None:
        arrays["descriptors0"] = matches.descriptors0.numpy().astype(np.float16)
        arrays["descriptors1"] = matches.descriptors1.numpy().astype(np.float16)
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes_atomic(path, content.getvalue())


def _or_nan(matrix: Tensor | None, shape: tuple[int, int]) -> np.ndarray:
    return np.full(shape, np.nan) if matrix is None else matrix.numpy()
