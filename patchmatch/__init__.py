"""Match image patches: learn from pairs that make themselves, then match anything.

The public face, the same code that the command line runs. Nothing heavy is imported before it is
used.
"""

import os
from typing import TYPE_CHECKING, Any

from patchmatch.version import __version__

# Before torch is loaded: its threads wait for each other by spinning for milliseconds, and where
# other programs use the processor too, a frame then takes seconds. Not to spin at all takes twice
# the time on an idle machine; some microseconds serve both.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

if TYPE_CHECKING:
    from patchmatch.public import (
        load_motion_matcher,
        load_shift_matcher,
        match_images,
        match_template,
        measure_motion,
        nearest_neighbour_field,
        predict_frames,
        vote,
    )

__all__ = [
    "__version__",
    "load_motion_matcher",
    "load_shift_matcher",
    "match_images",
    "match_template",
    "measure_motion",
    "nearest_neighbour_field",
    "predict_frames",
    "vote",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from patchmatch import public

        return getattr(public, name)
    raise AttributeError(f"module 'patchmatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
