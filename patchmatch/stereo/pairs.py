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
from patchmatch.stereo.calibration import Calibration, read_calibration
from patchmatch.stereo.checks import require_pair
from patchmatch.stereo.layouts import StereoFiles, find_stereo_pairs, read_images, read_truth
from patchmatch.stereo.rectification import rectify_by_calibration, rectify_by_matches

MATCHES = "matches"  # rectify from keypoint matches
RECTIFIED = ("left_rectified.png", "right_rectified.png")


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
    rectified: Calibration | str | None  #: by a calibration, here the result; by ``MATCHES``; not
    pairs: list[tuple[int, int]]  #: (0, 1); empty if the pair is skipped
    notes: list[str]  #: a line for each warning about the pair


class StereoPairDataset(Dataset[StereoPair]):
    """Reads stereo pairs; an unreadable pair is skipped, with the reason in its notes.

    Args:
        files: Files of each pair.
        source: Folder or table that lists the pairs.
        rectify: ``matches``, or a file with the calibration of cameras that are not rectified.
        unit: Metres per unit of OpenCV's calibration.
    """

    def __init__(
        self,
        files: list[StereoFiles],
        source: str,
        rectify: str | None = None,
        unit: float = 1.0,
    ) -> None:
        self.files, self.source, self.rectify = files, source, rectify
        self.calibration: Calibration | None = None
        if rectify not in (None, MATCHES):
            self.calibration = read_calibration(rectify, unit=unit)
            if self.calibration.cameras is None:
                raise InputError(
                    f"{rectify}: expected cameras before rectification (M1, D1, M2, D2, R, T), got "
                    f"those of rectified images; remove --data.rectify, or give {MATCHES}"
                )
        self.names = [pair.name for pair in files]

    @property
    def input_files(self) -> list[Path]:
        """The images, disparities, masks and calibrations."""
        return [path for pair in self.files for path in pair.paths]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> StereoPair:
        pair = self.files[index]
        tensors, truth, visible, rectified = [torch.zeros(1, 1, 0, 0)] * 2, None, None, None
        notes: list[str] = []
        is_usable = True
        try:
            arrays = read_images(pair)
            tensors = [torch.from_numpy(a.transpose(2, 0, 1).copy())[None] for a in arrays]
            height, width = arrays[0].shape[:2]
            if (known := read_truth(pair, (height, width))) is not None:
                truth, visible = known
                visible = None if pair.visible is None else visible
            if self.rectify is not None:
                require_pair(tensors[0], tensors[1])
                tensors, rectified, note = self._rectify(*tensors)
                notes.append(f"{self.names[index]}: {note}")
                if truth is not None:
                    truth = visible = None
                    notes.append(
                        f"{self.names[index]}: the truth was ignored: it is not of the rectified "
                        "images"
                    )
        except InputError as error:
            is_usable = False
            notes.append(f"pair left out: {self.names[index]}: {error}")
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
            "rectified": rectified,
            "pairs": [(0, 1)] if is_usable else [],
            "notes": notes,
        }

    def _rectify(
        self, image0: Tensor, image1: Tensor
    ) -> tuple[list[Tensor], Calibration | str, str]:
        """Return the rectified images, the calibration or ``MATCHES``, and a note."""
        if self.calibration is None:
            image0, image1, count = rectify_by_matches(image0, image1)
            note = f"rectified from {count} keypoint matches; disparity refers to {RECTIFIED[0]}"
            return [image0, image1], MATCHES, note
        image0, image1, calibration = rectify_by_calibration(image0, image1, self.calibration)
        note = f"rectified from {self.rectify}; disparity refers to {RECTIFIED[0]}"
        return [image0, image1], calibration, note


class StereoPairs(PredictionData):
    """Rectified stereo pairs.

    Args:
        pairs: Two images as LEFT,RIGHT; a folder with the subfolders left and right, whose images
            are paired in natural order, and optionally truth with disparities; or a table with the
            columns left, right and optionally truth, paths relative to the table. Disparities are
            .pfm files, 16-bit .png files (256 times the disparity, 0 unknown) or .npz files. Or the
            folder of SceneFlow, KITTI 2012 or 2015, Middlebury 2014 or 2021 or ETH3D in its own
            layout.
        rectify: Rectify the images first: ``matches`` does it from matched keypoints, the name of a
            file from OpenCV's calibration (.yml with M1, D1, M2, D2, R and T).
        unit: Metres per unit of T in OpenCV's calibration.
        num_workers: Worker processes of the data loader; 0 reads in the main process.
    """

    batch_type = StereoPair

    def __init__(
        self,
        pairs: str = "data/stereo",
        rectify: str | None = None,
        unit: float = 1.0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(num_workers)
        if not unit > 0:
            raise ValueError(f"unit must be above 0, got {unit}")
        self.pairs, self.rectify, self.unit = pairs, rectify, unit
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
        self.dataset = StereoPairDataset(files, self.pairs, self.rectify, self.unit)
