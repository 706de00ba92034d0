"""Data module that reads ordered frames as clips."""

from collections.abc import Collection, Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from patchmatch.core.clips import Clip
from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.core.samplers import identity_collate
from patchmatch.frames.dataset import Clips, LiveClips
from patchmatch.io import LiveSequence, find_sequences, is_live

DEFAULT_FOLDER = "data/images"


def open_clips(
    source: str,
    frames: int,
    gaps: Sequence[int] = (1,),
    max_frames: int | None = None,
) -> tuple[Clips | LiveClips, tuple[str, ...]]:
    """Open the frames of a source as a dataset of clips.

    Args:
        source: Folder, folder of folders, video, camera or stream address, see ``Frames``.
        frames: New frames of a clip.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames of each sequence to read; None reads all.

    Returns:
        The clips, which iterate in order, and notes on ignored files. The first clip has a note
        for each folder, video or sequence that is skipped.

    Raises:
        InputError: If the source contains no frame pair.
    """
    if is_live(source):
        sequence = LiveSequence(source)
        sequence.open()  # fail before any output is written
        return LiveClips(sequence, frames, gaps, max_frames), ()
    found = find_sequences(source)
    clips = Clips(found.sequences, frames, gaps, max_frames, found.skipped)
    if len(clips) == 0:
        raise InputError(
            f"{source}: no two of its frames are {clips.gaps[0]} apart; give smaller gaps or more "
            "frames"
        )
    return clips, found.notes


class Frames(PredictionData):
    """Ordered frames from a folder, a folder of folders, a video, a camera or a stream.

    Args:
        predict_dir: Folder of ordered frames (frame_2 comes before frame_10), folder of such
            folders and of videos, video file, camera ("camera:0"), or stream address ("rtsp://host/path").
        batch_size: New frames per clip. A clip is read, matched and written as one batch; each
            frame adds one pair per gap.
        num_workers: Processes that decode frames; 0 decodes in the main process. Cameras and
            streams are always decoded in the main process.
        gaps: Distances in frames from the earlier to the later frame of a pair. [1, 2, 4] also
            detects motion slower than half a pixel per frame.
        max_frames: Frames of each sequence to read. null reads all; a camera then runs until
            Ctrl+C.
    """

    batch_type = Clip

    def __init__(
        self,
        predict_dir: str = DEFAULT_FOLDER,
        batch_size: int = 8,
        num_workers: int = 0,
        gaps: tuple[int, ...] = (1,),
        max_frames: int | None = None,
    ) -> None:
        super().__init__(num_workers)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not gaps or min(gaps) < 1 or len(set(gaps)) < len(gaps):
            raise ValueError(f"gaps must be distinct integers of at least 1, got {list(gaps)}")
        if max_frames is not None and max_frames < 2:
            raise ValueError(f"max_frames must be at least 2, got {max_frames}")
        self.predict_dir, self.batch_size = predict_dir, batch_size
        self.gaps, self.max_frames = tuple(sorted(gaps)), max_frames
        self.dataset: Clips | LiveClips | None = None

    def setup(self, stage: str) -> None:
        """Find the frames, or connect to the camera or stream."""
        if stage != "predict":
            raise InputError(
                f"Frames has no ground truth and supports predict only, not {stage}; choose other "
                "data, for example --data ShiftedDigits"
            )
        if self.predict_dir == DEFAULT_FOLDER and not Path(DEFAULT_FOLDER).exists():
            raise InputError(
                f"{DEFAULT_FOLDER}: no such folder; give --data.predict_dir FOLDER_OR_VIDEO"
            )
        _, processes = self.rank_and_world_size
        if processes > 1 and is_live(self.predict_dir):
            raise InputError(
                f"{self.predict_dir}: a camera or stream needs exactly one process, got "
                f"{processes}; give --trainer.devices 1 --trainer.num_nodes 1"
            )
        self.dataset, notes = open_clips(
            self.predict_dir, self.batch_size, self.gaps, self.max_frames
        )
        for note in notes:
            rank_zero_only(warn)(note)

    def skip(self, done: Collection[int]) -> None:
        """Skip clips that an earlier run has finished; the other clips keep their ``index``.

        Args:
            done: The ``index`` of each such clip. Call this after ``setup`` and before the first
                clip is read.

        Raises:
            InputError: If the source is a camera or a stream, which cannot be read again.
        """
        if done and isinstance(self.dataset, LiveClips):
            raise InputError(
                f"{self.predict_dir}: a run on a camera or stream cannot be resumed; choose "
                "another output folder, or overwrite the earlier run"
            )
        super().skip(done)

    def predict_dataloader(self) -> DataLoader[Clip]:
        """Return the clips in order; each process gets its own clips."""
        if isinstance(self.dataset, LiveClips):
            return DataLoader(self.dataset, batch_size=None, collate_fn=identity_collate)
        return super().predict_dataloader()
