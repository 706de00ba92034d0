"""Data module of stereo pairs from files, with the true disparity if there is one."""

from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.io import FolderSequence, read_csv, read_image, stretch_window, to_float
from patchmatch.io.disparity import read_disparity
from patchmatch.io.frames import safe_name, unique_name

FOLDERS = ("left", "right")
COLUMNS = ("left", "right")
TRUTH = "truth"


class StereoPair(TypedDict):
    """A rectified pair as a batch."""

    index: int  #: position of the pair in the run
    source: str  #: folder or table that lists the pairs
    name: str  #: unique within the run and safe in file names
    paths: tuple[str, str]  #: files of the images
    image0: Tensor  #: (1, C, H, W) float32 in [0, 1], left
    image1: Tensor  #: (1, C, H, W), right
    truth: np.ndarray | None  #: (H, W) float32 in pixels, NaN where unknown
    pairs: list[tuple[int, int]]  #: (0, 1); empty if the pair is skipped
    notes: list[str]  #: a line for each warning about the pair


class StereoPairDataset(Dataset[StereoPair]):
    """Reads stereo pairs; an unreadable pair is skipped, with the reason in its notes.

    Args:
        files: Left image, right image and true disparity of each pair.
        source: Folder or table that lists the pairs.
    """

    def __init__(self, files: list[tuple[Path, Path, Path | None]], source: str) -> None:
        self.files, self.source = files, source
        taken: set[str] = set()
        self.names = [unique_name(safe_name(left.stem), taken) for left, *_ in files]

    @property
    def input_files(self) -> list[Path]:
        """The images and disparities."""
        return [path for files in self.files for path in files if path]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> StereoPair:
        left, right, truth_path = self.files[index]
        tensors, truth, notes = [torch.zeros(1, 1, 0, 0)] * 2, None, []
        try:
            images = [read_image(path) for path in (left, right)]
            window = stretch_window(*images)
            arrays = [np.atleast_3d(to_float(image, window)) for image in images]
            tensors = [torch.from_numpy(a.transpose(2, 0, 1).copy())[None] for a in arrays]
            if truth_path is not None:
                truth = read_disparity(truth_path)
                if truth.shape != arrays[0].shape[:2]:
                    raise InputError(
                        f"{truth_path}: expected the size of the left image, "
                        f"{arrays[0].shape[1]}x{arrays[0].shape[0]}, got "
                        f"{truth.shape[1]}x{truth.shape[0]}; give its disparity"
                    )
        except InputError as error:
            notes.append(f"pair left out: {error}")
        return {
            "index": index,
            "source": self.source,
            "name": self.names[index],
            "paths": (str(left), str(right)),
            "image0": tensors[0],
            "image1": tensors[1],
            "truth": truth,
            "pairs": [] if notes else [(0, 1)],
            "notes": notes,
        }


class StereoPairs(PredictionData):
    """Rectified stereo pairs.

    Args:
        pairs: Folder with the subfolders left and right, whose images are paired in natural order,
            and optionally truth with disparities; or a table with the columns left, right and
            optionally truth, paths relative to the table. Disparities are .pfm files, 16-bit .png
            files (256 times the disparity, 0 unknown) or .npz files.
        num_workers: Worker processes of the data loader; 0 reads in the main process.
    """

    batch_type = StereoPair

    def __init__(self, pairs: str = "data/stereo", num_workers: int = 0) -> None:
        super().__init__(num_workers)
        self.pairs = pairs
        self.dataset: StereoPairDataset | None = None

    def setup(self, stage: str) -> None:
        """Find the pairs.

        Raises:
            InputError: If the stage is not predict, or files are missing.
        """
        if stage != "predict":
            raise InputError(
                f"{type(self).__name__}: supports predict only, not {stage}; give another --data"
            )
        path = Path(self.pairs)
        if path.is_file():
            files = _pairs_of_table(path)
        elif path.is_dir():
            files, notes = _pairs_of_folders(path)
            for note in notes:
                rank_zero_only(warn)(note)
        else:
            raise InputError(f"{path}: no such folder or table; check the spelling of --data.pairs")
        self.dataset = StereoPairDataset(files, self.pairs)


def _pairs_of_table(table: Path) -> list[tuple[Path, Path, Path | None]]:
    """Return the files of the rows of a table."""
    rows = read_csv(table, COLUMNS)
    if not rows:
        raise InputError(f"{table}: the table is empty; add a row for each pair")
    found = []
    for number, row in enumerate(rows, 1):
        left, right = (table.parent / row[name] for name in COLUMNS)
        truth = table.parent / row[TRUTH] if row.get(TRUTH) else None
        for path in filter(None, (left, right, truth)):
            if not path.is_file():
                raise InputError(f"{table}: row {number}: {path} does not exist; correct the path")
        found.append((left, right, truth))
    return found


def _pairs_of_folders(
    folder: Path,
) -> tuple[list[tuple[Path, Path, Path | None]], list[str]]:
    """Return the files of the subfolders in natural order, and warnings."""
    for name in FOLDERS:
        if not (folder / name).is_dir():
            raise InputError(
                f"{folder / name}: no such folder; put the left images into {FOLDERS[0]} and the "
                f"right ones into {FOLDERS[1]}, or give a table with the columns left,right"
            )
    lefts, rights = (FolderSequence(folder / name).paths for name in FOLDERS)
    if not lefts or len(lefts) != len(rights):
        raise InputError(
            f"{folder}: expected as many images in left as in right, at least one, got "
            f"{len(lefts)} and {len(rights)}; add the missing images"
        )
    truths = {p.stem: p for p in sorted((folder / TRUTH).glob("*")) if p.is_file()}
    notes = [
        f"{folder / TRUTH}: no image of left has the name of {path.name}, which is ignored"
        for stem, path in truths.items()
        if stem not in {left.stem for left in lefts}
    ]
    return [(a, b, truths.get(a.stem)) for a, b in zip(lefts, rights, strict=True)], notes
