"""Runs of a writer over five clips, with a matcher that can fail at one of them."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from program_runs import quiet_trainer, without_times
from torch.utils.data import DataLoader

from patchmatch.core.clips import Clip
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.writer import ChangeBoxes


def clip(index: int) -> Clip:
    """Return three frames of noise of 24 rows and 30 columns, in two pairs."""
    rng = np.random.default_rng(index)
    return {
        "index": index,
        "source": "cows",
        "several": False,
        "frames": torch.zeros(3, 1, 24, 30),
        "images": [rng.integers(0, 256, (24, 30), np.uint8) for _ in range(3)],
        "names": [f"f{2 * index + number:03d}" for number in range(3)],
        "times": [0.5 * (2 * index + number) for number in range(3)],
        "pairs": [(0, 1), (1, 2)],
        "notes": [f"note {index}"],
    }  # type: ignore[return-value]


class FiveClips(pl.LightningDataModule):
    """Five clips, except those to skip."""

    count = 5

    def __init__(self, batch_size: int = 2, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.dataset = [clip(index) for index in range(self.count)]

    def skip(self, done: Collection[int]) -> None:
        """Leave out the clips of these indices."""
        self.dataset = [clip for clip in self.dataset if clip["index"] not in done]

    def predict_dataloader(self) -> DataLoader:
        """Return the clips in order."""
        return DataLoader(self.dataset, batch_size=None, collate_fn=lambda batch: batch)


class FailingMatcher(pl.LightningModule):
    """Finds two blocks in every pair, records the clips it gets, and can fail at one of them."""

    def __init__(self, fail_at: int = -1, error: type[BaseException] = RuntimeError) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, 2))
        self._stop = (fail_at, error)  # not a setting of the run
        self.seen: list[int] = []

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        """Return two blocks for each pair, or fail."""
        index = batch["index"]  # type: ignore[typeddict-item]
        if index == self._stop[0]:
            raise self._stop[1]("in the middle")
        self.seen.append(index)
        return [
            FrameChanges(
                source=batch["source"],
                frame0=batch["names"][first],
                frame1=batch["names"][second],
                boxes=torch.tensor([[0, 0, 8, 8], [10 + index, 5, 18 + index, 13]]),
                displacement=torch.tensor([[1.0, 0.0], [index + 1.25, first]]),
                kind=torch.tensor([Kind.ONE_PIXEL, Kind.LARGER]),
                score=torch.tensor([0.5, 0.75]),
                matched=torch.tensor([True, True]),
                confidence=torch.tensor([0.9, 0.8]),
                time0=batch["times"][first],
                time1=batch["times"][second],
            )
            for first, second in batch["pairs"]
        ]


def predict(
    folder: Path, model: FailingMatcher | None = None, batch_size: int = 2, **options: object
) -> FailingMatcher:
    """Predict all clips into a folder, and return the matcher."""
    model = model or FailingMatcher()
    writer = ChangeBoxes(str(folder), **{"formats": ["jsonl", "flo", "npz"]} | options)
    quiet_trainer(writer).predict(model, datamodule=FiveClips(batch_size), return_predictions=False)
    return model


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by name; without the seconds of the summary."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if "summary.json" in found:
        found["summary.json"] = without_times(found["summary.json"]).encode()
    return found
