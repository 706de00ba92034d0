"""Reading of sparse models of COLMAP: cameras, poses, and the 3D points that images observe."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from patchmatch.core.errors import InputError
from patchmatch.io.files import read_bytes

# Parameters of the camera models by their numbers: focal lengths before the principal point.
PARAMETERS = {0: (1, 3), 1: (2, 4), 2: (1, 4), 3: (1, 5), 4: (2, 8), 5: (2, 8)}
NO_POINT = -1  # of a keypoint that is not part of a 3D point
OBSERVATION = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<i8")])


@dataclass(frozen=True, kw_only=True)
class SparseImage:
    """An image of a sparse model.

    Attributes:
        intrinsics: (3, 3) camera matrix; (0, 0) is the corner of the top-left pixel, not its
            centre. Distortion is left out: use a model of undistorted images.
        size: Height and width in pixels.
        pose: (4, 4), from the world to the camera.
        points: Numbers of the 3D points that the image observes, without duplicates, sorted.
    """

    intrinsics: np.ndarray
    size: tuple[int, int]
    pose: np.ndarray
    points: np.ndarray


def read_sparse_model(folder: Path) -> dict[str, SparseImage]:
    """Read the images of a binary model of COLMAP, by their names.

    Args:
        folder: Folder with cameras.bin and images.bin.

    Raises:
        InputError: If a file is missing or damaged, or a camera has another model than (simple)
            pinhole, (simple) radial or OpenCV.
    """
    cameras = _read_cameras(folder / "cameras.bin")
    return dict(sorted(_read_images(folder / "images.bin", cameras)))


def overlaps(images: Mapping[str, SparseImage]) -> np.ndarray:
    """Return the overlaps of all pairs of images, (N, N) float64, in the order of the names.

    The overlap is the number of common 3D points over the larger number of those of either image.
    """
    counts = np.array([len(image.points) for image in images.values()])
    common = np.zeros((len(counts), len(counts)))
    if not counts.sum():
        return common
    owners = np.repeat(np.arange(len(counts)), counts)
    points = np.concatenate([image.points for image in images.values()])
    order = np.argsort(points, kind="stable")
    starts = np.flatnonzero(np.diff(points[order], prepend=points.min() - 1))
    for track in np.split(owners[order], starts[1:]):
        common[np.ix_(track, track)] += 1
    return common / np.maximum(np.maximum.outer(counts, counts), 1)


def _read_cameras(path: Path) -> dict[int, tuple[np.ndarray, tuple[int, int]]]:
    """Return the camera matrix, and height and width, of each camera."""
    data, cameras = read_bytes(path), {}
    try:
        (count,), start = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            number, model, width, height = struct.unpack_from("<iiQQ", data, start)
            if model not in PARAMETERS:
                raise InputError(
                    f"{path}: camera {number} has the model {model} of COLMAP, which is not a "
                    "pinhole, radial or OpenCV camera; undistort the images"
                )
            focals, length = PARAMETERS[model]
            values = struct.unpack_from(f"<{length}d", data, start + 24)
            matrix = np.diag([values[0], values[focals - 1], 1])
            matrix[:2, 2] = values[focals : focals + 2]
            cameras[number] = (matrix, (height, width))
            start += 24 + 8 * length
    except struct.error as error:
        raise InputError(f"{path}: the file is cut off; copy it again") from error
    return cameras


def _read_images(
    path: Path, cameras: Mapping[int, tuple[np.ndarray, tuple[int, int]]]
) -> Iterator[tuple[str, SparseImage]]:
    data = read_bytes(path)
    try:
        (count,), start = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            _, *values, camera = struct.unpack_from("<I7dI", data, start)
            start += 64
            end = data.index(b"\0", start)
            name = data[start:end].decode()
            (observations,), start = struct.unpack_from("<Q", data, end + 1), end + 9
            observed = np.frombuffer(data, OBSERVATION, observations, start)
            start += observed.nbytes
            intrinsics, size = cameras[camera]
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = _rotation(values[:4]), values[4:]
            points = np.unique(observed["point"])
            yield (
                name,
                SparseImage(
                    intrinsics=intrinsics, size=size, pose=pose, points=points[points != NO_POINT]
                ),
            )
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: the file is cut off, or of other cameras; copy both again"
        ) from error


def _rotation(quaternion: list[float]) -> np.ndarray:
    """Return the rotation matrix (3, 3) of a quaternion w, x, y, z."""
    return Rotation.from_quat([*quaternion[1:], quaternion[0]]).as_matrix()
