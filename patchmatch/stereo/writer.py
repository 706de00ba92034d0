"""Writer of disparities: files, pictures, and a table of all pairs."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from patchmatch.core.errors import InputError
from patchmatch.draw import draw_heat, tensor_to_uint8
from patchmatch.draw.cost import draw_cost
from patchmatch.io import write_image
from patchmatch.io.atomic import write_bytes_atomic
from patchmatch.io.disparity import write_disparity_png, write_pfm
from patchmatch.io.ply import write_ply
from patchmatch.stereo.calibration import Calibration, read_calibration
from patchmatch.stereo.depth import depth_to_points, disparity_to_depth
from patchmatch.stereo.pairs import MATCHES, RECTIFIED, StereoPair
from patchmatch.stereo.results import ERRORS, VISIBLE_ERRORS, Disparity, disparity_errors
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import number
from patchmatch.writing.writer import PredictionWriter

COLUMNS = (
    *("name", "left", "right", "width", "height", "max_disparity", "candidates"),
    *("mean_disparity", "consistent", *ERRORS, *VISIBLE_ERRORS),
)
FILES = ("disparity.pfm", "disparity.png", "disparity_colors.png", "confidence.png")
ERROR_FILE = "error.png"
DEPTH_FILES = ("depth.npy", "depth.png", "points.ply")
AUTO = "auto"  # the calibration that the data set has for each pair
MAX_DEPTH = 255.9  # metres that depth.png can hold
MAX_ERROR = 5.0  # pixels: the lightest color of error.png


class Disparities(PredictionWriter):
    """Write the disparity of each pair.

    Each pair has a folder pairs/NAME, named after its left image: disparity.pfm, disparity.png (16
    bits, 256 times the disparity), disparity_colors.png with its scale, confidence.png (white is
    confident, black was filled in), and with a known truth error.png (up to 5 pixels, gray where
    the truth is unknown). pairs.csv has a row for each pair, with the errors where a truth is
    known. With a calibration also depth.npy (metres), depth.png (16 bits, 256 times the depth in
    metres, 0 unknown or beyond 255 m) and points.ply (metres, in colour, without filled pixels).
    Rectified images are left_rectified.png and right_rectified.png.

    Args:
        output_path: Folder for the table, pairs and summary.json; created if missing.
        calibration: Calibration of the cameras: OpenCV's .yml, Middlebury's or ETH3D's calib.txt,
            KITTI's calib_cam_to_cam.txt or calib/NNN.txt; or ``auto``, the file that a data set has
            for each pair.
        unit: Metres per unit of T in OpenCV's calibration.
        overwrite: Replace the files of an earlier run in that folder; other files are kept.
        resume: Continue an interrupted run with the same settings.
    """

    tables: ClassVar = {"pairs": COLUMNS}
    csv_formats: ClassVar = dict.fromkeys(
        (*ERRORS, *VISIBLE_ERRORS, "mean_disparity", "consistent"), ".4f"
    )
    image_folder = "pairs"
    row_noun = "disparity maps"
    batch_noun = "pairs"

    def __init__(
        self,
        output_path: str = "data/output",
        calibration: str | None = None,
        unit: float = 1.0,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        if not unit > 0:
            raise ValueError(f"unit must be above 0, got {unit}")
        if calibration not in (None, AUTO):
            read_calibration(calibration, unit=unit)  # an error now, not after the first pair
        self.calibration, self.unit = calibration, unit

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        self._require_rectified(dataset)
        yield from super().planned_files(dataset)
        for name in getattr(dataset, "names", ()):
            for file in (*FILES, ERROR_FILE, *DEPTH_FILES, *RECTIFIED):
                yield f"{self.image_folder}/{name}/{file}"

    def write_batch(self, prediction: list[Disparity], batch: StereoPair) -> Chunk:
        """Write the folder of a pair, and return its row of the table."""
        return Chunk(rows={"pairs": [self._write(found, batch) for found in prediction]})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Return the picture of the first pair."""
        first = next(chunks.rows("pairs"), None)
        if first is None:
            return {}
        return {"look at": self.folder / self.image_folder / str(first["name"]) / FILES[2]}

    def _write(self, found: Disparity, batch: StereoPair) -> Row:
        folder = self.folder / self.image_folder / batch["name"]
        disparity, truth = found.disparity, batch["truth"]
        write_pfm(folder / FILES[0], disparity)
        write_disparity_png(folder / FILES[1], disparity)
        write_image(folder / FILES[2], draw_heat(tensor_to_uint8(batch["image0"][0]), disparity))
        write_image(folder / FILES[3], np.rint(255 * found.confidence).astype(np.uint8))
        if batch["rectified"] is not None:
            for file, key in zip(RECTIFIED, ("image0", "image1"), strict=True):
                write_image(folder / file, tensor_to_uint8(batch[key][0]))
        if self.calibration is not None:
            self._write_depth(folder, found, batch)
        height, width = disparity.shape
        row: Row = {
            "name": batch["name"],
            "left": batch["paths"][0],
            "right": batch["paths"][1],
            "width": width,
            "height": height,
            "max_disparity": found.max_disparity,
            "candidates": found.candidates,
            "mean_disparity": number(float(disparity.mean())),
            "consistent": number(float(found.consistent.mean())),
            **dict.fromkeys((*ERRORS, *VISIBLE_ERRORS)),
        }
        if truth is not None:
            write_image(folder / ERROR_FILE, draw_cost(np.abs(disparity - truth), MAX_ERROR))
            errors = disparity_errors(disparity, truth, batch["visible"])
            row |= {name: number(value) for name, value in errors.items()}
        return row

    def _write_depth(self, folder: Path, found: Disparity, batch: StereoPair) -> None:
        height, width = found.disparity.shape
        calibration = self._calibration_of(batch).for_image(width, height)
        depth = disparity_to_depth(found.disparity, calibration)
        image = tensor_to_uint8(batch["image0"][0])
        image = np.broadcast_to(image if image.ndim == 3 else image[..., None], (height, width, 3))
        content = io.BytesIO()
        np.save(content, depth)
        write_bytes_atomic(folder / DEPTH_FILES[0], content.getvalue())
        write_disparity_png(folder / DEPTH_FILES[1], np.where(depth < MAX_DEPTH, depth, np.nan))
        points, colors = depth_to_points(depth, image, found.consistent, calibration)
        write_ply(folder / DEPTH_FILES[2], points, colors)

    def _calibration_of(self, batch: StereoPair) -> Calibration:
        """Return the calibration of the images of a pair."""
        if isinstance(batch["rectified"], Calibration):
            return batch["rectified"]
        path = self.calibration
        if path == AUTO:
            path = batch["calibration"]
        if path is None:
            raise InputError(
                f"{batch['name']}: no calibration beside the images; give --writer.calibration FILE"
            )
        return read_calibration(path, batch["paths"][0], self.unit)

    def _require_rectified(self, dataset: Any) -> None:
        """Raise InputError if the calibration is that of other images than those of the run."""
        rectify = getattr(dataset, "rectify", None)
        if self.calibration is None:
            return
        if rectify == MATCHES:
            raise InputError(
                f"--data.rectify {MATCHES}: focal length and baseline of these images are not "
                "known; give the calibration to --data.rectify, or no --writer.calibration"
            )
        if rectify is None and self.calibration != AUTO:
            calibration = read_calibration(self.calibration, unit=self.unit)
            if calibration.cameras is not None:
                raise InputError(
                    f"{self.calibration}: describes cameras before rectification; give it to "
                    "--data.rectify as well, or a calibration with P1 and P2 of rectified images"
                )
