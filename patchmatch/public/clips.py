"""Prediction over the clips of a source."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warn
from patchmatch.frames.dataset import Clips, LiveClips

Result = TypeVar("Result")


def predict_clips(
    predict_step: Callable[[Clip, int], Sequence[Result]], clips: Clips | LiveClips
) -> Iterator[Result]:
    """Yield the results of every clip in order, and issue its notes as warnings.

    Args:
        predict_step: Returns the results of a clip, given its index.
        clips: The clips of a source.

    Raises:
        InputError: If there is no result at all.
    """
    notes: list[str] = []
    count = 0
    for index, clip in enumerate(clips):
        with torch.inference_mode():
            results = predict_step(clip, index)
        for note in clip["notes"]:
            warn(note)
        notes, count = notes or clip["notes"], count + len(results)
        yield from results
    if not count:
        raise InputError(notes[0] if notes else "the source contains no frame pairs; give another")
