"""Writer of matches: tables, arrays and images of each pair, and a table of all pairs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl

from patchmatch.core.image_pairs import ImagePair, ImagePairDataset
from patchmatch.draw import tensor_to_uint8
from patchmatch.io import write_csv, write_image
from patchmatch.pairs.arrays import write_match_arrays
from patchmatch.pairs.colmap import colmap_files, require_colmap_names, write_colmap
from patchmatch.pairs.drawing import draw_pair
from patchmatch.pairs.exports import Paths
from patchmatch.pairs.hloc import HLOC_FILES, require_hloc_names, write_hloc
from patchmatch.pairs.results import Matches
from patchmatch.pairs.rows import MATCHES, PAIRS, match_rows, pair_row
from patchmatch.pairs.verdict import explain
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.writer import PredictionWriter

FILES = ("matches.csv", "matches.npz")  # of a pair
PICTURES = (
    *("homography_matches.png", "panorama.png", "warped.png"),
    *("checkerboard.png", "epipolar_lines.png"),
)
MIN_PICTURE = 16  # pixels


class PairMatches(PredictionWriter):
    """Write the matches of each pair and what is estimated from them.

    Each pair has a folder pairs/{name}: matches.csv and matches.npz (points in pixels of the
    upright images, scores and inliers), homography_matches.png (both images with a line for each
    match; inliers are green, outliers orange), warped.png (image 0 in the frame of image 1, black
    outside), panorama.png (both blended) and checkerboard.png (both images in alternating squares).
    pairs.csv has a row for each pair: sizes, numbers of matches and inliers, seconds of matching,
    the homography from image 0 to image 1, aligned, the share of the overlap in which it aligns the
    images, and kind: overlapping; doubtful, if the inliers may be due to chance (Brown and Lowe
    2007) or the images are not aligned; or no_homography. With --model.epipolar, the fundamental or
    essential matrix is written to the same files, and the pose, where one is found, to matches.npz.
    epipolar_error is the symmetric epipolar distance, the mean distance in pixels of both points
    from the epipolar lines of each other; in pairs.csv its median over the inliers. The matrix then
    decides on kind, warnings and the colors of the matches, and epipolar_lines.png replaces
    panorama, warped and checkerboard if the scene is not flat.

    Args:
        output_path: Folder for the table, pairs and summary.json; created if missing.
        overwrite: Replace the results of an earlier run in that folder. Other files are kept.
        resume: Continue an interrupted run with the same settings. Without such a run, a new one
            is started; after a complete run there is nothing to do.
        pictures_size: Longest side in pixels of homography_matches.png; null writes no images.
        max_lines: Number of inliers and of outliers that homography_matches.png shows at most.
        panorama_size: Longest side in pixels of panorama.png.
        colmap: Also write colmap/database.db, a database of COLMAP with the keypoints and matches,
            to continue with its geometric_verifier and mapper, and the text files of its importers.
            Both exports are in pixels of the stored images, without EXIF orientation.
        hloc: Also write the folder hloc: features.h5, matches.h5 and pairs.txt in hloc's layout;
            requires image names without blanks.
    """

    tables: ClassVar = {"pairs": PAIRS}
    image_folder = "pairs"
    row_noun = "matched"
    batch_noun = "pairs"

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        pictures_size: int | None = 1600,
        max_lines: int = 150,
        panorama_size: int = 4096,
        colmap: bool = False,
        hloc: bool = False,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        for name, value in (("pictures_size", pictures_size), ("panorama_size", panorama_size)):
            if value is not None and value < MIN_PICTURE:
                raise ValueError(f"{name} must be at least {MIN_PICTURE} pixels, got {value}")
        if max_lines < 0:
            raise ValueError(f"max_lines must be at least 0, got {max_lines}")
        self.pictures_size, self.max_lines = pictures_size, max_lines
        self.panorama_size, self.colmap, self.hloc = panorama_size, colmap, hloc

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        files = getattr(dataset, "files", ())
        names = FILES if self.pictures_size is None else (*FILES, *PICTURES)
        yield from (f"{self.image_folder}/{pair.name}/{name}" for pair in files for name in names)
        colmap = colmap_files(_paths(dataset)) if self.colmap else ()
        yield from (f"colmap/{name}" for name in colmap)
        yield from (f"hloc/{name}" for name in (HLOC_FILES if self.hloc else ()))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check matcher, folder and the names to export before anything is computed.

        Raises:
            InputError: If an export cannot contain the name of an image, or as in the base class.
        """
        dataset = getattr(getattr(trainer, "datamodule", None), "dataset", None)
        if stage == "predict" and isinstance(dataset, ImagePairDataset):
            paths = _paths(dataset)
            if self.colmap:
                require_colmap_names(paths)
            if self.hloc:
                require_hloc_names(paths)
        super().setup(trainer, pl_module, stage)

    def write_batch(self, prediction: list[Matches], batch: ImagePair) -> Chunk:
        """Write the folder of a pair and return its table row."""
        rows: list[Row] = []
        for matches in prediction:
            if (reason := explain(matches)) is not None:
                self._warn(f"{batch['name']}: {reason}")
            if matches.pose is not None:
                self._warn_of_turned_cameras(batch)
            self._write_pair(matches, batch)
            rows.append(pair_row(matches, batch))
        return Chunk(rows={"pairs": rows, "files": [_files(batch)] if prediction else []})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write the exports, and return their folders and an image to look at first."""
        pairs, files = self.folder / self.image_folder, list(chunks.rows("files"))
        outputs = {}
        if self.pictures_size is not None:
            outputs["look at"] = pairs / str(files[0]["name"]) / "homography_matches.png"
        for name, write, enabled in (
            ("colmap", write_colmap, self.colmap),
            ("hloc", write_hloc, self.hloc),
        ):
            if enabled:
                outputs[name] = self.folder / name
                write(outputs[name], pairs, files)
        return outputs

    def _warn_of_turned_cameras(self, batch: ImagePair) -> None:
        for path, (height, width), orientation in zip(
            batch["paths"], batch["sizes"], batch["orientations"], strict=True
        ):
            if orientation != 1:
                self._warn(
                    f"{path}: is turned upright (EXIF orientation {orientation}); the intrinsics "
                    f"must be those of the upright image, {width}x{height} pixels"
                )

    def _write_pair(self, matches: Matches, batch: ImagePair) -> None:
        folder = self.folder / self.image_folder / batch["name"]
        write_csv(folder / "matches.csv", MATCHES, match_rows(matches))
        write_match_arrays(folder / "matches.npz", matches, batch, descriptors=self.hloc)
        if self.pictures_size is None:
            return
        self._draw_pair(folder, matches, batch)

    def _draw_pair(self, folder: Path, matches: Matches, batch: ImagePair) -> None:
        image0, image1 = (tensor_to_uint8(batch[name][0]) for name in ("image0", "image1"))
        images = draw_pair(
            matches,
            (image0, image1),
            batch["sizes"],
            max_lines=self.max_lines,
            size=self.pictures_size or 0,
            panorama_size=self.panorama_size,
        )
        for name, image in images.items():
            write_image(folder / f"{name}.png", image)
        if "checkerboard" in images and "panorama" not in images:
            self._warn(
                f"{batch['name']}: no panorama: the homography maps part of image 0 to infinity or "
                "enlarges it too much"
            )


def _paths(dataset: Any) -> list[Paths]:
    """Return the paths of both images of each pair of a dataset."""
    return [(str(p.images[0]), str(p.images[1])) for p in getattr(dataset, "files", ())]


def _files(batch: ImagePair) -> Row:
    return {"name": batch["name"], "image0": batch["paths"][0], "image1": batch["paths"][1]}
