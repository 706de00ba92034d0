"""From sequences of frames to clips: every pair of frames exactly once."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.io import FrameSequence, LiveSequence, to_gray_float


class Clips(Dataset[Clip]):
    """Clips of sequences that can be read in any order.

    A pair is a frame and the one ``gap`` frames before it. It belongs to the clip that owns its
    later frame; each clip owns ``frames`` frames, the last one of a sequence perhaps fewer, and
    reads the earlier partners besides. A frame that cannot be read is left out with its
    pairs; where the size of the frames changes, no pair reaches over the change. The clip that
    owns the frame says so in its notes.

    Args:
        sequences: What to read.
        frames: Frames that a clip owns.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames of each sequence to read; None for all.
    """

    def __init__(
        self,
        sequences: Sequence[FrameSequence],
        frames: int,
        gaps: Sequence[int] = (1,),
        max_frames: int | None = None,
    ) -> None:
        self.sequences, self.gaps = list(sequences), sorted(gaps)
        self._owned: list[tuple[int, range]] = []  # of each clip: sequence, frames that it owns
        for which, sequence in enumerate(self.sequences):
            count = min(len(sequence), max_frames or len(sequence))
            for first in range(self.gaps[0], count, frames):
                self._owned.append((which, range(first, min(first + frames, count))))
        self._which: int | None = None  # the sequence read last
        self._read: dict[int, np.ndarray | InputError] = {}  # its latest frames

    def __len__(self) -> int:
        return len(self._owned)

    @property
    def too_short(self) -> tuple[FrameSequence, ...]:
        """The sequences that have no pair, in order."""
        used = {which for which, _ in self._owned}
        return tuple(s for which, s in enumerate(self.sequences) if which not in used)

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Clip:
        which, owned = self._owned[index]
        sequence = self.sequences[which]
        if which != self._which:
            self._start(which)
        oldest = max(0, owned.start - self.gaps[-1])
        for number in range(oldest, owned.stop):
            if number not in self._read:
                try:
                    self._read[number] = sequence.read(number)
                except InputError as error:
                    self._read[number] = error
        partners = {later - gap for later in owned for gap in self.gaps if later >= gap}
        found = {number: self._read[number] for number in sorted(partners.union(owned))}
        # Of the frames that two clips share, the one that owns them reports; the first frames are
        # nobody's, and the clip of their first pair does.
        notes = [
            f"frame left out: {picture}"
            for number, picture in found.items()
            if isinstance(picture, InputError)
            and (number if number >= self.gaps[0] else number + self.gaps[0]) in owned
        ]
        is_first = index == 0 or self._owned[index - 1][0] != which
        if is_first:
            notes = [*sequence.notes, *notes]
        notes += self._size_notes(sequence, range(1 if is_first else owned.start, owned.stop))
        self._keep(owned.stop - self.gaps[-1])
        return make_clip(
            index=index,
            source=sequence.name,
            several=len(self.sequences) > 1,
            pictures={
                n: picture for n, picture in found.items() if isinstance(picture, np.ndarray)
            },
            owned=owned,
            gaps=self.gaps,
            name_of=sequence.frame_name,
            time_of=sequence.time,
            notes=notes,
        )

    def _size_notes(self, sequence: FrameSequence, numbers: range) -> list[str]:
        """Tell of the frames that differ in size from the one before, whatever the clips are."""
        notes = []
        for number in numbers:
            before = (self._read.get(number - back) for back in range(1, self.gaps[-1] + 1))
            one = next((p for p in before if isinstance(p, np.ndarray)), None)
            picture = self._read[number]
            if one is None or not isinstance(picture, np.ndarray):
                continue
            if picture.shape[:2] != one.shape[:2]:
                notes.append(_change_note(sequence, number, picture.shape))
        return notes

    def __getstate__(self) -> dict[str, Any]:
        """Leave the pictures out: every process reads its own."""
        return self.__dict__ | {"_which": None, "_read": {}}

    def _start(self, which: int | None) -> None:
        """Turn to another sequence."""
        if self._which is not None:
            self.sequences[self._which].close()  # of many videos, only one is open
        self._which = which
        self._read = {}

    def _keep(self, oldest: int) -> None:
        """Keep what the next clip needs again, so that in order each frame is read once."""
        self._read = {
            number: picture.copy() if isinstance(picture, np.ndarray) else picture
            for number, picture in self._read.items()
            if number >= oldest
        }


class LiveClips(IterableDataset[Clip]):
    """Clips of a source that is read in order and once, each as soon as its frames have come.

    Pairs are as those of ``Clips``. Where the size of the frames changes, a new clip begins and no
    pair reaches over the change. When the source breaks off, the last clip says so in its notes.

    Args:
        sequence: What to read.
        frames: Frames that a clip owns.
        gaps: Distances from the earlier to the later frame of a pair.
        max_frames: Frames to read; None for all that will come.
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
        pictures: dict[int, np.ndarray] = {}
        times: dict[int, float | None] = {}
        index, number, first = 0, 0, self.gaps[0]  # of the clip, of the frame, the first one owned
        notes: list[str] = []

        def clip() -> Clip:
            return make_clip(
                index=index,
                source=self.sequence.name,
                several=False,
                pictures=pictures,
                owned=range(first, number),
                gaps=self.gaps,
                name_of=self.sequence.frame_name,
                time_of=times.__getitem__,
                notes=notes,
            )

        try:
            for time, picture in itertools.islice(self.sequence.frames(), self.max_frames):
                changed = pictures and picture.shape != pictures[number - 1].shape
                if changed or number - first == self.frames:
                    if number > first:
                        yield clip()
                        index, notes = index + 1, []
                    if changed:
                        notes.append(_change_note(self.sequence, number, picture.shape))
                    oldest = number if changed else number - self.gaps[-1]
                    pictures = {n: kept.copy() for n, kept in pictures.items() if n >= oldest}
                    times = {n: times[n] for n in pictures}
                    first = max(first, number)
                pictures[number], times[number] = picture, time
                number += 1
        except InputError as error:
            notes.append(str(error))
        if number > first or notes:
            yield clip()


