"""Ordered frames, streamed as clips."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset

from patchmatch.data.base import MatchingData
from patchmatch.data.clips import Clip
from patchmatch.errors import InputError
from patchmatch.io import FrameSequence, find_sequences, to_gray_float


class Clips(Dataset[Clip]):
    """Clips of ``pairs`` consecutive frame pairs; the last clip of a sequence may be shorter.

    Neighbouring clips share a frame, so every consecutive pair is in exactly one clip. A frame
    that cannot be read, or differs in size from most of its clip, is left out with its two pairs,
    and the clip says so in its notes.
    """

    def __init__(self, sequences: Sequence[FrameSequence], pairs: int) -> None:
        self.sequences, self.pairs = list(sequences), pairs
        self.starts = [
            (which, first)
            for which, sequence in enumerate(self.sequences)
            for first in range(0, len(sequence) - 1, pairs)
        ]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Clip:
        which, first = self.starts[index]
        sequence = self.sequences[which]
        last = min(first + self.pairs, len(sequence) - 1)
        pictures, notes = {}, []
        for number in range(first, last + 1):
            # the frame that two clips share is reported by the clip in which it comes last
            report = notes if number > first or number == 0 else []
            try:
                pictures[number] = sequence.read(number)
            except InputError as error:
                report.append(f"frame left out: {error}")
        sizes = Counter(picture.shape[:2] for picture in pictures.values())
        usual = max(sizes, key=sizes.__getitem__, default=(0, 0))
        numbers = [number for number, picture in pictures.items() if picture.shape[:2] == usual]
        for number in sorted(pictures.keys() - set(numbers)):
            height, width = pictures[number].shape[:2]
            notes.append(
                f"frame left out: {sequence.name} {sequence.frame_name(number)} is "
                f"{width}x{height}, its neighbours are {usual[1]}x{usual[0]}; make them alike"
            )
        gray = [to_gray_float(pictures[number]) for number in numbers]
        return {
            "source": sequence.name,
            "several": len(self.sequences) > 1,
            "frames": torch.from_numpy(np.stack(gray or [np.zeros((0, 0), np.float32)]))[:, None],
            "pictures": [pictures[number] for number in numbers],
            "names": [sequence.frame_name(number) for number in numbers],
            "times": [None] * len(numbers),
            "pairs": [(i, i + 1) for i, n in enumerate(numbers[:-1]) if numbers[i + 1] == n + 1],
            "notes": notes,
        }


class Frames(MatchingData):
    """Consecutive frames of a folder, of a folder of folders, or of a video.

    Args:
        predict_dir: Folder of ordered frames (frame_2 comes before frame_10), folder of such
            folders, or video file.
        batch_size: Frame pairs in a clip, which is read, matched and written at once.
        num_workers: Processes that decode frames; 0 decodes in the main process.
    """

    def __init__(
        self, predict_dir: str = "data/images", batch_size: int = 8, num_workers: int = 0
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.predict_dir, self.batch_size, self.num_workers = predict_dir, batch_size, num_workers
        self.clips: Clips | None = None

    def setup(self, stage: str) -> None:
        """Find the frames."""
        if stage != "predict":
            raise InputError(
                "Frames have no ground truth: they can be predicted, not used to "
                f"{stage}; choose other data, --data ShiftedDigits for example"
            )
        found = find_sequences(self.predict_dir)
        for note in found.notes:
            rank_zero_warn(note)
        self.clips = Clips(found.sequences, self.batch_size)

    def predict_dataloader(self) -> DataLoader[Clip]:
        """Return the clips in order."""
        assert self.clips is not None
        return DataLoader(
            self.clips,
            batch_size=None,  # a clip is a batch
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
        )


def _as_it_is(clip: Any) -> Any:
    """Keep pictures numpy arrays: only the gray frames travel to the device."""
    return clip
