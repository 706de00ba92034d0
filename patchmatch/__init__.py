"""Match image patches: learn from pairs that are generated automatically, then match anything.

These functions run the same code as the command line. torch is imported when the first of them is
used; importing the package changes nothing in the process.
"""

from typing import TYPE_CHECKING, Any

from patchmatch.version import __version__

if TYPE_CHECKING:
    from patchmatch.core.process import configure_process
    from patchmatch.public import (
        load_motion_matcher,
        load_shift_matcher,
        match_images,
        match_template,
        measure_disparity,
        measure_flow,
        measure_motion,
        nearest_neighbour_field,
        predict_frames,
        refine_matches,
        track_objects,
        vote,
    )

__all__ = [
    "__version__",
    "configure_process",
    "load_motion_matcher",
    "load_shift_matcher",
    "match_images",
    "match_template",
    "measure_disparity",
    "measure_flow",
    "measure_motion",
    "nearest_neighbour_field",
    "predict_frames",
    "refine_matches",
    "track_objects",
    "vote",
]


def __getattr__(name: str) -> Any:
    if name == "configure_process":  # to be called before torch is imported
        from patchmatch.core.process import configure_process

        return configure_process
    if name in __all__:
        from patchmatch import public

        return getattr(public, name)
    raise AttributeError(f"module 'patchmatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
