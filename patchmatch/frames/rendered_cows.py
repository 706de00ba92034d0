"""Data module with rendered cows that move at known speeds, for prediction without a camera."""

import warnings

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.messages import inform
from patchmatch.frames.cows.files import check_folder, write_sequence
from patchmatch.frames.cows.sequence import check_options, render_sequence
from patchmatch.frames.data import Frames
from patchmatch.io import find_sequences


class RenderedCows(Frames):
    """Cows that walk over a pasture at known speeds; rendered unless the folder contains frames.

    The ground truth, truth.csv and truth_masks.npz, is written next to the frames. Nothing is
    downloaded.

    Args:
        predict_dir: Folder of the frames. Existing frames are used whatever the other arguments
            are; delete the folder to render new ones.
        frames: Number of frames to render, at least two.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        seed: Random seed; equal seeds give equal frames.
        noise: Standard deviation of the camera noise in gray levels.
        light: Amplitude of the brightness variation; 0.03 is plus or minus three percent.
        batch_size: New frames per clip. A clip is read, matched and written as one batch.
        num_workers: Processes that decode frames; 0 decodes in the main process.
        gaps: Distances in frames from the earlier to the later frame of a pair.
        max_frames: Frames to read; null reads all.
    """

    batch_type = Clip

    def __init__(
        self,
        predict_dir: str = "data/images/cows",
        frames: int = 12,
        height: int = 576,
        width: int = 768,
        seed: int = 0,
        noise: float = 2.0,
        light: float = 0.03,
        batch_size: int = 8,
        num_workers: int = 0,
        gaps: tuple[int, ...] = (1,),
        max_frames: int | None = None,
    ) -> None:
        super().__init__(predict_dir, batch_size, num_workers, gaps, max_frames)
        self.rendering = {
            "frames": frames,
            "height": height,
            "width": width,
            "seed": seed,
            "noise": noise,
            "light": light,
        }
        check_options(**self.rendering)
        vars(self).update(self.rendering)  # settings of the run, with which it may be resumed

    def prepare_data(self) -> None:
        """Render the frames if the folder contains none.

        Raises:
            InputError: If the folder cannot be written, or contains a single image.
        """
        try:
            find_sequences(self.predict_dir)
        except InputError:  # no folder yet, or no usable frames in it
            check_folder(self.predict_dir)
            sequence = render_sequence(**self.rendering)
            write_sequence(sequence, self.predict_dir)
            count, height, width = sequence.labels.shape
            cows = len(sequence.velocity) - 1
            inform(
                f"rendered {count} frames of {width}x{height} with {cows} cows and their ground "
                f"truth to {self.predict_dir}"
            )

    def setup(self, stage: str) -> None:
        """Find the frames, without the warning that the ground truth files are ignored."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*: ignored truth.csv, truth_masks.npz$")
            super().setup(stage)
