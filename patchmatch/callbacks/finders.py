"""Which matchers find what a writer writes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from patchmatch.errors import InputError
from patchmatch.results import DenseMatches, FrameChanges, Matches, SceneDetections

#: What ``--model`` may be for each result.
FINDERS: Mapping[type, tuple[str, ...]] = {
    FrameChanges: ("ShiftMatcher", "MotionMatcher"),
    DenseMatches: ("PatchMatch", "DifferentiablePatchMatch"),
    Matches: (
        *("SIFTMatcher", "ASIFTMatcher", "AffNetHardNetMatcher", "DescriptorMatcher"),
        *("LoFTRMatcher", "SE2LoFTRMatcher", "HomographyNetMatcher", "FieldMatcher"),
    ),
    SceneDetections: ("TemplateMatcher",),
}
#: What ``--writer`` writes each of them.
WRITERS: Mapping[type, str] = {
    FrameChanges: "ChangeBoxes",
    DenseMatches: "Reconstructions",
    Matches: "PairMatches",
    SceneDetections: "TemplateBoxes",
}


def require_finder(matcher: pl.LightningModule, writer: object) -> None:
    """Raise InputError unless a matcher finds what a writer writes.

    The annotations tell: what ``predict_step`` returns, and which prediction ``write_batch`` takes.
    A matcher or writer of results that are not ours is its author's business.

    Args:
        matcher: Any matcher; one without a ``predict_step`` of its own finds nothing.
        writer: Any writer.
    """
    written = _result(type(writer), "write_batch", "prediction")
    found = _result(type(matcher), "predict_step", "return")
    predicts = type(matcher).predict_step is not pl.LightningModule.predict_step
    if written is None or found is written or (found is None and predicts):
        return
    *others, last = FINDERS[written]
    advice = f"--model {', '.join(others)} or {last}" if others else f"--model {last}"
    if found is not None:
        own = getattr(matcher, "predict_config", None)  # perhaps what the run has, but overruled
        example = f" as configs/{own} does" if own else ""
        advice = f"--writer {WRITERS[found]}{example}, or {advice}"
    name = type(matcher).__name__
    article = "an" if name[0] in "AEIOU" else "a"
    finds = "finds" if found is not None else "learns, for it finds nothing"
    raise InputError(
        f"{type(writer).__name__} cannot write what {article} {name} {finds}; give {advice}"
    )


def _result(owner: type, method: str, name: str) -> type | None:
    """Return which of our results an annotation of a method names, one or a list of them."""
    function: Callable[..., Any] = getattr(owner, method)
    hint = inspect.get_annotations(function).get(name)
    return next((result for result in FINDERS if hint in (result, list[result])), None)
