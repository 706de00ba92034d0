"""Ordered frames, streamed as clips."""

from collections.abc import Collection, Sequence

from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from patchmatch.core.clips import Clip
from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.core.samplers import identity_collate
from patchmatch.frames.dataset import Clips, LiveClips
from patchmatch.io import LiveSequence, find_sequences, is_live

__all__ = ["Clips", "Frames", "LiveClips", "open_clips"]


def open_clips(
    source: str,
    frames: int,
    gaps: Sequence[int] = (1,),
    max_frames: int | None = None,
) -> tuple[Clips | LiveClips, tuple[str, ...]]:
    """Find the frames of a source; both kinds of answers are iterated in order.

    Args:
        source: Folder, folder of folders, video, camera or address, as ``Frames`` takes it.
        frames: Frames that a clip adds to those before it.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames of each sequence to read; None for all.

    Returns:
        The clips, and what was left out, for the user to read.

    Raises:
        InputError: If the source holds no pair of frames.
    """
    if is_live(source):
        sequence = LiveSequence(source)
        sequence.open()  # now, before anything is written
        return LiveClips(sequence, frames, gaps, max_frames), ()
    found = find_sequences(source)
    clips = Clips(found.sequences, frames, gaps, max_frames)
    apart = f"none of its frames lie {clips.gaps[0]} apart"
    if len(clips) == 0:
        raise InputError(f"{source}: {apart}; give smaller gaps or more frames")
    notes = [f"{sequence.name}: {apart}; left out" for sequence in clips.too_short]
    return clips, (*found.notes, *notes)


class Frames(PredictionData):
    """Frames of a folder, of a folder of folders, of a video, or as a camera or stream sends them.

    Args:
        predict_dir: Folder of ordered frames (frame_2 comes before frame_10), folder of such
            folders, video file, camera ("camera:0"), or address of a stream ("rtsp://host/path").
        batch_size: Frames that a clip adds to those before it; a clip is read, matched and
            written at once. Each frame brings a pair for each gap.
        num_workers: Processes that decode frames; 0 decodes in the main process, as a camera or
            stream always is.
        gaps: Distances in frames from the earlier to the later frame of a pair. [1, 2, 4] shows
            motion, too, that is slower than half a pixel a frame.
        max_frames: Stop after so many frames of each sequence; null reads all, and a camera
            until Ctrl+C.
    """

    batch_type = Clip

    def __init__(
        self,
        predict_dir: str = "data/images",
        batch_size: int = 8,
        num_workers: int = 0,
        gaps: tuple[int, ...] = (1,),
        max_frames: int | None = None,
    ) -> None:
        super().__init__(num_workers)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not gaps or min(gaps) < 1 or len(set(gaps)) < len(gaps):
            raise ValueError(f"gaps must be different numbers from 1 on, got {list(gaps)}")
        if max_frames is not None and max_frames < 2:
            raise ValueError(f"max_frames must be at least 2, got {max_frames}")
        self.predict_dir, self.batch_size = predict_dir, batch_size
        self.gaps, self.max_frames = tuple(sorted(gaps)), max_frames
        self.dataset: Clips | LiveClips | None = None

    def setup(self, stage: str) -> None:
        """Find the frames, or connect to where they come from."""
        if stage != "predict":
            raise InputError(
                "Frames have no ground truth: they can be predicted, not used to "
                f"{stage}; choose other data, --data ShiftedDigits for example"
            )
        _, processes = self.rank_and_world_size
        if processes > 1 and is_live(self.predict_dir):
            raise InputError(
                f"a camera or stream is read by one process, got {processes}; give "
                "--trainer.devices 1 --trainer.num_nodes 1"
            )
        self.dataset, notes = open_clips(
            self.predict_dir, self.batch_size, self.gaps, self.max_frames
        )
        for note in notes:
            rank_zero_warn(note)

    def skip(self, done: Collection[int]) -> None:
        """Leave out clips that a former run has done; the others keep their ``index``.

        Args:
            done: The ``index`` of each such clip. To be told after ``setup`` and before the first
                clip is asked for.

        Raises:
            InputError: If the source is a camera or a stream, which does not come again.
        """
        if done and isinstance(self.dataset, LiveClips):
            raise InputError(
                "a camera or stream cannot be continued, for its frames do not come again; "
                "write into another folder, or overwrite the former run"
            )
        super().skip(done)

    def predict_dataloader(self) -> DataLoader[Clip]:
        """Return the clips in order; of several processes, each gets clips of its own."""
        if isinstance(self.dataset, LiveClips):
            return DataLoader(self.dataset, batch_size=None, collate_fn=identity_collate)
        return super().predict_dataloader()
