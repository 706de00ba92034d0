"""Writer of disparities: files, pictures, and a table of all pairs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from patchmatch.draw import draw_heat, tensor_to_uint8
from patchmatch.draw.cost import draw_cost
from patchmatch.io import write_image
from patchmatch.io.disparity import write_disparity_png, write_pfm
from patchmatch.stereo.pairs import StereoPair
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
MAX_ERROR = 5.0  # pixels: the lightest color of error.png


class Disparities(PredictionWriter):
    """Write the disparity of each pair.

    Each pair has a folder pairs/NAME, named after its left image: disparity.pfm, disparity.png (16
    bits, 256 times the disparity), disparity_colors.png with its scale, confidence.png (white is
    confident, black was filled in), and with a known truth error.png (up to 5 pixels, gray where
    the truth is unknown). pairs.csv has a row for each pair, with the errors where a truth is
    known.

    Args:
        output_path: Folder for the table, pairs and summary.json; created if missing.
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
        self, output_path: str = "data/output", overwrite: bool = False, resume: bool = False
    ) -> None:
        super().__init__(output_path, overwrite, resume)

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        for name in getattr(dataset, "names", ()):
            for file in (*FILES, ERROR_FILE):
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
