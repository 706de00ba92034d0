"""Matching by several matchers: the cheap ones first, others where the images contradict."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from patchmatch.core.checkpoints import load_trained, shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.pairs.aliked_lightglue import ALIKEDLightGlueMatcher
from patchmatch.pairs.asift import ASIFTMatcher
from patchmatch.pairs.cameras import Cameras
from patchmatch.pairs.homography.matcher import HomographyNetMatcher
from patchmatch.pairs.matcher import PairMatcher
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.verdict import model_inliers, overlap_kind
from patchmatch.pairs.xfeat import XFeatMatcher


@dataclass(frozen=True)
class Stage:
    """A matcher that ``AutoMatcher`` may try.

    Attributes:
        kind: Class of the matcher.
        options: Its options where they differ from the defaults.
    """

    kind: type[PairMatcher]
    options: Mapping[str, Any] = field(default_factory=dict)


#: By name, in the order in which they are tried. One whose weights are missing is left out.
STAGES: dict[str, Stage] = {
    "homography_net": Stage(HomographyNetMatcher, {"search": False}),
    "sift": Stage(SIFTMatcher),
    "xfeat": Stage(XFeatMatcher),
    "homography_search": Stage(HomographyNetMatcher),
    "aliked_lightglue": Stage(ALIKEDLightGlueMatcher),
    "asift": Stage(ASIFTMatcher, {"max_size": 640}),
}
SHARED = ("threshold", "seed", "epipolar_threshold", "align", "max_matches", "rotations", "refine")


class AutoMatcher(PairMatcher):
    """Tries matchers in turn until the images agree with the answer of one.

    An answer is accepted if its ``kind`` is overlapping: enough inliers, and a homography that
    aligns the images themselves. Otherwise the next matcher is tried; without an accepted answer
    the one that aligns most of the overlap is returned. The result names the one that answered as
    ``matcher``.

    Args:
        matchers: Names of the matchers in order, of homography_net, sift, xfeat, homography_search
            (homography_net with its search of rotations and scales), aliked_lightglue and asift;
            null tries all that are installed. Those that only find homographies are not tried with
            ``epipolar``.
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size.
        options: Options of ``PairMatcher``, for all matchers.
    """

    predict_config = "config_match_auto.yaml"
    needs_float32 = True

    def __init__(
        self, matchers: tuple[str, ...] | None = None, max_size: int | None = 1024, **options: Any
    ) -> None:
        super().__init__(max_size=max_size, **options)
        names = tuple(STAGES) if matchers is None else tuple(matchers)
        if unknown := [name for name in names if name not in STAGES]:
            raise ValueError(f"matchers must be of {', '.join(STAGES)}, got {unknown[0]}")
        if not names:
            raise ValueError(f"matchers must name one of {', '.join(STAGES)}, got none")
        self.names, self.is_chosen = names, matchers is not None
        self.loaded = nn.ModuleDict()
        self.missing: dict[str, InputError] = {}

    def prepare(self) -> None:
        """Load the matchers that were asked for; by default each is loaded when it is needed.

        Raises:
            InputError: If the weights of one are missing.
        """
        for name in self.names if self.is_chosen else ():
            self._matcher(name)

    def _matcher(self, name: str) -> PairMatcher | None:
        """Return a matcher, loaded on the first call; None if it is not installed."""
        if name not in self.loaded and name not in self.missing:
            stage = STAGES[name]
            try:
                if not self.is_chosen and not stage.kind.is_installed():
                    raise InputError(f"the weights of {name} are not installed")
                self.loaded[name] = self._load(stage).to(self.device).eval()
            except InputError as error:
                if self.is_chosen:
                    raise
                self.missing[name] = error
        if name in self.missing:
            return None
        found = self.loaded[name]
        assert isinstance(found, PairMatcher)
        return found

    def _load(self, stage: Stage) -> PairMatcher:
        """Return a matcher with its weights."""
        options: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        if stage.kind.finds_homographies:
            del options["refine"]
        options |= stage.options
        sizes = [size for size in (self.max_size, options.get("max_size")) if size is not None]
        options["max_size"] = min(sizes, default=None)
        if self.min_score > 0:
            options["min_score"] = self.min_score
        if stage.kind.shipped_weights is not None:
            return load_trained(stage.kind, shipped_checkpoint(stage.kind.shipped_weights), options)
        matcher = stage.kind(**options)
        matcher.prepare()
        return matcher

    @torch.no_grad()
    def match(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None = None,
        valid1: Bool[Tensor, "1 H1 W1"] | None = None,
        cameras: Cameras | None = None,
    ) -> Matches:
        """Return the matches of the first matcher that the images agree with.

        The arguments and errors are those of ``PairMatcher.match``.
        """
        start = time.perf_counter()
        cameras = self.cameras if cameras is None else cameras
        answers: list[Matches] = []
        for name in self.names:
            if self.epipolar is not None and STAGES[name].kind.finds_homographies:
                continue
            if (matcher := self._matcher(name)) is None:
                continue
            matcher.epipolar = self.epipolar
            found = matcher.match(image0, image1, valid0, valid1, cameras)
            answers.append(replace(found, matcher=name))
            if overlap_kind(found) == "overlapping":
                break
        if not answers:
            raise InputError(
                f"none of the matchers {', '.join(self.names)} can be used: they find homographies "
                "only, or their weights are missing; add sift"
            )
        best = max(answers, key=self._support)
        return replace(best, seconds=time.perf_counter() - start)

    def _support(self, matches: Matches) -> tuple[bool, float, int]:
        """Return whether the answer is accepted, its share of aligned cells, and its inliers.

        Where the epipolar matrix decides, the homography need not align the images.
        """
        accepted = overlap_kind(matches) == "overlapping"
        aligned = (matches.aligned or 0.0) if matches.epipolar_inliers is None else 0.0
        return accepted, aligned, int(model_inliers(matches).sum())
