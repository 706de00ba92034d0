"""What other programs call: one function a capability, the same code that the CLI runs."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from patchmatch.checkpoints import check_class, check_weights, read_checkpoint, shipped_checkpoint
from patchmatch.data import Clips
from patchmatch.io import find_sequences
from patchmatch.matchers import ShiftMatcher
from patchmatch.results import FrameChanges


def load_shift_matcher(
    path: str | Path | None = None,
    *,
    block: int = 26,
    stride: int = 13,
    prior_still: float = 0.9,
    device: str | torch.device | None = None,
) -> ShiftMatcher:
    """Return a shift matcher that is ready to match.

    Args:
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        block: Side of a block of a frame in pixels.
        stride: Distance from one block to the next in pixels.
        prior_still: Share of blocks that are expected to stand still.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or not of a shift matcher.
    """
    if path is None:
        path = shipped_checkpoint(str(ShiftMatcher.shipped_weights))
    checkpoint = read_checkpoint(path)
    check_class(path, checkpoint, ShiftMatcher.__name__)
    trained = {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_")}
    trained |= {"block": block, "stride": stride, "prior_still": prior_still}
    matcher = ShiftMatcher(**trained)
    check_weights(path, checkpoint, matcher)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def predict_frames(
    source: str | Path, *, matcher: ShiftMatcher | None = None, batch_size: int = 8, **options: Any
) -> Iterator[FrameChanges]:
    """Iterate over the changes of every consecutive frame pair, in order, in flat memory.

    Args:
        source: Folder of ordered frames, folder of such folders, or video file.
        matcher: What to match with; ``load_shift_matcher(**options)`` if None.
        batch_size: Frame pairs that are read at once.
        options: Of ``load_shift_matcher``: path, block, stride, prior_still, device.

    Returns:
        An iterator over a ``FrameChanges`` for each pair; ``.top(k)`` gives the blocks that
        changed most.

    Raises:
        InputError: If the source holds no ordered frames. A frame that cannot be read is left out
            with a warning.
    """
    if matcher is None:
        matcher = load_shift_matcher(**options)
    elif options:
        raise ValueError(f"give a matcher or its options, not both: {', '.join(options)}")
    found = find_sequences(source)
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return _predict(matcher, Clips(found.sequences, batch_size))


def _predict(matcher: ShiftMatcher, clips: Clips) -> Iterator[FrameChanges]:
    for index in range(len(clips)):
        clip = clips[index]
        for note in clip["notes"]:
            warnings.warn(note, stacklevel=2)
        with torch.inference_mode():
            clip["frames"] = clip["frames"].to(matcher.device)
            changes = matcher.predict_step(clip, index)
        yield from changes
