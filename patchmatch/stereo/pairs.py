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
from patchmatch.io import read_image, stretch_window, to_float
from patchmatch.stereo.layouts import StereoFiles, find_stereo_pairs, read_truth


class StereoPair(TypedDict):
    """A rectified pair as a batch."""

    index: int  #: position of the pair in the run
    source: str  #: folder or table that lists the pairs
    name: str  #: unique within the run and safe in file names
    paths: tuple[str, str]  #: files of the images
    image0: Tensor  #: (1, C, H, W) float32 in [0, 1], left
    image1: Tensor  #: (1, C, H, W), right
    truth: np.ndarray | None  #: (H, W) float32 in pixels, NaN where unknown
    visible: np.ndarray | None  #: (H, W) bool, known and not occluded; None without a mask
    calibration: str | None  #: file with the calibration, if the layout has one
    pairs: list[tuple[int, int]]  #: (0, 1); empty if the pair is skipped
    notes: list[str]  #: a line for each warning about the pair


class StereoPairDataset(Dataset[StereoPair]):
    """Reads stereo pairs; an unreadable pair is skipped, with the reason in its notes.

    Args:
        files: Files of each pair.
        source: Folder or table that lists the pairs.
    """

    def __init__(self, files: list[StereoFiles], source: str) -> None:
        self.files, self.source = files, source
        self.names = [pair.name for pair in files]

    @property
    def input_files(self) -> list[Path]:
        """The images, disparities, masks and calibrations."""
        return [path for pair in self.files for path in pair.paths]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> StereoPair:
        pair = self.files[index]
        tensors, truth, visible, notes = [torch.zeros(1, 1, 0, 0)] * 2, None, None, []
        try:
            images = [read_image(path) for path in (pair.left, pair.right)]
            window = stretch_window(*images)
            arrays = [np.atleast_3d(to_float(image, window)) for image in images]
            tensors = [torch.from_numpy(a.transpose(2, 0, 1).copy())[None] for a in arrays]
            height, width = arrays[0].shape[:2]
            if (known := read_truth(pair, (height, width))) is not None:
                truth, visible = known
                visible = None if pair.visible is None else visible
        except InputError as error:
            notes.append(f"pair left out: {error}")
        return {
            "index": index,
            "source": self.source,
            "name": self.names[index],
            "paths": (str(pair.left), str(pair.right)),
            "image0": tensors[0],
            "image1": tensors[1],
            "truth": truth,
            "visible": visible,
            "calibration": None if pair.calibration is None else str(pair.calibration),
            "pairs": [] if notes else [(0, 1)],
            "notes": notes,
        }


class StereoPairs(PredictionData):
    """Rectified stereo pairs.

    Args:
        pairs: Folder with the subfolders left and right, whose images are paired in natural order,
            and optionally truth with disparities; or a table with the columns left, right and
            optionally truth, paths relative to the table. Disparities are .pfm files, 16-bit .png
            files (256 times the disparity, 0 unknown) or .npz files. Or the folder of SceneFlow,
            KITTI 2012 or 2015, Middlebury 2014 or 2021 or ETH3D in its own layout.
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
        files, notes = find_stereo_pairs(self.pairs)
        for note in notes:
            rank_zero_only(warn)(note)
        self.dataset = StereoPairDataset(files, self.pairs)
