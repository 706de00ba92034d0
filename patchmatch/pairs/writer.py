"""Matches of pairs of pictures: tables, arrays, pictures, and a table of all pairs."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from patchmatch.core.image_pairs import ImagePair
from patchmatch.draw import draw_checkerboard, draw_matches, draw_panorama, tensor_to_uint8
from patchmatch.io import write_bytes_atomic, write_csv, write_image
from patchmatch.pairs.colmap import write_colmap
from patchmatch.pairs.hloc import write_hloc
from patchmatch.pairs.results import Matches
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import number
from patchmatch.writing.writer import PredictionWriter

MATCHES = ("x0", "y0", "x1", "y1", "score", "inlier", "epipolar_inlier")
ENTRIES = tuple(f"h{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))
EPIPOLAR = tuple(f"e{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))
PAIRS = (
    *("name", "image0", "image1", "width0", "height0", "width1", "height1", "kind", "matches"),
    *("inliers", "mean_score", "seconds", *ENTRIES, "epipolar_inliers", *EPIPOLAR),
)
FEWEST = 4  # matches that a homography takes


class PairMatches(PredictionWriter):
    """Write the matches of each pair, and what they say of the two pictures.

    Each pair has a folder pairs/{name}: matches.csv and matches.npz (places in pixels of the
    files, score, whether a match agrees with the homography), homography_matches.png (lines
    between the two pictures, those that agree told apart), panorama.png (image 0 laid into the
    frame of image 1, blended) and checkerboard.png (both in turn, square by square). pairs.csv has
    a row for each pair: sizes, number of matches and of those that agree, seconds spent on
    matching, the homography from image 0 to image 1, and its kind: overlapping; doubtful, where so
    few matches agree that chance would do (Brown and Lowe 2007); or no_homography. Where a
    fundamental or essential matrix was asked for (--model.epipolar), it is in the same places, and
    the pose in matches.npz.

    Args:
        output_path: Folder for the table, pairs and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        resume: Go on where a run with the same settings was stopped or killed. Where there is
            none it starts afresh; where the run has come to its end there is nothing to do.
        pictures_size: Longest side in pixels of homography_matches.png; null writes no pictures.
        max_lines: Lines of each kind that homography_matches.png shows at most.
        panorama_size: Longest side in pixels of panorama.png.
        colmap: Whether to write the folder colmap as well: features and matches as text, which
            COLMAP's feature_importer and matches_importer read.
        hloc: Whether to write the folder hloc as well: features.h5, matches.h5 and pairs.txt, as
            hloc has them.
    """

    tables: ClassVar = {"pairs": PAIRS}
    subfolders: ClassVar = {
        "pairs": re.compile(
            r"matches\.(csv|npz)|(homography_matches|panorama|checkerboard)\.png",
        ),
        "colmap": re.compile(r".*\.txt"),
        "hloc": re.compile(r"(features|matches)\.h5|pairs\.txt"),
    }
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
            if value is not None and value < 16:
                raise ValueError(f"{name} must be at least 16 pixels, got {value}")
        if max_lines < 0:
            raise ValueError(f"max_lines must be at least 0, got {max_lines}")
        self.pictures_size, self.max_lines = pictures_size, max_lines
        self.panorama_size, self.colmap, self.hloc = panorama_size, colmap, hloc

    def write_batch(self, prediction: list[Matches], batch: ImagePair) -> Chunk:
        """Write the folder of a pair, and return its row of the table."""
        rows: list[Row] = []
        for matches in prediction:
            if matches.homography is None:
                self._warn(
                    f"{batch['name']}: {len(matches)} matches, no homography: "
                    + ("it takes four" if len(matches) < FEWEST else "too few agree on one")
                )
            elif kind_of(matches) == "doubtful":
                self._warn(
                    f"{batch['name']}: only {int(_inliers(matches).sum())} of {len(matches)} "
                    "matches agree: the homography is doubtful, if they show the same thing at all"
                )
            self._write_pair(matches, batch)
            rows.append(_pair_row(matches, batch))
        return Chunk(rows={"pairs": rows, "files": [_files(batch)] if prediction else []})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write the exports, and name a picture to look at first."""
        pairs, files = self.folder / self.image_folder, list(chunks.rows("files"))
        made = {}
        if self.pictures_size is not None:
            made["look at"] = pairs / str(files[0]["name"]) / "homography_matches.png"
        for name, write, wanted in (
            ("colmap", write_colmap, self.colmap),
            ("hloc", write_hloc, self.hloc),
        ):
            if wanted:
                made[name] = self.folder / name
                write(made[name], pairs, files)
        return made

    def _write_pair(self, matches: Matches, batch: ImagePair) -> None:
        folder = self.folder / self.image_folder / batch["name"]
        write_csv(folder / "matches.csv", MATCHES, _match_rows(matches))
        _write_arrays(folder / "matches.npz", matches, batch, described=self.hloc)
        if self.pictures_size is None:
            return
        picture0, picture1 = (
            tensor_to_uint8(batch["image0"][0]),
            tensor_to_uint8(batch["image1"][0]),
        )
        # the pictures of a batch may be reduced, the matches are in pixels of the files
        scale0 = _scale(picture0, batch["sizes"][0])
        scale1 = _scale(picture1, batch["sizes"][1])
        lines = draw_matches(
            picture0,
            picture1,
            (matches.keypoints0.numpy() + 0.5) * scale0 - 0.5,
            (matches.keypoints1.numpy() + 0.5) * scale1 - 0.5,
            None if matches.inliers is None else matches.inliers.numpy(),
            self.max_lines,
            self.pictures_size,
        )
        write_image(folder / "homography_matches.png", lines)
        if matches.homography is None:
            return
        homography = _as_matrix(scale1) @ matches.homography.numpy()
        homography = homography @ np.linalg.inv(_as_matrix(scale0))
        panorama = draw_panorama(picture0, picture1, homography, self.panorama_size)
        if panorama is None:
            self._warn(f"{batch['name']}: no panorama: its homography tears image 0 apart")
        else:
            write_image(folder / "panorama.png", panorama)
        board = draw_checkerboard(picture0, picture1, homography)
        write_image(folder / "checkerboard.png", board)


