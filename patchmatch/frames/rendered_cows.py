"""Cows at known speeds, rendered when they are first needed: frames to predict without a camera."""

import warnings

from pytorch_lightning.utilities import rank_zero_info

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.frames.cows.files import check_folder, write_sequence
from patchmatch.frames.cows.sequence import check_options, render_sequence
from patchmatch.frames.data import Frames
from patchmatch.io import find_sequences


class RenderedCows(Frames):
    """Cows that walk over a pasture at known speeds, rendered unless the folder holds frames.

    Beside the frames lies their truth: truth.csv and truth_masks.npz. Nothing is downloaded.

    Args:
        predict_dir: Folder of the frames. Where it holds some already, those are used, whatever
            the other arguments say; remove it to render others.
        frames: How many frames to render, at least two.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        seed: Same seed, same frames.
        noise: Standard deviation of the camera noise in grey levels.
        light: Part by which the light rises and falls; 0.03 is three percent.
        batch_size: Frame pairs in a clip, which is read, matched and written at once.
        num_workers: Processes that decode frames; 0 decodes in the main process.
        gaps: Distances in frames from the earlier to the later frame of a pair.
        max_frames: Stop after so many frames; null reads all.
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
        check_options(frames, height, width, seed, noise, light)
        self.rendering = {
            "frames": frames,
            "height": height,
            "width": width,
            "seed": seed,
            "noise": noise,
            "light": light,
        }

    def prepare_data(self) -> None:
        """Render the frames unless they are there.

        Raises:
            InputError: If the folder cannot be written, or holds a single picture.
        """
        try:
            find_sequences(self.predict_dir)
        except InputError:  # nothing there yet, or nothing that can be used
            check_folder(self.predict_dir)
            sequence = render_sequence(**self.rendering)
            write_sequence(sequence, self.predict_dir)
            count, height, width = sequence.labels.shape
            cows = len(sequence.velocity) - 1
            rank_zero_info(
                f"rendered {count} frames of {width}x{height} with {cows} cows and their truth "
                f"to {self.predict_dir}"
            )

    def setup(self, stage: str) -> None:
        """Find the frames; that the truth beside them is no frame is no news."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*: ignored truth.csv, truth_masks.npz$")
            super().setup(stage)
