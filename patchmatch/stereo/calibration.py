"""Calibration files of stereo cameras: OpenCV, Middlebury and ETH3D, KITTI."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.io.files import read_bytes

MILLIMETRE = 1e-3  # metres
GRAY_FOLDER = "image_0"  # of KITTI 2012: its cameras are 0 and 1, those of colour 2 and 3
#: Names of the same matrix in files of OpenCV's programs, in the order in which they are tried.
NAMES = {
    "K0": ("M1", "K1", "cameraMatrix1", "camera_matrix_1", "left_camera_matrix"),
    "K1": ("M2", "K2", "cameraMatrix2", "camera_matrix_2", "right_camera_matrix"),
    "D0": ("D1", "distCoeffs1", "dist_coeffs_1", "left_distortion_coefficients"),
    "D1": ("D2", "distCoeffs2", "dist_coeffs_2", "right_distortion_coefficients"),
    "R": ("R", "rotation"),
    "T": ("T", "translation"),
    "P0": ("P1",),
    "P1": ("P2",),
}


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Two cameras that are not rectified, as OpenCV's ``stereoCalibrate`` returns them.

    Attributes:
        matrices: (3, 3) of the left and of the right camera.
        distortions: (N,) coefficients of both.
        rotation: (3, 3), from the left to the right camera.
        translation: (3,), in metres.
    """

    matrices: tuple[np.ndarray, np.ndarray]
    distortions: tuple[np.ndarray, np.ndarray]
    rotation: np.ndarray
    translation: np.ndarray


class Calibration(NamedTuple):
    """What turns a disparity into a depth, baseline * focal / (disparity + offset).

    Attributes:
        focal: Focal length in pixels.
        centre: Principal point (x, y) of the left camera in pixels.
        offset: x of the principal point of the right camera minus that of the left one.
        baseline: Distance of the cameras in metres.
        size: Width and height of the images in pixels; None if the file does not say.
        cameras: The cameras before rectification; None if the images are rectified.
    """

    focal: float
    centre: tuple[float, float]
    offset: float
    baseline: float
    size: tuple[int, int] | None = None
    cameras: Cameras | None = None

    def for_image(self, width: int, height: int) -> "Calibration":
        """Return the calibration of images that were resized.

        Raises:
            InputError: If the aspect ratio differs.
        """
        if self.size is None or self.size == (width, height):
            return self
        x, y = width / self.size[0], height / self.size[1]
        if abs(x / y - 1) > 0.02:
            raise InputError(
                f"calibration of {self.size[0]}x{self.size[1]} pixels: the images have "
                f"{width}x{height}, another aspect ratio; give the calibration of these images"
            )
        return self._replace(
            focal=self.focal * x,
            centre=(self.centre[0] * x, self.centre[1] * y),
            offset=self.offset * x,
            size=(width, height),
        )