def kind_of(matches: Matches) -> str:
    """Return overlapping, doubtful or no_homography.

    Two pictures of which ``n`` matches fall into the overlap show the same thing if more than
    8 + 0.3 n agree (Brown and Lowe 2007, equation 9); all matches stand for those in the overlap.
    """
    if matches.homography is None:
        return "no_homography"
    agree = int(_inliers(matches).sum())
    return "overlapping" if agree > 8 + 0.3 * len(matches) else "doubtful"


def _inliers(matches: Matches) -> np.ndarray:
    if matches.inliers is None:
        return np.zeros(len(matches), bool)
    return matches.inliers.numpy()


def _scale(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return by what x and y of the file become those of the picture."""
    return np.array([picture.shape[1] / size[1], picture.shape[0] / size[0]])


def _as_matrix(scale: np.ndarray) -> np.ndarray:
    """Return the scaling as a matrix that keeps the corner of the top-left pixel."""
    x, y = scale
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _match_rows(matches: Matches) -> list[Row]:
    agree = _inliers(matches).astype(int).tolist()
    epipolar: list[int | None] = [None] * len(matches)
    if matches.epipolar_inliers is not None:
        epipolar = matches.epipolar_inliers.int().tolist()
    rows: list[Row] = []
    for place0, place1, score, *inlier in zip(
        matches.keypoints0.tolist(),
        matches.keypoints1.tolist(),
        matches.score.tolist(),
        agree,
        epipolar,
        strict=True,
    ):
        values = (*(f"{value:.3f}" for value in (*place0, *place1)), f"{score:.4f}", *inlier)
        rows.append(dict(zip(MATCHES, values, strict=True)))
    return rows


def _write_arrays(path: Path, matches: Matches, batch: ImagePair, described: bool) -> None:
    """Write what was found as arrays of an .npz; a matrix that there is none of is of NaN."""
    content = io.BytesIO()
    arrays = {
        "keypoints0": matches.keypoints0.numpy().astype(np.float32),
        "keypoints1": matches.keypoints1.numpy().astype(np.float32),
        "score": matches.score.numpy().astype(np.float32),
        "inliers": _inliers(matches),
        "homography": _matrix(matches.homography, (3, 3)),
        "size0": np.array(batch["sizes"][0]),
        "size1": np.array(batch["sizes"][1]),
        "image0": np.array(Path(batch["paths"][0]).as_posix()),
        "image1": np.array(Path(batch["paths"][1]).as_posix()),
    }
    if matches.epipolar_inliers is not None:
        arrays["epipolar"] = _matrix(matches.epipolar, (3, 3))
        arrays["epipolar_inliers"] = matches.epipolar_inliers.numpy()
        arrays["pose"] = _matrix(matches.pose, (3, 4))
    if described and matches.descriptors0 is not None and matches.descriptors1 is not None:
        arrays["descriptors0"] = matches.descriptors0.numpy().astype(np.float16)
        arrays["descriptors1"] = matches.descriptors1.numpy().astype(np.float16)
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes_atomic(path, content.getvalue())


def _matrix(values: Tensor | None, shape: tuple[int, int]) -> np.ndarray:
    return np.full(shape, np.nan) if values is None else values.numpy()


def _files(batch: ImagePair) -> Row:
    return {"name": batch["name"], "image0": batch["paths"][0], "image1": batch["paths"][1]}


def _pair_row(matches: Matches, batch: ImagePair) -> Row:
    """Return the row of a pair; what is not known is None."""
    (height0, width0), (height1, width1) = batch["sizes"]
    return {
        "name": batch["name"],
        "image0": batch["names"][0],
        "image1": batch["names"][1],
        "width0": width0,
        "height0": height0,
        "width1": width1,
        "height1": height1,
        "kind": kind_of(matches),
        "matches": len(matches),
        "inliers": int(_inliers(matches).sum()),
        "mean_score": number(matches.score.mean().item()) if len(matches) else None,
        "seconds": None if matches.seconds is None else number(matches.seconds, 3),
        **_entries(ENTRIES, matches.homography),
        "epipolar_inliers": (
            None if matches.epipolar_inliers is None else int(matches.epipolar_inliers.sum())
        ),
        **_entries(EPIPOLAR, matches.epipolar),
    }


def _entries(names: Sequence[str], matrix: Tensor | None) -> Row:
    """Return the entries of a matrix row by row; None of one that there is not."""
    if matrix is None:
        return dict.fromkeys(names)
    values = [float(f"{value:.9g}") for value in matrix.flatten().tolist()]
    return dict(zip(names, values, strict=True))
