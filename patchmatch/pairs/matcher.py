"""What every matcher shares that finds corresponding points of two pictures."""

import abc
import time
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.core.matcher import Matcher
from patchmatch.core.process import keep_freed_memory
from patchmatch.pairs.cameras import Cameras, camera_matrices
from patchmatch.pairs.geometry import (
    estimate_essential,
    estimate_fundamental,
    estimate_homography,
    relative_pose,
)
from patchmatch.pairs.matching import drop_duplicates
from patchmatch.pairs.points import (
    as_gray,
    enlarged,
    inside,
    reduced_pair,
    resized_mask,
    turned_back,
)
from patchmatch.pairs.results import Matches

SMALLEST_SIDE = 16  # pixels: smaller pictures hold nothing that could be found again
TURNS = (1, 2, 4)
EPIPOLAR = ("fundamental", "essential")


@dataclass(frozen=True)
class Found:
    """Corresponding points as a matcher finds them, in pixels of the images that it was given.

    Attributes:
        points0: (N, 2) float, x and y.
        points1: (N, 2) float, their partners.
        score: (N,) float, higher is better, in any order.
        descriptors0: (N, D) float, what the places look like; None where none were described.
        descriptors1: (N, D) float, the same of the partners.
    """

    points0: Tensor
    points1: Tensor
    score: Tensor
    descriptors0: Tensor | None = None
    descriptors1: Tensor | None = None

    def __getitem__(self, index: Tensor) -> "Found":
        """Return the matches that a long or bool index names."""
        described = (self.descriptors0, self.descriptors1)
        return Found(
            self.points0[index],
            self.points1[index],
            self.score[index],
            *(None if values is None else values[index] for values in described),
        )


