"""Motion that most of a frame has in common, as with a moving camera."""

from patchmatch.frames.results import FrameChanges

MIN_LENGTH = 1.0  # pixels
MIN_SHARE = 0.5  # of the blocks of a frame


def moves_alike(changes: FrameChanges) -> bool:
    """Return whether most blocks move by at least a pixel, and by about the same displacement.

    Displacements are about the same within a pixel, or a quarter of the length, of their median.
    """
    known = changes.displacement[changes.displacement.isfinite().all(dim=1)].float()
    if not len(known):
        return False
    median = known.median(dim=0).values
    length = median.norm()
    alike = (known - median).norm(dim=1) <= (length / 4).clamp_min(1)
    return bool(length >= MIN_LENGTH and alike.sum() > MIN_SHARE * len(changes))