def _change_note(
    sequence: FrameSequence | LiveSequence, number: int, shape: tuple[int, ...]
) -> str:
    height, width = shape[:2]
    return (
        f"{sequence.name}: from frame {sequence.frame_name(number)} on the size is "
        f"{width}x{height}; no pair reaches over the change"
    )


def make_clip(
    *,
    index: int,
    source: str,
    several: bool,
    pictures: Mapping[int, np.ndarray],
    owned: range,
    gaps: Sequence[int],
    name_of: Callable[[int], str],
    time_of: Callable[[int], float | None],
    notes: Iterable[str],
) -> Clip:
    """Put frames together to a clip; only frames of one size make a pair.

    Args:
        index: Place of the clip in the run.
        source: Name of the sequence.
        several: Whether the run has more than one.
        pictures: The frames by their number in the sequence.
        owned: Numbers of the frames that are the later ones of pairs of this clip.
        gaps: Distances from the earlier to the later frame of a pair, increasing.
        name_of: Gives the name of a frame by its number.
        time_of: Gives the time of a frame by its number.
        notes: What is to be told of the clip already.

    Returns:
        The clip; without frames where ``pictures`` is empty.
    """
    numbers = sorted(pictures)
    places = {number: place for place, number in enumerate(numbers)}
    return {
        "index": index,
        "source": source,
        "several": several,
        "frames": [torch.from_numpy(to_gray_float(pictures[number]))[None] for number in numbers],
        "images": [pictures[number] for number in numbers],
        "names": [name_of(number) for number in numbers],
        "times": [time_of(number) for number in numbers],
        "pairs": [
            (places[later - gap], places[later])
            for later in owned
            for gap in gaps
            if later in places
            and later - gap in places
            and pictures[later].shape[:2] == pictures[later - gap].shape[:2]
        ],
        "notes": list(notes),
    }
