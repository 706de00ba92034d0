"""Datasets that split frame sequences into clips; every frame pair is in exactly one clip."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.io import FrameSequence, LiveSequence, to_gray_float


class Clips(Dataset[Clip]):
    """Clips of sequences with random access.

    A pair consists of a frame and the frame ``gap`` positions before it. Each clip has ``frames``
    later frames (the last clip of a sequence may have fewer) and also reads their earlier
    partners. Unreadable frames are skipped with their pairs, and the two frames of a pair always
    have the same size. The clip that contains such a frame as a later frame reports it in its
    notes.

    Args:
        sequences: The sequences to read.
        frames: Later frames per clip.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames of each sequence to read; None reads all.
        notes: Notes on skipped files and folders; the first clip reports them, and also which
            sequences are too short for a pair.
    """

    def __init__(
        self,
        sequences: Sequence[FrameSequence],
        frames: int,
        gaps: Sequence[int] = (1,),
        max_frames: int | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.sequences, self.gaps = list(sequences), sorted(gaps)
        self._later: list[tuple[int, range]] = []  # of each clip: sequence index, later frames
        for which, sequence in enumerate(self.sequences):
            count = min(len(sequence), max_frames or len(sequence))
            for first in range(self.gaps[0], count, frames):
                self._later.append((which, range(first, min(first + frames, count))))
        used = {which for which, _ in self._later}
        too_short = [s.name for which, s in enumerate(self.sequences) if which not in used]
        reason = f"no two of its frames are {self.gaps[0]} apart; sequence skipped"
        self._notes = [*notes, *(f"{name}: {reason}" for name in too_short)]
        self._which: int | None = None  # index of the sequence that the cache belongs to
        self._cache: dict[int, np.ndarray | InputError] = {}  # recent frames by number

    @property
    def input_files(self) -> list[Path]:
        """The files of the frames."""
        return [path for sequence in self.sequences for path in sequence.files]

    def later_frames(self) -> Iterator[tuple[str, str]]:
        """Yield source and name of each later frame."""
        for which, later in self._later:
            sequence = self.sequences[which]
            yield from ((sequence.name, sequence.frame_name(number)) for number in later)

    def __len__(self) -> int:
        return len(self._later)

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Clip:
        which, later = self._later[index]
        sequence = self.sequences[which]
        if which != self._which:
            self._switch_sequence(which)
        for number in range(max(0, later.start - self.gaps[-1]), later.stop):
            if number not in self._cache:
                try:
                    self._cache[number] = sequence.read(number)
                except InputError as error:
                    self._cache[number] = error
        earlier = {number - gap for number in later for gap in self.gaps if number >= gap}
        frames = {number: self._cache[number] for number in sorted(earlier.union(later))}
        # Report an unreadable frame once: in the clip where it is a later frame. The first frames
        # of a sequence are never later frames, so the clip of their first pair reports them.
        notes = [
            f"frame skipped: {frame}"
            for number, frame in frames.items()
            if isinstance(frame, InputError)
            and (number if number >= self.gaps[0] else number + self.gaps[0]) in later
        ]
        is_first = index == 0 or self._later[index - 1][0] != which
        if is_first:
            notes = [*sequence.notes, *notes]
        if index == 0:
            notes = [*self._notes, *notes]
        notes += self._size_notes(sequence, range(1 if is_first else later.start, later.stop))
        self._trim_cache(later.stop - self.gaps[-1])
        by_file = len(sequence.files) == len(sequence) > 1  # else the file is a video
        return make_clip(
            index=index,
            source=sequence.name,
            several=len(self.sequences) > 1,
            images={n: frame for n, frame in frames.items() if isinstance(frame, np.ndarray)},
            later=later,
            gaps=self.gaps,
            name_of=sequence.frame_name,
            file_of=lambda number: sequence.files[number].name if by_file else None,
            time_of=sequence.time,
            notes=notes,
        )

    def _size_notes(self, sequence: FrameSequence, numbers: range) -> list[str]:
        """Return a note for each frame whose size differs from the last readable frame's."""
        notes = []
        for number in numbers:
            before = (self._cache.get(number - back) for back in range(1, self.gaps[-1] + 1))
            previous = next((frame for frame in before if isinstance(frame, np.ndarray)), None)
            frame = self._cache[number]
            if previous is None or not isinstance(frame, np.ndarray):
                continue
            if frame.shape[:2] != previous.shape[:2]:
                notes.append(_size_change_note(sequence, number, frame.shape))
        return notes

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the cached frames: each worker process reads its own."""
        return self.__dict__ | {"_which": None, "_cache": {}}

    def _switch_sequence(self, which: int) -> None:
        """Close the current sequence, so that at most one video is open, and clear the cache."""
        if self._which is not None:
            self.sequences[self._which].close()
        self._which, self._cache = which, {}

    def _trim_cache(self, oldest: int) -> None:
        """Keep copies of the frames that the next clip reads, so that each is decoded once."""
        self._cache = {
            number: frame.copy() if isinstance(frame, np.ndarray) else frame
            for number, frame in self._cache.items()
            if number >= oldest
        }


class LiveClips(IterableDataset[Clip]):
    """Clips of a camera or stream, each yielded as soon as its frames have arrived.

    The pairs are the same as in ``Clips``. A new clip begins where the frame size changes. If the
    source ends with an error, the last clip reports it in its notes.

    Args:
        sequence: The camera or stream to read.
        frames: Later frames per clip.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames to read; None reads until the source ends.
    """

    def __init__(
        self,
        sequence: LiveSequence,
        frames: int,
        gaps: Sequence[int] = (1,),
        max_frames: int | None = None,
    ) -> None:
        self.sequence, self.frames, self.gaps = sequence, frames, sorted(gaps)
        self.max_frames = max_frames

    def __iter__(self) -> Iterator[Clip]:
        images: dict[int, np.ndarray] = {}
        times: dict[int, float | None] = {}
        index, number, first = 0, 0, self.gaps[0]  # of the clip, of the frame, first later frame
        notes: list[str] = []

        def clip() -> Clip:
            return make_clip(
                index=index,
                source=self.sequence.name,
                several=False,
                images=images,
                later=range(first, number),
                gaps=self.gaps,
                name_of=self.sequence.frame_name,
                file_of=lambda _: None,
                time_of=times.__getitem__,
                notes=notes,
            )

        try:
            for time, image in itertools.islice(self.sequence.frames(), self.max_frames):
                size_changes = images and image.shape != images[number - 1].shape
                if size_changes or number - first == self.frames:
                    if number > first:
                        yield clip()
                        index, notes = index + 1, []
                    if size_changes:
                        notes.append(_size_change_note(self.sequence, number, image.shape))
                    oldest = number if size_changes else number - self.gaps[-1]
                    images = {n: kept.copy() for n, kept in images.items() if n >= oldest}
                    times = {n: times[n] for n in images}
                    first = max(first, number)
                images[number], times[number] = image, time
                number += 1
        except InputError as error:
            notes.append(str(error))
        if number > first or notes:
            yield clip()


def _size_change_note(
    sequence: FrameSequence | LiveSequence, number: int, shape: tuple[int, ...]
) -> str:
    height, width = shape[:2]
    return (
        f"{sequence.name}: the frame size changes to {width}x{height} at frame "
        f"{sequence.frame_name(number)}; pairs across the change are skipped"
    )


def make_clip(
    *,
    index: int,
    source: str,
    several: bool,
    images: Mapping[int, np.ndarray],
    later: range,
    gaps: Sequence[int],
    name_of: Callable[[int], str],
    file_of: Callable[[int], str | None],
    time_of: Callable[[int], float | None],
    notes: Iterable[str],
) -> Clip:
    """Build a clip; only frames of equal size form pairs.

    Args:
        index: Index of the clip in the run.
        source: Name of the sequence.
        several: Whether the run has several sequences.
        images: The frames by their number in the sequence.
        later: Numbers of the later frames of the pairs of this clip.
        gaps: Distances from the earlier to the later frame of a pair, increasing.
        name_of: Returns the name of a frame by its number.
        file_of: Returns the name of the image file of a frame by its number; None in a video.
        time_of: Returns the time of a frame by its number.
        notes: Notes on skipped frames.

    Returns:
        The clip; it has no frames if ``images`` is empty.
    """
    numbers = sorted(images)
    position = {number: i for i, number in enumerate(numbers)}
    return {
        "index": index,
        "source": source,
        "several": several,
        "frames": [torch.from_numpy(to_gray_float(images[number]))[None] for number in numbers],
        "images": [images[number] for number in numbers],
        "names": [name_of(number) for number in numbers],
        "numbers": numbers,
        "files": [file_of(number) for number in numbers],
        "times": [time_of(number) for number in numbers],
        "pairs": [
            (position[number - gap], position[number])
            for number in later
            for gap in gaps
            if number in position
            and number - gap in position
            and images[number].shape[:2] == images[number - gap].shape[:2]
        ],
        "notes": list(notes),
    }