def read_calibration(path: str | Path, left: str | Path = "", unit: float = 1.0) -> Calibration:
    """Read a calibration file; its format is recognised by its content.

    Args:
        path: OpenCV's .yml, .yaml, .xml or .json with P1 and P2 (rectified images) or with M1, D1,
            M2, D2, R and T (unrectified ones); ``calib.txt`` of Middlebury or ETH3D; or KITTI's
            ``calib_cam_to_cam.txt`` or ``calib/NNN.txt``.
        left: The left image: KITTI has a gray and a colour pair of cameras.
        unit: Metres per unit of OpenCV's T; other formats define their unit.

    Raises:
        InputError: If the file cannot be read as a calibration.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        if path.suffix.lower() in (".yml", ".yaml", ".xml", ".json"):
            return _read_opencv(data, path.suffix.lower(), unit)
        text = data.decode("utf-8", "replace")
        if re.search(r"^cam0\s*=", text, re.MULTILINE):
            return _read_middlebury(text)
        return _read_kitti(text, Path(left).parent.name == GRAY_FOLDER)
    except (ValueError, KeyError, IndexError, cv2.error) as error:
        reason = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)[:80]
        raise InputError(
            f"{path}: cannot be read as a calibration ({reason}); expected OpenCV's .yml "
            "with P1 and P2 or M1, D1, M2, D2, R and T, Middlebury's calib.txt, or KITTI's"
        ) from error


def rectified_calibration(
    matrix0: np.ndarray, matrix1: np.ndarray, unit: float, size: tuple[int, int] | None = None
) -> Calibration:
    """Return the calibration of two (3, 4) projection matrices of rectified cameras.

    Args:
        matrix0: Of the left camera.
        matrix1: Of the right camera.
        unit: Metres per unit of the last column.
        size: Width and height of the images in pixels.

    Raises:
        ValueError: If the right camera is not to the right of the left one.
    """
    focal = float(matrix0[0, 0])
    shift = (matrix0[:2, 3] - matrix1[:2, 3]) / focal * unit
    if abs(shift[1]) > abs(shift[0]):
        raise ValueError("one camera is above the other; only horizontal pairs are supported")
    if shift[0] <= 0:
        raise ValueError("the right camera is to the left of the left one; exchange them")
    return Calibration(
        focal=focal,
        centre=(float(matrix0[0, 2]), float(matrix0[1, 2])),
        offset=float(matrix1[0, 2] - matrix0[0, 2]),
        baseline=float(shift[0]),
        size=size,
    )


def _read_opencv(data: bytes, suffix: str, unit: float) -> Calibration:
    text = data.decode("utf-8", "replace")
    flags = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
    if suffix == ".json":
        flags |= cv2.FILE_STORAGE_FORMAT_JSON
    storage = cv2.FileStorage(text, flags)

    def read(name: str) -> np.ndarray | None:
        for key in NAMES[name]:
            node = storage.getNode(key)
            if not node.empty() and (values := node.mat()) is not None:
                return np.asarray(values, float)
        return None

    size = None
    width, height = storage.getNode("image_width"), storage.getNode("image_height")
    if not width.empty() and not height.empty():
        size = (int(width.real()), int(height.real()))
    found = {name: read(name) for name in ("K0", "K1", "R", "T", "P0", "P1")}
    known = {name: values for name, values in found.items() if values is not None}
    if {"K0", "K1", "R", "T"} <= known.keys():
        matrices, rotation = (known["K0"], known["K1"]), known["R"]
        distortions = [np.zeros(5) if d is None else d.ravel() for d in (read("D0"), read("D1"))]
        if rotation.size == 3:
            rotation = cv2.Rodrigues(rotation)[0]
        cameras = Cameras(
            matrices=matrices,
            distortions=(distortions[0], distortions[1]),
            rotation=rotation.reshape(3, 3),
            translation=known["T"].ravel() * unit,
        )
        return Calibration(
            focal=float(matrices[0][0, 0]),
            centre=(float(matrices[0][0, 2]), float(matrices[0][1, 2])),
            offset=float(matrices[1][0, 2] - matrices[0][0, 2]),
            baseline=float(np.linalg.norm(cameras.translation)),
            size=size,
            cameras=cameras,
        )
    if not {"P0", "P1"} <= known.keys():
        raise ValueError("neither P1 and P2 nor M1, M2, R and T")
    return rectified_calibration(known["P0"], known["P1"], unit, size)


def _read_middlebury(text: str) -> Calibration:
    values = dict(re.findall(r"^(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE))
    first, second = (_numbers(values[name]).reshape(3, 3) for name in ("cam0", "cam1"))
    size = None
    if "width" in values and "height" in values:
        size = (int(values["width"]), int(values["height"]))
    offset = float(values["doffs"]) if "doffs" in values else float(second[0, 2] - first[0, 2])
    return Calibration(
        focal=float(first[0, 0]),
        centre=(float(first[0, 2]), float(first[1, 2])),
        offset=offset,
        baseline=float(values["baseline"]) * MILLIMETRE,
        size=size,
    )


def _read_kitti(text: str, gray: bool) -> Calibration:
    values = dict(re.findall(r"^(\w+):\s*(.+?)\s*$", text, re.MULTILINE))
    names = ("00", "01") if gray else ("02", "03")
    found = []
    for name in names:
        key = f"P_rect_{name}" if f"P_rect_{name}" in values else f"P{int(name)}"
        found.append(_numbers(values[key]).reshape(3, 4))
    size = None
    if f"S_rect_{names[0]}" in values:
        width, height = _numbers(values[f"S_rect_{names[0]}"])
        size = (int(width), int(height))
    return rectified_calibration(found[0], found[1], 1.0, size)


def _numbers(text: str) -> np.ndarray:
    return np.array([float(value) for value in re.split(r"[\s;,\[\]]+", text) if value])