class PairMatcher(Matcher, abc.ABC):
    """Base of matchers that find corresponding points of two pictures.

    A subclass finds them in ``find``, in images as they come; resizing, turning, masks, the order
    and the homography are the work of this class.

    Args:
        max_size: Pixels to which the longest side of each image is reduced inside, by one factor
            where both are about as large; null keeps every pixel. Answers are in pixels of the
            images as they came.
        max_matches: How many matches to keep at most, the best ones; null keeps all.
        min_score: Matches that score less are left out.
        rotations: In how many orientations image 0 is tried, 1, 2 or 4 quarter turns; the one with
            the most matches on a homography is kept. For matchers that know upright pictures only.
        threshold: Pixels in image 1 within which a match agrees with the homography.
        seed: Of the random samples that the homography is estimated from.
        epipolar: What to estimate beside the homography, for scenes that are not flat: fundamental,
            or essential, which takes intrinsics; null for nothing.
        epipolar_threshold: Pixels from its epipolar line within which a match agrees.
        intrinsics0: fx, fy, cx and cy of the camera of image 0, in pixels of the images as they
            came; where a pair brings its own, those count.
        intrinsics1: The same of image 1; null for the same camera.
    """

    predict_config = "config_match_sift.yaml"
    predict_source = "--data.pairs FOLDER"

    def __init__(
        self,
        max_size: int | None = None,
        max_matches: int | None = None,
        min_score: float = 0.0,
        rotations: int = 1,
        threshold: float = 3.0,
        seed: int = 0,
        epipolar: str | None = None,
        epipolar_threshold: float = 1.0,
        intrinsics0: tuple[float, float, float, float] | None = None,
        intrinsics1: tuple[float, float, float, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if max_size is not None and max_size < SMALLEST_SIDE:
            raise ValueError(f"max_size must be at least {SMALLEST_SIDE} pixels, got {max_size}")
        if max_matches is not None and max_matches < 1:
            raise ValueError(f"max_matches must be at least 1, got {max_matches}")
        if rotations not in TURNS:
            raise ValueError(f"rotations must be 1, 2 or 4, got {rotations}")
        for name, value in (("threshold", threshold), ("epipolar_threshold", epipolar_threshold)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number of pixels, got {value}")
        if epipolar is not None and epipolar not in EPIPOLAR:
            raise ValueError(f"epipolar must be one of {', '.join(EPIPOLAR)}, got {epipolar}")
        self.max_size, self.max_matches, self.min_score = max_size, max_matches, min_score
        self.rotations, self.threshold, self.seed = rotations, threshold, seed
        self.epipolar, self.epipolar_threshold = epipolar, epipolar_threshold
        self.cameras = camera_matrices((intrinsics0, intrinsics1 or intrinsics0))

    @abc.abstractmethod
    def find(
        self,
        image0: Float[Tensor, "1 1 H W"],
        image1: Float[Tensor, "1 1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None,
        valid1: Bool[Tensor, "1 H1 W1"] | None,
    ) -> Found:
        """Return the corresponding points of two gray images in [0, 1], 16 pixels a side or more.

        Args:
            image0: On any device.
            image1: On the same device.
            valid0: The pixels that count; points elsewhere are left out by the caller.
            valid1: The same of image 1.
        """

    @torch.no_grad()
    def match(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None = None,
        valid1: Bool[Tensor, "1 H1 W1"] | None = None,
        cameras: Cameras | None = None,
    ) -> Matches:
        """Return the corresponding points of two images and the homography most agree with.

        Args:
            image0: RGB or gray in [0, 1].
            image1: RGB or gray in [0, 1], of any size.
            valid0: The pixels that count; None for all.
            valid1: The same of image 1.
            cameras: The matrices of both; None for those of the options.

        Returns:
            Matches in pixels of the images, on the CPU, the best first. Without matches all
            tensors are empty.

        Raises:
            InputError: If an essential matrix is asked for and a camera is not known.
        """
        start = time.perf_counter()
        cameras = self.cameras if cameras is None else cameras
        if self.epipolar == "essential" and any(camera is None for camera in cameras):
            raise InputError(
                "an essential matrix takes intrinsics0: give fx, fy, cx, cy in pixels, as an "
                "option or in columns of a pairs.csv"
            )
        keep_freed_memory()
        small0, small1 = reduced_pair(as_gray(image0), as_gray(image1), self.max_size)
        mask0, mask1 = resized_mask(valid0, small0), resized_mask(valid1, small1)
        best = Matches(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0))
        if min(*small0.shape[-2:], *small1.shape[-2:]) >= SMALLEST_SIDE:
            for turns in range(0, 4, 4 // self.rotations):
                turned = torch.rot90(small0, turns, dims=(-2, -1))
                mask = None if mask0 is None else torch.rot90(mask0, turns, dims=(-2, -1))
                found = self.find(turned, small1, mask, mask1)
                points0 = turned_back(found.points0.double().cpu(), small0.shape, turns)
                points1, score = found.points1.double().cpu(), found.score.float().cpu()
                keep = inside(points0, mask0, small0) & inside(points1, mask1, small1)
                keep &= score >= self.min_score
                points0 = enlarged(points0, small0, image0.shape[-2:])
                points1 = enlarged(points1, small1, image1.shape[-2:])
                found = replace(found, points0=points0, points1=points1, score=score)
                answer = self._with_homography(self._ordered(found[keep]))
                best = max(best, answer, key=_support)
        return replace(self._with_epipolar(best, cameras), seconds=time.perf_counter() - start)

    def predict_step(self, batch: ImagePair, batch_idx: int) -> list[Matches]:
        """Return the matches of a pair in pixels of the files; nothing where it was left out."""
        if not batch["pairs"]:
            return []
        own = batch["intrinsics"]
        cameras = self.cameras if own[0] is None else camera_matrices(own)
        found = self.match(
            batch["image0"], batch["image1"], batch["valid0"], batch["valid1"], cameras
        )
        if batch["scale"] == 1:
            return [found]
        points = [
            enlarged(points.double(), batch[name], batch["sizes"][i]).float()
            for i, (name, points) in enumerate(
                (("image0", found.keypoints0), ("image1", found.keypoints1))
            )
        ]
        whole = replace(found, keypoints0=points[0], keypoints1=points[1])
        return [self._with_epipolar(self._with_homography(whole), cameras)]

    def setup(self, stage: str) -> None:
        """Make ready before the first pair, so that what is missing is told at once."""
        if stage == "predict":
            self.prepare()

    def prepare(self) -> None:
        """Fetch what matching needs, such as weights; called before the first match."""

    def _refuse(self, *_: Any) -> NoReturn:
        """Say that there is nothing to train, before Lightning looks for how to."""
        raise InputError(
            f"{type(self).__name__} is not trained here and has no measure of its own: it can only "
            "predict; train another matcher"
        )

    training_step = validation_step = test_step = configure_optimizers = _refuse

    def _ordered(self, found: Found) -> Matches:
        """Return the matches with the best first, no place twice and not too many."""
        order = found.score.argsort(descending=True, stable=True)
        distinct = drop_duplicates(found.points0[order], found.points1[order])
        best = found[order[distinct][: self.max_matches]]
        described = (best.descriptors0, best.descriptors1)
        values0, values1 = (None if values is None else values.cpu() for values in described)
        return Matches(
            best.points0.float(),
            best.points1.float(),
            best.score,
            descriptors0=values0,
            descriptors1=values1,
        )

    def _with_homography(self, matches: Matches) -> Matches:
        estimate = estimate_homography(
            matches.keypoints0.numpy(), matches.keypoints1.numpy(), self.threshold, self.seed
        )
        if estimate.model is None:
            return replace(matches, inliers=None, homography=None)
        return replace(
            matches,
            inliers=torch.from_numpy(estimate.inliers),
            homography=torch.from_numpy(estimate.model),
        )

    def _with_epipolar(self, matches: Matches, cameras: Cameras) -> Matches:
        """Add the fundamental or essential matrix, if asked for and found."""
        points = matches.keypoints0.numpy(), matches.keypoints1.numpy()
        camera0, camera1 = cameras
        options = (self.epipolar_threshold, self.seed)
        pose = None
        if self.epipolar == "fundamental":
            estimate = estimate_fundamental(*points, *options)
        elif self.epipolar == "essential" and camera0 is not None and camera1 is not None:
            estimate = estimate_essential(*points, camera0, camera1, *options)
            pose = relative_pose(estimate, *points, camera0, camera1)
        else:
            return matches
        found = estimate.model is not None
        return replace(
            matches,
            epipolar=torch.from_numpy(estimate.model) if found else None,
            epipolar_inliers=torch.from_numpy(estimate.inliers) if found else None,
            pose=None if pose is None else torch.from_numpy(np.c_[pose]),
        )


def _support(matches: Matches) -> tuple[int, int]:
    """Return what one orientation is better by than another."""
    return 0 if matches.inliers is None else int(matches.inliers.sum()), len(matches)
